// Frames to the guest: a random sender and a random receiver, and a model of what must arrive.

import Netmap
import TestSupport
import Testing

@testable import VhostUser

/// What a guest's buffers must hold after frames were offered to them, the slow way.
struct ReceiverModel {
    let mergeable: Bool
    let headerLength: Int
    /// Bytes of each chain that waits, in order.
    var rooms: [Int] = []
    var oversize = 0
    var ringFull = 0

    /// - Returns: how many chains the frame takes, or nil if it is dropped.
    mutating func offer(_ frame: [UInt8]) -> Int? {
        let needed = headerLength + frame.count
        var room = 0
        for (k, chain) in rooms.enumerated() {
            room += chain
            if room >= needed {
                rooms.removeFirst(k + 1)
                return k + 1
            }
            if !mergeable {
                oversize += 1
                return nil
            }
        }
        ringFull += 1
        return nil
    }
}

@Suite("The receive queue")
struct ReceiveTests {
    /// One sender, one receiver, every parameter drawn from the seed.
    struct Trial {
        var random: Seeded
        let sender: MockDriver
        let receiver: MockDriver
        let longest: Int

        init(seed: Int, features: [UInt64]) throws {
            random = Seeded(seed)
            let isLarge = seed % 8 == 0
            longest = isLarge ? 65_597 : random.within(60...3000)
            let slice = longest + 512
            sender = try Trial.driver(
                features[seed / 2 % 2],
                slice,
                slices: isLarge ? 4 : 24,
                &random
            )
            receiver = try Trial.driver(
                features[seed % 2],
                slice,
                slices: isLarge ? 6 : 64,
                &random
            )
        }

        static func driver(
            _ features: UInt64,
            _ slice: Int,
            slices: Int,
            _ random: inout Seeded
        ) throws -> MockDriver {
            let size = UInt16(1) << UInt16(random.within(4...8))
            let length = MockDriver.footprint(size: size, sliceCount: slices, sliceSize: slice)
            let rings = RingSetup.areas(size, isPacked: false)
            let first = (rings.descriptors + rings.available + rings.used + 64 + 15) & ~15
            var regions = [first]
            while regions.reduce(0, +) < length, regions.count < 31 {
                regions.append(16 * random.within(16...max(16, length / 160)))
            }
            regions.append(max(4096, (length - regions.reduce(0, +) + 15) & ~15))
            return MockDriver(
                try GuestRAM(regions),
                size: size,
                features: features,
                sliceCount: slices,
                sliceSize: slice
            )
        }

        mutating func form(_ count: Int) -> Int? {
            switch random.below(3) {
            case 0: nil
            case 1: 0
            default: random.below(count)
            }
        }

        mutating func send(_ number: Int) -> (header: [UInt8], frame: [UInt8])? {
            let length = random.chance(50) ? random.within(20...100) : longest
            let frame = makeFrame(
                number,
                length: random.within(20...max(20, length)),
                using: &random
            )
            var header = [UInt8](repeating: 0, count: 10)
            if receiver.features & Feature.guestChecksum != 0, frame.count >= 60,
                random.chance(40)
            {
                header = [1, 0, 0, 0, 0, 0, 34, 0, 16, 0]
                if random.chance(50) { header[1] = random.chance(50) ? 1 : 0x81 }
                if header[1] != 0 { header[4] = 200 }
            }
            let padding = [UInt8](repeating: 0x77, count: sender.headerLength - 10)
            let lengths = random.split(
                sender.headerLength + frame.count,
                into: random.within(1...8)
            )
            guard
                sender.post(
                    lengths,
                    direct: form(lengths.count),
                    content: header + padding + frame
                )
                    != nil
            else { return nil }
            return (header, frame)
        }

        /// Posts one receive chain; its bytes, or nil if there is no room.
        mutating func offerBuffer() -> Int? {
            let whole = longest + receiver.headerLength
            let total: Int
            if receiver.mergeable {
                total = random.within(max(64, whole / 30)...max(64, whole / 3))
            } else {
                // Now and then too small for the longest frames.
                total =
                    random.chance(5) ? random.within(40...whole) : random.within(whole...whole + 90)
            }
            let lengths = random.split(total, into: random.within(1...4))
            let posted = receiver.post(
                lengths,
                writable: true,
                direct: form(lengths.count),
                gap: random.below(3)
            )
            return posted == nil ? nil : total
        }
    }

