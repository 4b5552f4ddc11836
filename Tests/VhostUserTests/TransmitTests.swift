// Frames from the guest: the same frame, however its driver cuts it into descriptors.

import Netmap
import TestSupport
import Testing

@testable import VhostUser

@Suite("The transmit queue")
struct TransmitTests {
    static let frameLength = 60
    /// The features that make a header legacy or not, and its length.
    static let headers: [(UInt64, Int)] = [(0, 10), (Feature.version1, 12)]

    /// How a chain's pieces are described to the device.
    enum Form: CaseIterable { case direct, indirect, mixed }

    func direct(_ form: Form, pieces: Int) -> Int? {
        switch form {
        case .direct: nil
        case .indirect: 0
        case .mixed: pieces / 2
        }
    }

    func check(
        _ format: Format,
        _ lengths: [Int],
        _ features: UInt64,
        _ form: Form,
        gap: Int = 3,
        regions: [Int] = [0x8000]
    ) throws {
        var random = Seeded(lengths.reduce(7) { $0 &* 31 &+ $1 })
        let driver = MockDriver(
            format,
            try GuestRAM(regions),
            size: 128,
            features: features,
            sliceCount: 4,
            sliceSize: 3072
        )
        let queue = driver.makeQueue()
        var worker = Worker()
        let frame = makeFrame(
            1,
            length: lengths.reduce(0, +) - driver.headerLength,
            using: &random
        )
        // A request for the checksum at 14 + 6, which fits every frame here.
        let header: [UInt8] = [1, 0, 0xff, 0xff, 0, 0, 14, 0, 6, 0]
        let padding = [UInt8](repeating: 0xee, count: driver.headerLength - 10)
        let note = Comment(rawValue: "\(format) \(lengths) \(form) header \(driver.headerLength)")
        for _ in 0..<3 {
            driver.post(
                lengths,
                direct: direct(form, pieces: lengths.count),
                gap: gap,
                content: header + padding + frame
            )
        }
        driver.publish()
        let expected = Collected(frame: frame, request: header)
        #expect(worker.collect(queue) == [expected, expected, expected], note)
        #expect(driver.poll().isEmpty, "not before they were copied")
        queue.completeCollected()
        let used = driver.poll()
        #expect(used.count == 3, note)
        #expect(used.allSatisfy { $0.length == 0 && !$0.pieces.isEmpty }, note)
        #expect(worker.received.counters.packets == 3, note)
        #expect(worker.received.counters.bytes == UInt64(3 * frame.count), note)
        #expect(worker.received.counters.offloaded == 3, note)
        #expect(worker.received.drops.isEmpty, note)
        #expect(queue.fault == .none, note)
        #expect(driver.ram.canariesAreIntact)
    }

    @Test(
        "takes a frame and its header whole where a chain is cut in two, at every byte",
        arguments: Format.allCases,
        Form.allCases
    )
    func everySplit(format: Format, form: Form) throws {
        for (features, headerLength) in TransmitTests.headers {
            let total = headerLength + TransmitTests.frameLength
            for cut in 1..<total { try check(format, [cut, total - cut], features, form) }
        }
    }

    @Test(
        "takes a header that is spread over three and more descriptors",
        arguments: Format.allCases,
        Form.allCases
    )
    func spreadHeader(format: Format, form: Form) throws {
        let rest = TransmitTests.frameLength
        for (features, headerLength) in TransmitTests.headers {
            for a in 1..<headerLength - 1 {
                for b in 1..<headerLength - a {
                    try check(format, [a, b, headerLength - a - b + rest], features, form)
                }
            }
            let bytes = [Int](repeating: 1, count: headerLength + 20)
            try check(format, bytes + [rest - 20], features, form)
        }
    }

    @Test("takes chains of any shape", arguments: Format.allCases, 0..<120)
    func anyShape(format: Format, seed: Int) throws {
        var random = Seeded(seed)
        let features = random.chance(50) ? 0 : Feature.version1
        let total = random.within(42...3000)
        var lengths = random.split(total, into: random.within(1...14))
        // A buffer of no bytes is odd, not wrong.
        while random.chance(30) { lengths.insert(0, at: random.within(0...lengths.count)) }
        try check(format, lengths, features, Form.allCases[seed % 3], gap: 0)
    }

    @Test(
        "takes buffers and indirect tables that lie across memory regions",
        arguments: Format.allCases,
        0..<120
    )
    func acrossRegions(format: Format, seed: Int) throws {
        var random = Seeded(seed)
        let total = random.within(42...3000)
        let lengths = random.split(total, into: random.within(1...14))
        // The rings need one piece; the tables and buffers behind them get many boundaries.
        var regions = [4096]
        while regions.reduce(0, +) < 0x8000 { regions.append(16 * random.within(4...100)) }
        if regions.count > GuestMemory.maximumRegions {
            regions = Array(regions[..<GuestMemory.maximumRegions]) + [0x4000]
            regions.remove(at: 1)
        }
        try check(
            format,
            lengths,
            Feature.version1,
            Form.allCases[seed % 3],
            gap: 0,
            regions: regions
        )
    }

