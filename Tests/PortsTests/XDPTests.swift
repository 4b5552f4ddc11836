// The rings of an AF_XDP socket, with a test at the kernel's end.

import CNetmap
import Netmap
import TestSupport
import Testing

@testable import Ports

/// The words of one ring, in the test's memory.
@safe private final class FakeRing {
    let base: UnsafeMutableRawPointer
    let memory: XDPRingMemory

    /// Both indices begin at `start`, so that a test sees them wrap.
    init(size: Int, start: UInt32) {
        unsafe base = .allocate(byteCount: 256 + size * NM_XDP_DESCRIPTOR, alignment: 64)
        unsafe base.initializeMemory(
            as: UInt8.self,
            repeating: 0,
            count: 256 + size * NM_XDP_DESCRIPTOR
        )
        unsafe nm_store32(base, start)
        unsafe nm_store32(base + 64, start)
        memory = unsafe XDPRingMemory(
            unsafeBase: base,
            nm_xdp_offsets(producer: 0, consumer: 64, descriptors: 256, flags: 128),
            size: UInt32(size)
        )
    }

    deinit { unsafe base.deallocate() }

    var producer: UInt32 {
        get { unsafe nm_load32(base) }
        set { unsafe nm_store32(base, newValue) }
    }
    var consumer: UInt32 {
        get { unsafe nm_load32(base + 64) }
        set { unsafe nm_store32(base + 64, newValue) }
    }

    func address(_ index: UInt32, stride: Int) -> UInt64 {
        unsafe nm_load64(memory.entry(index, stride: stride))
    }

    /// What the kernel does with a frame that came.
    func receive(_ address: UInt64, _ length: UInt32, isContinued: Bool = false) {
        let entry = unsafe memory.entry(producer, stride: NM_XDP_DESCRIPTOR)
        unsafe nm_store64(entry, address)
        unsafe nm_store32(entry + 8, length)
        unsafe nm_store32(entry + 12, isContinued ? UInt32(NM_XDP_CONTINUED) : 0)
        producer &+= 1
    }
}

@Suite struct XDPRingTests {
    @Test func `a ring has room for its size, across the end of the numbers`() {
        let ring = FakeRing(size: 8, start: .max - 3)
        var producer = XDPProducer(ring.memory)
        for round in 0..<20 {
            producer.refresh()
            let room = producer.room
            #expect(room == 8)
            for k in 0..<8 { producer.push(UInt64(round * 8 + k)) }
            let left = producer.room
            #expect(left == 0)
            producer.publish()
            #expect(ring.producer == .max - 3 &+ UInt32(round * 8) &+ 8)
            let first = ring.address(ring.consumer, stride: 8)
            #expect(first == UInt64(round * 8))
            ring.consumer &+= 8
        }
    }
}

/// A source over memory of the test: sixteen chunks of 2048 bytes.
@safe private final class FakeSocket {
    let memory: UnsafeMutableRawPointer
    let rx = FakeRing(size: 16, start: .max - 5)
    let fill = FakeRing(size: 16, start: .max - 9)
    let tx = FakeRing(size: 16, start: 0)
    let page = CounterPage()

    init() {
        unsafe memory = .allocate(byteCount: 16 * 2048, alignment: 4096)
        unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: 16 * 2048)
    }

    deinit { unsafe memory.deallocate() }

    func source(repairs: Bool = false) -> XDPSource {
        unsafe XDPSource(
            unsafeBase: memory,
            size: 16 * 2048,
            chunk: 2048,
            rx: XDPConsumer(rx.memory),
            fill: XDPProducer(fill.memory),
            tx: tx.memory,
            file: -1,
            hasFragments: true,
            repairs: repairs,
            counters: page.counters
        )
    }
}

