// Netmap rings as workers hold them.

import CNetmap
import Glibc
import Netmap
import TestSupport
import Testing

@testable import Engine

@Suite("A netmap ring as a worker's queue")
struct KringQueueTests {
    @Test("of an interface gives slots back that held no frame")
    func swallowed() throws {
        var layout = Region.Layout()
        layout.slots = 256
        layout.bufferSize = 64
        let region = try Region(layout)
        let file = region.descriptor.number
        let protection = PROT_READ | PROT_WRITE
        let base = unsafe try #require(mmap(nil, region.byteCount, protection, MAP_SHARED, file, 0))
        defer { unsafe munmap(base, region.byteCount) }
        for index in 0..<70 {
            let slot = unsafe base + NM_RING_SLOTS + index * NM_SLOT_SIZE
            unsafe nm_store16(slot + 4, 10)
            unsafe nm_store16(slot + 6, UInt16(NS_MOREFRAG))
        }
        unsafe nm_store32_release(base + NM_RING_HEAD, 70)
        let kring = UnsafeMutablePointer<Kring>.allocate(capacity: 1)
        unsafe kring.initialize(to: region.transmitKring())
        defer {
            unsafe kring.deinitialize(count: 1)
            unsafe kring.deallocate()
        }
        let mock = try MockSwitch(workers: 1)
        defer { mock.close() }
        let port = try mock.add()
        var batch = FrameBatch()
        var finisher = OffloadFinisher()
        let trial = Trial()
        let hasMoved = unsafe Chore(.swallow, ring: kring)
            .run(port.plane, &batch, trial.everyFrame, &finisher)
        #expect(hasMoved)
        #expect(unsafe kring.pointee.place == 70)
        #expect(port.rx.dropped(.malformed) == 1)
    }

    @Test("is rid of a frame that never ends, whose port stood before", arguments: [65, 128, 255])
    func endlessFrame(slots: Int) throws {
        var layout = Region.Layout()
        layout.slots = 256
        layout.bufferSize = 64
        let region = try Region(layout)
        let file = region.descriptor.number
        let protection = PROT_READ | PROT_WRITE
        let base = unsafe try #require(mmap(nil, region.byteCount, protection, MAP_SHARED, file, 0))
        defer { unsafe munmap(base, region.byteCount) }
        for index in 0..<slots {
            let slot = unsafe base + NM_RING_SLOTS + index * NM_SLOT_SIZE
            unsafe nm_store16(slot + 4, 10)
            unsafe nm_store16(slot + 6, UInt16(NS_MOREFRAG))
        }
        unsafe nm_store32_release(base + NM_RING_HEAD, UInt32(slots))
        let kring = UnsafeMutablePointer<Kring>.allocate(capacity: 1)
        unsafe kring.initialize(to: region.transmitKring())
        let queue = unsafe PortQueue(word: UInt64(UInt(bitPattern: kring)) | 2)
        defer { unsafe queue.free() }
        var batch = FrameBatch()
        let page = TestSupport.CounterPage()
        for _ in 0..<8 where unsafe Int(queue.place) != slots {
            batch.removeAll()
            unsafe queue.collect(into: &batch, counters: page.counters)
            unsafe queue.completeCollected()
        }
        #expect(unsafe Int(queue.place) == slots)
        #expect(page.drops == ["malformed": 1])
        // Who takes a part of a batch again says how many slots.
        for index in 0..<slots {
            unsafe nm_store16(base + NM_RING_SLOTS + index * NM_SLOT_SIZE + 6, 0)
        }
        let end = (slots + 3) % 256
        unsafe nm_store32_release(base + NM_RING_HEAD, UInt32(end))
        batch.removeAll()
        unsafe queue.collect(into: &batch, counters: page.counters, limit: 2)
        unsafe queue.completeCollected()
        #expect(unsafe Int(queue.place) == (slots + 2) % 256)
    }
}
