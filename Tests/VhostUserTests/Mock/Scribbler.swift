// A second thread of a hostile guest: it rewrites rings, tables and buffers while the switch works on
// them. Its stores are atomic and go through the switch's own mapping, so that the thread sanitizer
// sees both sides: it objects to every access of the switch that is not an atomic of shm.h.

import CNetmap
import Synchronization
import TestSupport

@testable import VhostUser

/// Writes nonsense that is nearly right, because the switch gets furthest with that.
final class Scribbler: Sendable {
    private let writes = Atomic<Int>(0)
    private let queues: [Target]
    private let seed: Int

    /// A queue to write into.
    ///
    /// Unchecked: what another thread does with the memory is atomic, and the rest constant.
    struct Target: @unchecked Sendable {
        let ram: GuestRAM
        let memory: GuestMemory
        var format: Format
        var size: UInt16
        var areas: RingAreas
        var tables: UInt64
        var buffers: UInt64
        var isReceive: Bool

        /// The queue of `driver`, in `memory` as the switch maps it for that queue.
        init(_ driver: MockDriver, _ memory: GuestMemory, isReceive: Bool) {
            ram = driver.ram
            self.memory = memory
            format = driver.format
            size = driver.size
            areas = driver.areas
            tables = driver.indirectTables
            buffers = driver.slices
            self.isReceive = isReceive
        }

        func load16(_ guest: UInt64) -> UInt16 { unsafe nm_load16(ram.host(guest, 2, memory)) }
        func store16(_ value: UInt16, at guest: UInt64) {
            unsafe nm_store16(ram.host(guest, 2, memory), value)
        }
        func store32(_ value: UInt32, at guest: UInt64) {
            unsafe nm_store32(ram.host(guest, 4, memory), value)
        }
        func store64(_ value: UInt64, at guest: UInt64) {
            unsafe nm_store64(ram.host(guest, 8, memory), value)
        }
        /// Bytes that can be written.
        var length: Int { Int(ram.regions[0].size) }
    }

    init(_ queues: [Target], seed: Int) {
        self.queues = queues
        self.seed = seed
    }

    /// Runs until `body` returns.
    ///
    /// - Returns: how many words were written meanwhile.
    func run(during body: () -> Void) -> Int {
        OtherThread.run({ self.work(until: $0) }, beside: body)
        return writes.load(ordering: .relaxed)
    }

    private func work(until thread: OtherThread) {
        var random = Seeded(seed)
        var count = 0
        while !thread.isOver {
            for _ in 0..<64 { write(queues[random.below(queues.count)], &random) }
            count += 64
        }
        writes.store(count, ordering: .relaxed)
    }

    /// One write, to one of a queue's parts.
    private func write(_ queue: Target, _ random: inout Seeded) {
        let slot = UInt64(random.below(Int(queue.size)))
        switch random.below(16) {
        case 0 where random.chance(1):
            // Whatever, wherever.
            let words = queue.length / 8
            queue.store64(random.next(), at: queue.ram.start + UInt64(random.below(words) * 8))
        case 1...5:
            descriptor(queue.areas.descriptors + 16 * slot, queue, inTable: false, &random)
        case 6...7:
            let cell = queue.tables + UInt64(16 * random.below(64))
            descriptor(cell, queue, inTable: random.below(500) > 0, &random)
        case 8...10 where queue.format == .split:
            let head = random.below(1000) > 0 ? random.below(Int(queue.size)) : 65_535
            queue.store16(UInt16(head), at: queue.areas.available + 4 + 2 * slot)
        case 11...13 where queue.format == .split:
            let used = queue.load16(queue.areas.used + 2)
            // At least half a ring, because used.idx moves meanwhile.
            let half = Int(queue.size) / 2
            let ahead = random.below(5000) > 0 ? half + random.below(half) : 5000
            queue.store16(used &+ UInt16(ahead), at: queue.areas.available + 2)
        case 8...12:
            // Packed: what is available is in the descriptors themselves.
            descriptor(queue.areas.descriptors + 16 * slot, queue, inTable: false, &random)
        case 13:
            queue.store32(UInt32(truncatingIfNeeded: random.next()), at: queue.areas.available)
        default:
            // A header or a frame's own headers.
            let buffer = buffer(queue, &random)
            let masks: [UInt64] = [0, 0, 0, 0, 1, 0x22_0000_0000_0001, 0xff_0000_0501, .max]
            queue.store64(random.next() & masks[random.below(masks.count)], at: buffer)
            queue.store64(0x4500_0008 &* random.next(), at: buffer + 24)
        }
    }

    private func buffer(_ queue: Target, _ random: inout Seeded) -> UInt64 {
        // Now and then in the middle of the rings.
        random.below(2000) == 0
            ? queue.ram.start + UInt64(random.below(queue.length - 64) / 64 * 64)
            : queue.buffers + UInt64(random.below(300) * 64)
    }

    private func descriptor(
        _ cell: UInt64,
        _ queue: Target,
        inTable: Bool,
        _ random: inout Seeded
    ) {
        var target = random.below(1000) > 0 ? buffer(queue, &random) : random.next()
        var flags: UInt64 = queue.isReceive ? 2 : 0
        if random.chance(30), queue.format == .split || !inTable { flags |= 1 }
        if random.below(1000) == 0 { flags ^= 2 }
        var length = UInt64(random.below(random.chance(95) ? 2000 : 70_000))
        if random.below(1000) == 0 { length = random.next() & 0xffff_ffff }
        if random.chance(15), !inTable {
            // One of two tables of 32 entries, now and then a part of one.
            flags = 4
            target = queue.tables + UInt64(512 * random.below(2))
            length = random.chance(95) ? 512 : UInt64(random.below(70) * 8)
        }
        queue.store64(target, at: cell)
        switch queue.format {
        case .split:
            let next = UInt64(random.below(inTable ? 32 : Int(queue.size)))
            queue.store64(length | flags << 32 | next << 48, at: cell + 8)
        case .packed:
            // Available in one lap or the other, seldom used or neither.
            let owner: UInt64 =
                random.chance(98)
                ? (random.chance(50) ? 0x80 : 0x8000) : (random.chance(50) ? 0x8080 : 0)
            let id = UInt64(random.below(1 << 16))
            queue.store64(length | id << 32 | (flags | owner) << 48, at: cell + 8)
        }
    }
}