    func run(_ trial: consuming Trial, frames total: Int, seed: Int) {
        var trial = trial
        let note = Comment(
            rawValue: "seed \(seed), ring sizes \(trial.sender.size) \(trial.receiver.size)"
        )
        var source = trial.sender.makeQueue()
        var sink = trial.receiver.makeQueue()
        var worker = Worker()
        var model = ReceiverModel(
            mergeable: trial.receiver.mergeable,
            headerLength: trial.receiver.headerLength
        )
        var number = 0
        var delivered = 0
        var bytes = 0
        while number < total {
            var sent: [(header: [UInt8], frame: [UInt8])] = []
            for _ in 0..<trial.random.within(1...30) {
                guard let one = trial.send(number) else { break }
                sent.append(one)
                number += 1
            }
            for _ in 0..<trial.random.within(1...40) {
                guard let room = trial.offerBuffer() else { break }
                model.rooms.append(room)
            }
            trial.sender.publish()
            trial.receiver.publish()
            // Large frames take more than one visit.
            while worker.turn(&source, &sink) != 0 {}
            var expected: [MockDriver.Received] = []
            for one in sent {
                bytes += one.frame.count
                guard let buffers = model.offer(one.frame) else { continue }
                var header = one.header
                if trial.receiver.headerLength == 12 {
                    header += [UInt8(buffers & 0xff), UInt8(buffers >> 8)]
                }
                expected.append(
                    MockDriver.Received(
                        header: header,
                        frame: one.frame,
                        buffers: buffers,
                        isWellFormed: true
                    )
                )
            }
            delivered += expected.count
            let received = trial.receiver.pollFrames()
            guard received == expected else {
                Issue.record(
                    "\(received.count) of \(expected.count) arrived, \(number) sent; \(note)"
                )
                return
            }
            #expect(trial.sender.poll().count == sent.count, note)
            #expect(source.fault == .none, note)
            #expect(sink.fault == .none, note)
        }
        #expect(worker.received.counters.packets == UInt64(number), note)
        #expect(worker.received.counters.bytes == UInt64(bytes), note)
        #expect(worker.sent.counters.packets == UInt64(delivered), note)
        #expect(worker.sent.counters.dropped(.ringFull) == UInt64(model.ringFull), note)
        #expect(worker.sent.counters.dropped(.oversize) == UInt64(model.oversize), note)
        #expect(
            worker.sent.counters.packets + worker.sent.counters.dropped
                == worker.received.counters.packets,
            note
        )
        #expect(trial.sender.ram.canariesAreIntact && trial.receiver.ram.canariesAreIntact, note)
    }

    @Test("delivers what was sent, headers too, in order, between legacy guests", arguments: 0..<16)
    func legacy(seed: Int) throws {
        try run(
            Trial(
                seed: seed,
                features: [0, Feature.guestChecksum | Feature.guestTSO4 | Feature.guestECN]
            ),
            frames: 90,
            seed: seed
        )
    }

    @Test(
        "delivers what was sent, headers too, in order, to guests that merge buffers",
        arguments: 0..<16
    )
    func merging(seed: Int) throws {
        try run(
            Trial(seed: seed, features: [Feature.mergeableBuffers, Feature.modern]),
            frames: 90,
            seed: seed
        )
    }

    @Test(
        "delivers what was sent, headers too, in order, between guests of any kind",
        arguments: 0..<16
    )
    func mixed(seed: Int) throws {
        try run(
            Trial(seed: seed, features: [Feature.modern, seed % 4 < 2 ? 0 : Feature.version1]),
            frames: 90,
            seed: seed
        )
    }

    @Test("keeps its order and its headers over more than 65536 entries")
    func wraps() throws {
        var random = Seeded(5)
        let sender = MockDriver(
            try GuestRAM([1 << 17]),
            size: 64,
            features: Feature.modern,
            sliceSize: 256,
            tableEntries: 1
        )
        let receiver = MockDriver(
            try GuestRAM([1 << 17]),
            size: 128,
            features: Feature.modern,
            sliceSize: 256,
            tableEntries: 1
        )
        var source = sender.makeQueue()
        var sink = receiver.makeQueue()
        var worker = Worker()
        var sent = 0
        var received = 0
        let payload = random.bytes(46)
        let zeroes = [UInt8](repeating: 0, count: 12)
        while received < 70_000 {
            while receiver.post([100], writable: true) != nil {}
            receiver.publish()
            for _ in 0..<64 {
                let number = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: sent >> $0) }
                sender.post([76], content: zeroes + payload + number + payload.prefix(14))
                sent += 1
            }
            sender.publish()
            #expect(worker.turn(&source, &sink) == 64)
            #expect(sender.poll().count == 64)
            for used in receiver.poll() {
                let tail = used.pieces[0].address + 12 + 46
                let number = receiver.ram.bytes(at: tail, 4).reduce(0) { $0 << 8 | Int($1) }
                guard used.length == 76, number == received else {
                    Issue.record("frame \(received) arrived as \(number)")
                    return
                }
                received += 1
            }
        }
        #expect(worker.sent.drops.isEmpty)
    }

    @Test("counts what finds no buffer as ring-full, and delivers again when there is one")
    func ringFull() throws {
        let receiver = MockDriver(
            try GuestRAM([1 << 18]),
            size: 16,
            features: Feature.version1
        )
        var sink = receiver.makeQueue()
        var worker = Worker()
        var random = Seeded(1)
        let frames = (0..<10).map { makeFrame($0, length: 64, using: &random) }
        worker.deliver(frames, to: &sink)
        #expect(worker.sent.drops == ["ring-full": 10])
        for _ in 0..<4 { receiver.post([1600], writable: true) }
        receiver.publish()
        worker.deliver(frames, to: &sink)
        #expect(worker.sent.drops == ["ring-full": 16])
        #expect(receiver.pollFrames().map(\.frame) == Array(frames[..<4]))
        for _ in 0..<4 { receiver.post([1600], writable: true) }
        receiver.publish()
        worker.deliver(frames, to: &sink)
        #expect(receiver.pollFrames().map(\.frame) == Array(frames[..<4]))
        #expect(worker.sent.counters.packets == 8)
    }

    @Test("publishes all buffers of a frame at once and takes none if they do not suffice")
    func allOrNothing() throws {
        let receiver = MockDriver(
            try GuestRAM([1 << 18]),
            size: 16,
            features: Feature.modern
        )
        var sink = receiver.makeQueue()
        var worker = Worker()
        var random = Seeded(1)
        for _ in 0..<4 { receiver.post([100], writable: true) }
        receiver.publish()
        let long = makeFrame(1, length: 500, using: &random)
        let short = makeFrame(2, length: 300, using: &random)
        worker.deliver([long, short, short], to: &sink)
        #expect(worker.sent.drops == ["ring-full": 2])
        let received = receiver.pollFrames()
        #expect(received.map(\.frame) == [short])
        #expect(received.map(\.buffers) == [4])
    }
}
