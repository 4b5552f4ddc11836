// Frames that wait to be forwarded: handed out, taken back, freed, and never more than there is room for.

import CNetmap
import Netmap
import TestSupport
import Testing

@testable import Ports

@Suite("An inbox")
struct InboxTests {
    /// Counters of its own for each use.
    final class Page {
        let page: UnsafeMutablePointer<nm_direction_counters>
        var counters: DirectionCounters { unsafe DirectionCounters(unsafePage: page) }

        init() {
            unsafe page = .allocate(capacity: 1)
            unsafe page.initialize(to: nm_direction_counters())
        }

        deinit { unsafe page.deallocate() }
    }

    /// Adds a frame of which every byte is `value`; false if there is no room.
    func add(
        _ value: UInt8,
        _ length: Int,
        skipped: Int = 0,
        offload: RawOffload = .none,
        room: Int = 65_609,
        to inbox: inout Inbox
    ) -> Bool {
        guard let place = unsafe inbox.room(for: room) else { return false }
        unsafe (place + skipped).initializeMemory(as: UInt8.self, repeating: value, count: length)
        inbox.add(length, skipped: skipped, offload: offload)
        return true
    }

    func firstBytes(_ batch: borrowing FrameBatch) -> [UInt8] {
        (0..<batch.count).map { unsafe nm_load8(batch.frames[$0].address) }
    }

    @Test("hands frames out in their order, as often as they are taken back")
    func order() {
        var inbox = Inbox()
        var batch = FrameBatch()
        let page = Page()
        for value in 1...5 { #expect(add(UInt8(value), 100 * value, skipped: 10, to: &inbox)) }
        inbox.collect(into: &batch, counters: page.counters, limit: 3)
        #expect(firstBytes(batch) == [1, 2, 3])
        #expect(unsafe batch.frames[2].length == 300)
        inbox.forget()
        batch.removeAll()
        inbox.collect(into: &batch, counters: page.counters, limit: 2)
        #expect(firstBytes(batch) == [1, 2])
        inbox.complete()
        #expect(inbox.place == 2)
        #expect(inbox.hasNews)
        batch.removeAll()
        inbox.collect(into: &batch, counters: page.counters, limit: 64)
        #expect(firstBytes(batch) == [3, 4, 5])
        inbox.complete()
        #expect(inbox.place == 5)
        #expect(!inbox.hasNews)
        #expect(page.counters.packets == 3 + 2 + 3)
    }

    @Test("is full by its frames, or by their bytes, and empty again")
    func full() {
        var inbox = Inbox()
        var batch = FrameBatch()
        let page = Page()
        for round in 0..<3 {
            var small = 0
            while add(UInt8(round), 60, to: &inbox) { small += 1 }
            #expect(small == FrameBatch.frameCapacity)
            inbox.collect(into: &batch, counters: page.counters, limit: 64)
            #expect(batch.count == small)
            inbox.complete()
            batch.removeAll()
            var large = 0
            while add(UInt8(round), 65_000, to: &inbox) { large += 1 }
            #expect(large == 16)
            inbox.collect(into: &batch, counters: page.counters, limit: 64)
            inbox.complete()
            batch.removeAll()
        }
    }

    @Test("keeps what a frame leaves open")
    func offloads() {
        var inbox = Inbox()
        var batch = FrameBatch()
        let page = Page()
        let request = RawOffload(low: 0x0022_0000_0000_0001, high: 16)
        #expect(add(1, 100, offload: request, to: &inbox))
        #expect(add(2, 100, to: &inbox))
        inbox.collect(into: &batch, counters: page.counters, limit: 64)
        #expect(unsafe batch.frames[0].offload)
        #expect(unsafe batch.headers[0].low == request.low)
        #expect(unsafe !batch.frames[1].offload)
        #expect(page.counters.offloaded == 1)
    }

    @Test("behaves as a queue, whatever is done to it in whatever order")
    func model() {
        for seed in 0..<50 {
            var random = Seeded(seed)
            var inbox = Inbox()
            var batch = FrameBatch()
            let page = Page()
            var queue: [UInt8] = []
            var taken = 0
            var value: UInt8 = 0
            for _ in 0..<400 {
                switch random.next() % 4 {
                case 0:
                    let length = Int(random.next() % 3000) + 1
                    if add(value, length, room: length, to: &inbox) {
                        queue.append(value)
                        value &+= 1
                    }
                case 1:
                    batch.removeAll()
                    let limit = Int(random.next() % 70)
                    inbox.collect(into: &batch, counters: page.counters, limit: limit)
                    let seen = queue[taken...].prefix(limit)
                    #expect(firstBytes(batch) == Array(seen))
                    taken += seen.count
                case 2:
                    inbox.forget()
                    taken = 0
                default:
                    inbox.complete()
                    queue.removeFirst(taken)
                    taken = 0
                }
            }
        }
    }
}