@Suite struct XDPSourceTests {
    @Test func `frames are views of the memory, and their chunks go back when they are through`() {
        let socket = FakeSocket()
        var source = socket.source()
        var batch = FrameBatch()
        for round in 0..<10 {
            for k in 0..<4 { socket.rx.receive(UInt64((round * 4 + k) % 16 * 2048 + 256), 60) }
            batch.removeAll()
            source.collect(into: &batch, counters: socket.page.counters, limit: 64)
            let count = batch.count
            #expect(count == 4)
            let offset = unsafe batch.frames[0].address - socket.memory
            #expect(offset == round * 4 % 16 * 2048 + 256)
            #expect(socket.rx.consumer == .max - 5 &+ UInt32(round * 4))
            source.completeCollected()
            #expect(socket.rx.consumer == socket.rx.producer)
            #expect(socket.fill.producer == .max - 9 &+ UInt32(round * 4 + 4))
            let chunk = socket.fill.address(socket.fill.producer &- 4, stride: 8)
            #expect(chunk == UInt64(round * 4 % 16 * 2048))
            socket.fill.consumer = socket.fill.producer
        }
        let place1 = source.place
        #expect(place1 == 40)
        #expect(socket.page.counters.packets == 40)
    }

    @Test func `what was forgotten is handed out again, as far as the limit goes`() {
        let socket = FakeSocket()
        var source = socket.source()
        var batch = FrameBatch()
        for k in 0..<6 { socket.rx.receive(UInt64(k * 2048), UInt32(60 + k)) }
        let trial = CounterPage()
        source.collect(into: &batch, counters: trial.counters, limit: 64)
        withExtendedLifetime(trial) {}
        source.forgetCollected()
        batch.removeAll()
        source.collect(into: &batch, counters: socket.page.counters, limit: 2)
        source.completeCollected()
        let place2 = source.place
        #expect(place2 == 2)
        batch.removeAll()
        source.collect(into: &batch, counters: socket.page.counters, limit: 64)
        let count = batch.count
        #expect(count == 4)
        let length = unsafe batch.frames[0].length
        #expect(length == 62)
        #expect(socket.page.counters.packets == 6)
    }

    @Test func `a frame of several chunks is one frame, and all of them go back`() {
        let socket = FakeSocket()
        var source = socket.source()
        var batch = FrameBatch()
        socket.rx.receive(0, 1792, isContinued: true)
        socket.rx.receive(2048, 1792, isContinued: true)
        // Not all of it is there.
        source.collect(into: &batch, counters: socket.page.counters, limit: 64)
        var count = batch.count
        #expect(count == 0)
        source.completeCollected()
        socket.rx.receive(4096, 416)
        source.collect(into: &batch, counters: socket.page.counters, limit: 64)
        count = batch.count
        #expect(count == 1)
        let length = unsafe batch.frames[0].length
        #expect(length == 4000)
        let pieces = unsafe batch.frames[0].extraCount
        #expect(pieces == 2)
        source.completeCollected()
        #expect(socket.fill.producer == UInt32.max - 6)
    }

    @Test func `a descriptor outside the memory is a counted drop`() {
        let socket = FakeSocket()
        var source = socket.source()
        var batch = FrameBatch()
        socket.rx.receive(16 * 2048, 60)
        socket.rx.receive(16 * 2048 - 59, 60)
        socket.rx.receive(.max - 20, 60)
        socket.rx.receive(0, 13)
        socket.rx.receive(0, 60)
        source.collect(into: &batch, counters: socket.page.counters, limit: 64)
        let count = batch.count
        #expect(count == 1)
        #expect(socket.page.drops == ["malformed": 4])
    }

    @Test func `the kernel's losses are told apart`() {
        func losses(_ dropped: UInt64, _ full: UInt64, _ empty: UInt64) -> nm_xdp_losses {
            nm_xdp_losses(
                dropped: dropped,
                ring_full: full,
                fill_empty: empty,
                rx_invalid: 0,
                tx_invalid: 0
            )
        }
        let before = losses(10, 20, 5)
        #expect(XDPSource.split(before, losses(17, 23, 9), false) == (7, 3))
        #expect(XDPSource.split(before, losses(17, 23, 9), true) == (10, 0))
        #expect(XDPSource.split(before, before, false) == (0, 0))
    }

    @Test(
        arguments: [
            (68, 2048, false), (1500, 2048, false), (1770, 2048, false), (1771, 4096, false),
            (3818, 4096, false), (3819, 4096, true), (9000, 4096, true),
        ]
    )
    func `chunks are as large as the MTU asks for`(_ mtu: Int, _ size: Int, _ several: Bool) {
        #expect(XDPSocket.chunks(mtu: mtu) == (size, several))
    }
}
