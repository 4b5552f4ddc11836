// A guest that rewrites everything while the switch works on it: nothing that was checked may be
// different when it is used.

import CNetmap
import Glibc
import Netmap
import Synchronization
import TestSupport
import Testing

@testable import VhostUser

/// A thread of a hostile guest.
final class HostileThread: Sendable {
    private let stop = Atomic<Bool>(false)
    private let writes = Atomic<Int>(0)
    private let ram: UncheckedBox<GuestRAM>
    private let queues: [Layout]
    private let seed: Int

    /// Where a queue's parts are.
    struct Layout: Sendable {
        var size: UInt16
        var descriptors: UInt64
        var available: UInt64
        var used: UInt64
        var tables: UInt64
        var buffers: UInt64
        var isReceive: Bool

        init(_ driver: MockDriver, isReceive: Bool) {
            size = driver.size
            descriptors = driver.descriptors
            available = driver.available
            used = driver.used
            tables = driver.indirectTables
            buffers = driver.slices
            self.isReceive = isReceive
        }
    }

    /// Carries memory to another thread; its accesses are atomic or harmless by purpose.
    struct UncheckedBox<Value>: @unchecked Sendable { let value: Value }

    init(_ ram: GuestRAM, _ queues: [Layout], seed: Int) {
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
                    unsafe Unmanaged<HostileThread>.fromOpaque(argument).takeRetainedValue().work()
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
        let all = Int(ram.regions[0].size) - 8
        var count = 0
        while !stop.load(ordering: .relaxed) {
            for _ in 0..<64 {
                let queue = queues[random.below(queues.count)]
                let slot = UInt64(random.below(Int(queue.size)))
                switch random.below(16) {
                case 0 where random.chance(1):
                    // Whatever, wherever.
                    ram.store64(random.next(), at: ram.start + UInt64(random.below(all / 8) * 8))
                case 1...5:
                    let inTable = random.chance(1)
                    descriptor(
                        ram,
                        queue.descriptors + 16 * slot,
                        queue,
                        inTable: inTable,
                        &random
                    )
                case 6...7:
                    let inTable = random.below(500) > 0
                    descriptor(
                        ram,
                        queue.tables + UInt64(16 * random.below(64)),
                        queue,
                        inTable: inTable,
                        &random
                    )
                case 8...10:
                    let head = random.below(1000) > 0 ? random.below(Int(queue.size)) : 65_535
                    ram.store16(UInt16(head), at: queue.available + 4 + 2 * slot)
                case 11...13:
                    let used = ram.load16(queue.used + 2)
                    // At least half a ring, because used.idx moves meanwhile.
                    let half = Int(queue.size) / 2
                    let ahead = random.below(5000) > 0 ? half + random.below(half) : 5000
                    ram.store16(used &+ UInt16(ahead), at: queue.available + 2)
                default:
                    // A header or a frame's own headers.
                    let buffer = buffer(ram, queue, &random)
                    let masks: [UInt64] = [
                        0, 0, 0, 0, 1, 0x22_0000_0000_0001, 0xff_0000_0501, .max,
                    ]
                    let low = random.next() & masks[random.below(masks.count)]
                    ram.store64(low, at: buffer)
                    ram.store64(0x4500_0008 &* random.next(), at: buffer + 24)
                }
            }
            count += 64
        }
        writes.store(count, ordering: .relaxed)
    }

    private func buffer(
        _ ram: GuestRAM,
        _ queue: Layout,
        _ random: inout Seeded
    ) -> UInt64 {
        // Now and then in the middle of the rings.
        random.below(2000) == 0
            ? ram.start + UInt64(random.below(Int(ram.regions[0].size) - 64) / 64 * 64)
            : queue.buffers + UInt64(random.below(300) * 64)
    }

