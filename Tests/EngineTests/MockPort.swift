// A port with a guest on it that a test plays: memory, two rings, kicks. The workers are real.

import CNetmap
import Glibc
import Netmap
import VhostUser

@testable import Engine

/// A switch, a table and workers, without sockets.
@safe final class MockSwitch {
    let table = PortTable()
    let page: CounterPage
    let pool: WorkerPool
    let vale: UnsafeMutablePointer<SwitchPlane>
    private(set) var ports: [MockPort] = []
    private let directory = TemporaryDirectory()

    init(workers: Int) throws {
        page = try CounterPage(path: directory.path + "/counters")
        pool = try WorkerPool(
            count: workers,
            cpus: [],
            spinMicroseconds: 5,
            table: table,
            page: page
        )
        unsafe vale = .allocate(capacity: 1)
        unsafe vale.initialize(to: SwitchPlane(ageing: 300))
    }

    /// Adds a port with `buffers` receive buffers of `size`; senders wait `patience` milliseconds if the
    /// port is lossless, which it is not if that is nil.
    func add(
        size: UInt16 = 64,
        buffers: Int = 64,
        patience: Int? = nil,
        eventIndex: Bool = true
    ) throws -> MockPort {
        let number = UInt16(ports.count + 1)
        let port = unsafe try MockPort(
            number,
            vale,
            page.claim(number, name: "vale0:p\(number)"),
            size: size,
            patience: patience,
            eventIndex: eventIndex
        )
        ports.append(port)
        unsafe table.set(number, port.plane)
        let old = unsafe vale.pointee.members
        unsafe nm_store64_release(&vale.pointee.members, PortList.make(ports.map(\.number)))
        let lossless = ports.count { unsafe $0.plane.pointee.isLossless }
        unsafe nm_store32(&vale.pointee.lossless, UInt32(lossless))
        pool.synchronize()
        PortList.free(old)
        if patience != nil { pool.watch(port.receiveKick) }
        port.offer(buffers)
        unsafe pool.serve(port.plane, 0, kicks: [port.sendKick])
        return port
    }

    /// Ends the workers; everything can be freed then.
    func close() {
        pool.stop()
        for port in ports { port.free() }
        unsafe vale.deinitialize(count: 1)
        unsafe vale.deallocate()
    }
}

/// The guest.
@safe final class MockPort {
    let number: UInt16
    let plane: UnsafeMutablePointer<PortPlane>
    let sendKick = OwnedDescriptor(nm_eventfd())
    let receiveKick = OwnedDescriptor(nm_eventfd())
    let size: UInt16
    private let eventIndex: Bool
    private let memory: GuestMemory
    private let base: UnsafeMutableRawPointer
    private let pair: UnsafeMutablePointer<QueuePair>
    /// The transmit and the receive queue, each where malloc puts it: a `PortQueue` needs four bits of an address.
    private let queues: [UnsafeMutablePointer<SplitQueue>]
    private var sent: UInt16 = 0
    private var offered: UInt16 = 0
    private var received: UInt16 = 0

    private static let start: UInt64 = 0x1_0000_0000
    private static let ring = 0x1_0000
    private static let buffers = 0x2_0000
    private static let available = 0x4000
    private static let used = 0x8000
    private static let stride = 128

    init(
        _ number: UInt16,
        _ vale: UnsafeMutablePointer<SwitchPlane>,
        _ page: UnsafeMutablePointer<nm_port_counters>,
        size: UInt16,
        patience: Int?,
        eventIndex: Bool
    ) throws {
        self.number = number
        self.size = size
        self.eventIndex = eventIndex
        let length = 0x8_0000
        let file = OwnedDescriptor(
            try SystemError.check(unsafe nm_memfd_create("mock", UInt64(length)), "memfd_create")
        )
        let region = MemoryRegion(
            guestAddress: MockPort.start,
            size: UInt64(length),
            userAddress: MockPort.start,
            fileOffset: 0
        )
        memory = try GuestMemory([region], files: [file])
        guard let host = unsafe memory.host(user: MockPort.start, length: length) else {
            throw SystemError("map", result: -EINVAL)
        }
        unsafe base = unsafe host
        unsafe queues = [.allocate(capacity: 1), .allocate(capacity: 1)]
        let features =
            Feature.version1 | Feature.mergeableBuffers | (eventIndex ? Feature.eventIndex : 0)
        for ring in 0..<2 {
            let rings = unsafe host + ring * MockPort.ring
            for i in 0..<Int(size) {
                let buffer = MockPort.buffers + (ring * Int(size) + i) * MockPort.stride
                unsafe nm_store64(rings + 16 * i, MockPort.start + UInt64(buffer))
                unsafe nm_store64(
                    rings + 16 * i + 8,
                    UInt64(ring == 0 ? 12 + 60 : MockPort.stride)
                        | UInt64(ring == 0 ? 0 : 2) << 32
                )
                unsafe nm_store16(rings + MockPort.available + 4 + 2 * i, UInt16(i))
            }
            // No interrupts: the test polls.
            unsafe nm_store16(rings + MockPort.available, 1)
            unsafe queues[ring].initialize(
                to: SplitQueue(
                    QueueSetup(
                        size: size,
                        descriptors: rings,
                        available: rings + MockPort.available,
                        used: rings + MockPort.used,
                        base: 0,
                        features: features,
                        memory: memory
                    )
                )
            )
        }
        unsafe pair = .allocate(capacity: 1)
        unsafe pair.initialize(to: QueuePair())
        unsafe pair.pointee.source = UInt64(UInt(bitPattern: queues[0]))
        unsafe pair.pointee.sink = UInt64(UInt(bitPattern: queues[1]))
        unsafe pair.pointee.sourceEnabled = 1
        unsafe pair.pointee.sinkEnabled = 1
        unsafe plane = .allocate(capacity: 1)
        unsafe plane.initialize(
            to: PortPlane(
                number: number,
                vale: vale,
                pairs: pair,
                rx: DirectionCounters(unsafePage: &page.pointee.rx),
                tx: DirectionCounters(unsafePage: &page.pointee.tx),
                page: page,
                isLossless: patience != nil,
                patience: UInt64(patience ?? 0) * 1_000_000
            )
        )
    }