    @Test(
        "counts a frame of 13 bytes as malformed and one too long as oversize, and takes the others",
        arguments: Format.allCases,
        [1, 3]
    )
    func limits(format: Format, pieces: Int) throws {
        for (features, _) in TransmitTests.headers {
            try limits(format, features, pieces)
        }
    }

    func limits(_ format: Format, _ features: UInt64, _ pieces: Int) throws {
        let cases: [(Int, String?)] = [
            (0, "malformed"), (1, "malformed"), (13, "malformed"), (14, nil), (15, nil),
            (65_597, nil), (65_598, "oversize"), (100_000, "oversize"),
        ]
        for (length, reason) in cases {
            var random = Seeded(length)
            let driver = MockDriver(
                format,
                try GuestRAM([1 << 20]),
                size: 8,
                features: features,
                sliceCount: 2,
                sliceSize: 120_000
            )
            let queue = driver.makeQueue()
            var worker = Worker()
            let total = driver.headerLength + length
            let frame = makeFrame(1, length: length, using: &random)
            driver.post(
                random.split(total, into: pieces),
                content: [UInt8](repeating: 0, count: driver.headerLength) + frame
            )
            driver.publish()
            let collected = worker.collect(queue)
            let note = Comment(rawValue: "\(length) bytes in \(pieces) pieces")
            #expect(collected.map(\.frame) == (reason == nil ? [frame] : []), note)
            #expect(worker.received.drops == (reason.map { [$0: 1] } ?? [:]), note)
            queue.completeCollected()
            #expect(driver.poll().count == 1, note)
            #expect(queue.fault == .none, note)
        }
    }

    @Test("takes no more than a batch at a time, and the rest after it", arguments: Format.allCases)
    func bounded(format: Format) throws {
        var random = Seeded(1)
        let driver = MockDriver(
            format,
            try GuestRAM([1 << 20]),
            size: 256,
            features: Feature.version1
        )
        let queue = driver.makeQueue()
        var worker = Worker()
        let frames = (0..<200).map { makeFrame($0, length: 64, using: &random) }
        for frame in frames {
            driver.post([76], content: [UInt8](repeating: 0, count: 12) + frame)
        }
        driver.publish()
        var taken: [[UInt8]] = []
        for expected in [64, 64, 64, 8, 0] {
            let collected = worker.collect(queue)
            #expect(collected.count == expected)
            taken += collected.map(\.frame)
            queue.completeCollected()
        }
        #expect(taken == frames)
        #expect(driver.poll().count == 200)
    }

    @Test("sees what it collected again if it was not completed", arguments: Format.allCases)
    func recollects(format: Format) throws {
        var random = Seeded(2)
        let driver = MockDriver(
            format,
            try GuestRAM([1 << 20]),
            size: 16,
            features: Feature.version1
        )
        let queue = driver.makeQueue()
        var worker = Worker()
        let frame = makeFrame(3, length: 64, using: &random)
        driver.post([76], content: [UInt8](repeating: 0, count: 12) + frame)
        driver.publish()
        #expect(worker.collect(queue).map(\.frame) == [frame])
        #expect(worker.collect(queue).map(\.frame) == [frame])
        queue.completeCollected()
        #expect(worker.collect(queue).isEmpty)
        #expect(driver.poll().count == 1)
    }

    @Test("gives back what a disabled queue sends, and counts it", arguments: Format.allCases)
    func discards(format: Format) throws {
        let driver = MockDriver(
            format,
            try GuestRAM([1 << 20]),
            size: 64,
            features: Feature.version1
        )
        let queue = driver.makeQueue()
        let page = CounterPage()
        var batch = FrameBatch()
        for _ in 0..<40 { driver.post([76]) }
        driver.publish()
        queue.discard(&batch, counters: page.counters)
        #expect(page.drops == ["queue-disabled": 40])
        #expect(driver.poll().count == 40)
        queue.discard(&batch, counters: page.counters)
        #expect(page.drops == ["queue-disabled": 40])
        driver.post([76])
        driver.publish()
        var worker = Worker()
        #expect(worker.collect(queue).count == 1)
    }

    @Test("begins at used.idx, whatever the front-end says after a crash")
    func startsAtUsedIndex() throws {
        let driver = MockDriver(
            .split,
            try GuestRAM([1 << 20]),
            size: 16,
            features: Feature.version1
        )
        for _ in 0..<3 { driver.post([76]) }
        driver.publish()
        var worker = Worker()
        do {
            let queue = driver.makeQueue()
            #expect(worker.collect(queue).count == 3)
            queue.completeCollected()
        }
        for _ in 0..<4 { driver.post([76]) }
        driver.publish()
        do {
            let queue = driver.makeQueue()
            #expect(worker.collect(queue).count == 4, "and then crash")
        }
        let queue = driver.makeQueue()
        #expect(queue.place == 3)
        #expect(worker.collect(queue).count == 4, "they are sent twice rather than never")
        queue.completeCollected()
        #expect(driver.poll().count == 7)
    }
}
