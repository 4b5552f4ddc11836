// The record of a packed ring lies in a file that a front-end can have mapped (SET_INFLIGHT_FD): it is
// as hostile as the ring itself.

import CNetmap
import Netmap
import TestSupport
import Testing

@testable import VhostUser

@Suite("A hostile record of a packed ring")
struct HostileRecordTests {
    /// A record in memory of the test.
    @safe private final class Page {
        private let base: UnsafeMutableRawPointer

        init() {
            unsafe base = .allocate(byteCount: NM_RECORD_STRIDE, alignment: 8)
            unsafe base.initializeMemory(as: UInt8.self, repeating: 0, count: NM_RECORD_STRIDE)
        }

        deinit { unsafe base.deallocate() }

        var record: RingRecord { unsafe RingRecord(unsafeBase: base) }

        /// A record that is right but for what its chains say.
        func write(size: UInt16, _ position: RingPosition, count: Int, _ chains: [UInt64]) {
            unsafe nm_store16(base + NM_RECORD_VERSION, UInt16(NM_RECORD_VERSION_PACKED))
            unsafe nm_store16(base + NM_RECORD_SIZE, size)
            unsafe nm_store32(base + NM_RECORD_POSITION, position)
            unsafe nm_store16(base + NM_RECORD_COUNT, UInt16(truncatingIfNeeded: count))
            for (index, word) in chains.prefix(NM_RECORD_CAPACITY).enumerated() {
                unsafe nm_store64(base + NM_RECORD_CHAINS + 8 * index, word)
            }
        }
    }

    /// A chain's word, whose descriptors can be more than any ring has.
    private func word(_ position: RingPosition, id: UInt16, descriptors: UInt64) -> UInt64 {
        let place = UInt64(position & 0x7fff) | UInt64(position >> 16 & 1) << 15
        return place | UInt64(id) << 16 | 76 << 32 | descriptors << 49
    }

    /// A ring of 16 entries that has been in use, and whether the device has an entry to take.
    private func driver(hasEntry: Bool) throws -> MockDriver {
        let driver = MockDriver(
            .packed,
            try GuestRAM([1 << 16]),
            size: 16,
            features: Feature.modern,
            sliceCount: 4
        )
        for slot in 0..<UInt64(16) {
            let flags: UInt64 = hasEntry && slot == 0 ? 0x0080 : 0x8080
            driver.ram.store64(76 | flags << 48, at: driver.areas.descriptors + 16 * slot + 8)
        }
        return driver
    }

    @Test(
        "that names chains longer than the ring leaves the device inside it",
        arguments: [true, false]
    )
    func longChains(hasEntry: Bool) throws {
        for descriptors: UInt64 in [0, 1, 15, 16, 17, 31, 32, 33, 1000, 0x7fff] {
            let driver = try driver(hasEntry: hasEntry)
            let page = Page()
            let begin: RingPosition = 0x1_0000
            page.write(
                size: 16,
                begin,
                count: 3,
                (0..<3).map { word(begin, id: $0, descriptors: descriptors) }
            )
            let queue = driver.makeQueue(record: page.record)
            #expect(queue.place & 0xffff < 16, "\(descriptors) descriptors")
            var worker = Worker()
            worker.take(queue)
            queue.completeCollected()
            #expect(driver.ram.canariesAreIntact)
        }
    }

    @Test("of any content is followed only inside the ring", arguments: 0..<200)
    func anyContent(seed: Int) throws {
        var random = Seeded(seed)
        let driver = try driver(hasEntry: random.chance(50))
        let page = Page()
        var position = RingPosition(random.below(16)) | RingPosition(random.below(2)) << 16
        let begin = position
        var chains: [UInt64] = []
        for _ in 0..<random.below(NM_RECORD_CAPACITY) {
            let descriptors = random.chance(80) ? random.within(1...4) : random.below(0x8000)
            chains.append(
                random.chance(95)
                    ? word(
                        position,
                        id: UInt16(truncatingIfNeeded: random.next()),
                        descriptors: UInt64(descriptors)
                    ) : random.next()
            )
            // As an honest device goes on, so that the record is followed far.
            let slot = Int(position & 0xffff) + descriptors
            let lap = position & 0x1_0000
            position =
                slot < 16 ? lap | RingPosition(slot) : (lap ^ 0x1_0000) | RingPosition(slot % 16)
        }
        let count = random.chance(90) ? chains.count : random.below(1 << 16)
        page.write(size: 16, begin, count: count, chains)
        let queue = driver.makeQueue(record: page.record)
        #expect(queue.place & 0xffff < 16)
        var worker = Worker()
        for _ in 0..<3 {
            worker.take(queue)
            queue.completeCollected()
        }
        #expect(driver.ram.canariesAreIntact)
    }
}