    func free() {
        for ring in 0..<2 {
            unsafe queues[ring].deinitialize(count: 1)
            unsafe queues[ring].deallocate()
        }
        unsafe pair.deallocate()
        unsafe plane.deallocate()
    }

    /// The guest's address.
    static func mac(_ number: UInt16) -> UInt64 { UInt64(number) << 40 | 0x02 }

    /// Whether the source waits for a port.
    var isHeld: Bool { unsafe nm_load16(&pair.pointee.hold.port) != 0 }
    /// Whether the receive queue has lost the right to keep others waiting.
    var isStalled: Bool { unsafe nm_load32(&pair.pointee.stall.isOver) != 0 }
    var tx: DirectionCounters { unsafe plane.pointee.tx }
    var rx: DirectionCounters { unsafe plane.pointee.rx }
    /// Frames that the switch has not taken yet.
    var unsent: Int { unsafe Int(sent &- nm_load16_acquire(base + MockPort.used + 2)) }

    /// Sends a frame of 60 bytes with a number in it; false if the ring is full.
    func send(_ value: UInt32, to destination: UInt64) -> Bool {
        guard unsent < Int(size) else { return false }
        let slot = Int(sent % size)
        // SAFETY: a buffer of `stride` bytes; the device has given it back.
        let frame = unsafe base + MockPort.buffers + slot * MockPort.stride + 12
        unsafe nm_store64(frame, destination | MockPort.mac(number) << 48)
        unsafe nm_store32(frame + 8, UInt32(truncatingIfNeeded: MockPort.mac(number) >> 16))
        unsafe nm_store16(frame + 12, 0xb588)
        unsafe nm_store32(frame + 14, value)
        let old = sent
        sent &+= 1
        publish(0, old, sent, sendKick)
        return true
    }

    /// Takes the receive queue away as a front-end does whose guest is paused, or brings it back.
    func pause(_ isPaused: Bool, _ pool: WorkerPool) {
        if isPaused {
            unsafe nm_store32(&pair.pointee.awaited, 1)
            unsafe nm_store64_release(&pair.pointee.sink, 0)
            pool.synchronize()
        } else {
            unsafe nm_store32(&pair.pointee.awaited, 0)
            unsafe nm_store64_release(&pair.pointee.sink, UInt64(UInt(bitPattern: queues[1])))
        }
        pool.recall()
    }

    /// Offers `count` more receive buffers.
    func offer(_ count: Int) {
        let old = offered
        offered &+= UInt16(count)
        publish(1, old, offered, receiveKick)
    }

    /// Takes what has arrived and offers the buffers again, if asked to.
    func receive(refill: Bool = true) -> [(from: UInt16, value: UInt32)] {
        var result: [(from: UInt16, value: UInt32)] = []
        let rings = unsafe base + MockPort.ring
        let end = unsafe nm_load16_acquire(rings + MockPort.used + 2)
        while received != end {
            let cell = unsafe rings + MockPort.used + 4 + 8 * Int(received % size)
            let slot = unsafe Int(size) + Int(nm_load32(cell))
            let frame = unsafe base + MockPort.buffers + slot * MockPort.stride + 12
            let from = unsafe UInt16(nm_load8(frame + 11))
            result.append((from, unsafe nm_load32(frame + 14)))
            received &+= 1
        }
        if refill, !result.isEmpty { offer(result.count) }
        return result
    }

    /// Moves avail.idx, and kicks if the device asked for it.
    private func publish(_ ring: Int, _ old: UInt16, _ new: UInt16, _ kick: OwnedDescriptor) {
        let rings = unsafe base + ring * MockPort.ring
        unsafe nm_store16_release(rings + MockPort.available + 2, new)
        nm_fence()
        let event = unsafe nm_load16(rings + MockPort.used + 4 + 8 * Int(size))
        let flags = unsafe nm_load16(rings + MockPort.used)
        if eventIndex ? new &- event &- 1 < new &- old : flags & 1 == 0 {
            _ = nm_eventfd_ring(kick.number)
        }
    }
}
