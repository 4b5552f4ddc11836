// A second thread of a hostile guest: it rewrites rings, tables and buffers while the switch works on
// them. Its stores are relaxed atomics, as a guest's are to the switch.

import CNetmap
import Glibc
import Synchronization
import TestSupport

@testable import VhostUser

/// Writes nonsense that is nearly right, because the switch gets furthest with that.
final class Scribbler: Sendable {
    private let stop = Atomic<Bool>(false)
    private let writes = Atomic<Int>(0)
    private let ram: UncheckedBox<GuestRAM>
    private let queues: [Target]
    private let seed: Int

    /// A queue to write into.
    struct Target: Sendable {
        var format: Format
        var size: UInt16
        var areas: RingAreas
        var tables: UInt64
        var buffers: UInt64
        var isReceive: Bool

        init(_ driver: MockDriver, isReceive: Bool) {
            format = driver.format
            size = driver.size
            areas = driver.areas
            tables = driver.indirectTables
            buffers = driver.slices
            self.isReceive = isReceive
        }
    }

    /// Carries memory to another thread; all accesses to it from there are atomic.
    private struct UncheckedBox<Value>: @unchecked Sendable { let value: Value }

    init(_ ram: GuestRAM, _ queues: [Target], seed: Int) {
        self.ram = UncheckedBox(value: ram)
        self.queues = queues
        self.seed = seed
    }

    /// Runs until `body` returns.
    ///
    /// - Returns: how many words were written meanwhile.
    func run(during body: () -> Void) -> Int {
        var thread = pthread_t()
        let argument = unsafe Unmanaged.passRetained(self).toOpaque()
        let failure = unsafe pthread_create(
            &thread,
            nil,
            { argument in
                if let argument = unsafe argument {
                    unsafe Unmanaged<Scribbler>.fromOpaque(argument).takeRetainedValue().work()
                }
                return nil
            },
            argument
        )
        precondition(failure == 0, "no thread")
        body()
        stop.store(true, ordering: .relaxed)
        pthread_join(thread, nil)
        return writes.load(ordering: .relaxed)
    }

    private func work() {
        var random = Seeded(seed)
        let ram = ram.value
        var count = 0
        while !stop.load(ordering: .relaxed) {
            for _ in 0..<64 { write(ram, queues[random.below(queues.count)], &random) }
            count += 64
        }
        writes.store(count, ordering: .relaxed)
    }

    /// One write, to one of a queue's parts.
    private func write(_ ram: GuestRAM, _ queue: Target, _ random: inout Seeded) {
        let slot = UInt64(random.below(Int(queue.size)))
        switch random.below(16) {
        case 0 where random.chance(1):
            // Whatever, wherever.
            let words = Int(ram.regions[0].size) / 8
            ram.store64(random.next(), at: ram.start + UInt64(random.below(words) * 8))
        case 1...5:
            descriptor(ram, queue.areas.descriptors + 16 * slot, queue, inTable: false, &random)
        case 6...7:
            let cell = queue.tables + UInt64(16 * random.below(64))
            descriptor(ram, cell, queue, inTable: random.below(500) > 0, &random)
        case 8...10 where queue.format == .split:
            let head = random.below(1000) > 0 ? random.below(Int(queue.size)) : 65_535
            ram.store16(UInt16(head), at: queue.areas.available + 4 + 2 * slot)
        case 11...13 where queue.format == .split:
            let used = ram.load16(queue.areas.used + 2)
            // At least half a ring, because used.idx moves meanwhile.
            let half = Int(queue.size) / 2
            let ahead = random.below(5000) > 0 ? half + random.below(half) : 5000
            ram.store16(used &+ UInt16(ahead), at: queue.areas.available + 2)
        case 8...12:
            // Packed: what is available is in the descriptors themselves.
            descriptor(ram, queue.areas.descriptors + 16 * slot, queue, inTable: false, &random)
        case 13:
            ram.store32(UInt32(truncatingIfNeeded: random.next()), at: queue.areas.available)
        default:
            // A header or a frame's own headers.
            let buffer = buffer(ram, queue, &random)
            let masks: [UInt64] = [0, 0, 0, 0, 1, 0x22_0000_0000_0001, 0xff_0000_0501, .max]
            ram.store64(random.next() & masks[random.below(masks.count)], at: buffer)
            ram.store64(0x4500_0008 &* random.next(), at: buffer + 24)
        }
    }

    private func buffer(_ ram: GuestRAM, _ queue: Target, _ random: inout Seeded) -> UInt64 {
        // Now and then in the middle of the rings.
        random.below(2000) == 0
            ? ram.start + UInt64(random.below(Int(ram.regions[0].size) - 64) / 64 * 64)
            : queue.buffers + UInt64(random.below(300) * 64)
    }

    private func descriptor(
        _ ram: GuestRAM,
        _ cell: UInt64,
        _ queue: Target,
        inTable: Bool,
        _ random: inout Seeded
    ) {
        var target = random.below(1000) > 0 ? buffer(ram, queue, &random) : random.next()
        var flags: UInt64 = queue.isReceive ? 2 : 0
        if random.chance(30), queue.format == .split || !inTable { flags |= 1 }
        if random.below(1000) == 0 { flags ^= 2 }
        var length = UInt64(random.below(random.chance(95) ? 2000 : 70_000))
        if random.below(1000) == 0 { length = random.next() & 0xffff_ffff }
        if random.chance(15), !inTable {
            // One of two tables of 32 entries, now and then a part of one.
            flags = 4
            target = queue.tables + UInt64(512 * random.below(2))
            length = random.chance(98) ? 512 : UInt64(random.below(70) * 8)
        }
        ram.store64(target, at: cell)
        switch queue.format {
        case .split:
            let next = UInt64(random.below(inTable ? 32 : Int(queue.size)))
            ram.store64(length | flags << 32 | next << 48, at: cell + 8)
        case .packed:
            // Available in one lap or the other, seldom used or neither.
            let owner: UInt64 =
                random.chance(98)
                ? (random.chance(50) ? 0x80 : 0x8000) : (random.chance(50) ? 0x8080 : 0)
            let id = UInt64(random.below(1 << 16))
            ram.store64(length | id << 32 | (flags | owner) << 48, at: cell + 8)
        }
    }
}