    private func descriptor(
        _ ram: GuestRAM,
        _ cell: UInt64,
        _ queue: Layout,
        inTable: Bool,
        _ random: inout Seeded
    ) {
        let address = random.below(1000) > 0 ? buffer(ram, queue, &random) : random.next()
        var flags: UInt64 = queue.isReceive ? 2 : 0
        if random.chance(30) { flags |= 1 }
        if random.below(1000) == 0 { flags ^= 2 }
        var length = UInt64(random.below(random.chance(95) ? 2000 : 70_000))
        if random.below(1000) == 0 { length = random.next() & 0xffff_ffff }
        var target = address
        if random.chance(15), !inTable {
            // One of two tables of 32 entries, now and then a part of one.
            flags = 4
            target = queue.tables + UInt64(512 * random.below(2))
            length = random.chance(98) ? 512 : UInt64(random.below(70) * 8)
        }
        let next = UInt64(random.below(inTable ? 32 : Int(queue.size)))
        ram.store64(target, at: cell)
        ram.store64(length | flags << 32 | next << 48, at: cell + 8)
    }
}

@Suite("A hostile guest's second thread")
struct HostileThreadTests {
    /// Seconds to run; `WIREVALE_HOSTILE_SECONDS` for more.
    static var seconds: Double {
        guard let text = unsafe getenv("WIREVALE_HOSTILE_SECONDS") else { return 1 }
        return Double(unsafe String(cString: text)) ?? 1
    }

    @Test(
        "cannot make the switch touch anything but the guest's memory",
        arguments: [Feature.modern, Feature.version1 | Feature.mergeableBuffers]
    )
    func rewritesEverything(features: UInt64) throws {
        let size: UInt16 = 64
        let footprint = MockDriver.footprint(size: size, sliceCount: 16)
        let step = UInt64((footprint + 4095) / 4096 * 4096)
        let ram = try GuestRAM([Int(2 * step), 0x4000], hole: 0x10_0000)
        let second = try ram.secondMapping()
        let transmit = MockDriver(ram, size: size, features: features, sliceCount: 16)
        let receive = MockDriver(
            ram,
            size: size,
            features: features,
            base: ram.start + step,
            sliceCount: 16
        )
        // A second guest that behaves: what it gets is whole, whatever is in it.
        let honest = MockDriver(
            try GuestRAM([1 << 20]),
            size: size,
            features: Feature.modern,
            sliceSize: 4096,
            tableEntries: 1
        )
        var worker = Worker()
        var faults: Set<QueueFault> = []
        var toHonest = 0
        let thread = HostileThread(
            ram,
            [
                HostileThread.Layout(transmit, isReceive: false),
                HostileThread.Layout(receive, isReceive: true),
            ],
            seed: Int(features & 0xffff)
        )
        let writes = thread.run {
            let begin = nm_monotonic_ns()
            let time = UInt64(HostileThreadTests.seconds * 1e9)
            var source = transmit.makeQueue()
            var sink = receive.makeQueue(second)
            var honestSink = honest.makeQueue()
            // Longer where a busy machine left us little of the time.
            while nm_monotonic_ns() - begin < time
                || (worker.received.counters.packets < 1000 || toHonest < 300)
                    && nm_monotonic_ns() - begin < 10 * time
            {
                for round in 0..<50 {
                    if round % 3 == 0 {
                        while honest.post([4000], writable: true) != nil {}
                        honest.publish()
                        worker.turn(&source, &honestSink)
                    } else {
                        worker.turn(&source, &sink)
                    }
                    for frame in honest.pollFrames() {
                        toHonest += 1
                        if !frame.isWellFormed || frame.frame.count < 14 {
                            Issue.record("the honest guest got \(frame.frame.count) bytes")
                        }
                    }
                    _ = source.needsInterrupt()
                    _ = sink.needsInterrupt()
                    _ = source.arm()
                    source.disarm()
                    faults.formUnion([source.fault, sink.fault])
                    // The front-end starts a broken queue again, behind what broke it.
                    if source.isFaulty {
                        ram.store16(ram.load16(transmit.available + 2), at: transmit.used + 2)
                        source = transmit.makeQueue()
                    }
                    if sink.isFaulty {
                        ram.store16(ram.load16(receive.available + 2), at: receive.used + 2)
                        sink = receive.makeQueue(second)
                    }
                }
            }
            #expect(honestSink.fault == .none)
        }
        withExtendedLifetime(second) {}
        #expect(ram.canariesAreIntact)
        #expect(honest.ram.canariesAreIntact)
        #expect(writes > 0)
        // Otherwise the test tests nothing.
        #expect(worker.received.counters.packets > 100)
        #expect(toHonest > 20)
        #expect(faults.count > 3, "\(faults)")
    }
}
