// How much of a worker one visit to one queue can take: a guest that makes its frames expensive gets
// fewer of them through at a time, but always at least one.

import Netmap
import TestSupport
import Testing

@testable import VhostUser

@Suite("A visit to a queue")
struct VisitBudgetTests {
    /// How many of 64 frames a visit collects, and that the rest follow.
    private func visit(
        _ format: Format,
        _ lengths: [Int],
        direct: Int? = nil,
        frames: Int = 64,
        _ sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Int {
        let total = lengths.reduce(0, +)
        let size: UInt16 = lengths.count > 8 ? 8192 : 512
        let length = MockDriver.footprint(
            format,
            size: size,
            sliceCount: frames,
            sliceSize: total,
            tableEntries: 128
        )
        let driver = MockDriver(
            format,
            try GuestRAM([length + 4096]),
            size: size,
            features: Feature.modern,
            sliceCount: frames,
            sliceSize: total,
            tableEntries: 128
        )
        let queue = driver.makeQueue()
        var worker = Worker()
        for _ in 0..<frames { #expect(driver.post(lengths, direct: direct) != nil) }
        driver.publish()
        worker.take(queue)
        queue.completeCollected()
        let first = driver.poll().count
        var given = first
        for _ in 0..<frames where given < frames {
            worker.take(queue)
            queue.completeCollected()
            let more = driver.poll().count
            #expect(more > 0, "every visit makes progress", sourceLocation: sourceLocation)
            given += more
        }
        #expect(given == frames, sourceLocation: sourceLocation)
        #expect(queue.fault == .none, sourceLocation: sourceLocation)
        return first
    }

    @Test(
        "takes 64 frames of the size that links have, in one buffer or a few",
        arguments: Format.allCases
    )
    func fullSize(format: Format) throws {
        #expect(try visit(format, [12 + 1514]) == 64)
        // A header of its own is a descriptor more for each: 1514 bytes and twice 64.
        #expect(try visit(format, [12, 1514]) == 60)
        #expect(try visit(format, [12, 60]) == 64)
        #expect(try visit(format, [12, 60], direct: 0) == 64)
    }

    @Test("ends after the bytes of 64 frames of full size", arguments: Format.allCases)
    func bytes(format: Format) throws {
        // 98304 bytes are exceeded by the second frame of 65 KB, by the eleventh of 9 KB.
        #expect(try visit(format, [12 + 65_000], frames: 8) == 2)
        #expect(try visit(format, [12 + 9014]) == 11)
        #expect(try visit(format, [12, 65_000], direct: 0, frames: 8) == 2)
    }

    @Test("ends after many descriptors, wherever they are", arguments: Format.allCases)
    func descriptors(format: Format) throws {
        // 64 for each of 30 descriptors and 1488 for the bytes: the 29th exceeds 98304.
        let pieces = [Int](repeating: 50, count: 30)
        #expect(try visit(format, pieces) == 29)
        #expect(try visit(format, pieces, direct: 0) == 29)
        // A batch takes no other frame when it has more than 1024 segments.
        let crumbs = [Int](repeating: 3, count: 100)
        #expect(try visit(format, crumbs) == 11)
        #expect(try visit(format, crumbs, direct: 0) == 11)
    }

    @Test("ends after few chains that have no frame in them", arguments: Format.allCases)
    func vain(format: Format) throws {
        // Too short and too long ones: each counts as 16384 bytes, and the seventh exceeds 98304.
        #expect(try visit(format, [12, 13]) == 7)
        #expect(try visit(format, [20]) == 7)
        #expect(try visit(format, [12, 65_598], frames: 10) == 7)
    }

    /// How many of 64 frames of 500 bytes a visit delivers into merged buffers of `length` bytes.
    private func delivery(_ format: Format, _ length: Int) throws -> Int {
        let size: UInt16 = 8192
        let ram = MockDriver.footprint(format, size: size, sliceSize: length, tableEntries: 0)
        let receiver = MockDriver(
            format,
            try GuestRAM([ram + 4096]),
            size: size,
            features: Feature.modern,
            sliceSize: length,
            tableEntries: 0
        )
        let sink = receiver.makeQueue()
        for _ in 0..<Int(size) { receiver.post([length], writable: true) }
        receiver.publish()
        var worker = Worker()
        var random = Seeded(1)
        let frames = (0..<64).map { makeFrame($0, length: 500, using: &random) }
        worker.deliver(frames, to: sink)
        let delivered = receiver.pollFrames().count
        #expect(
            worker.sent.drops == (delivered == 64 ? [:] : ["ring-full": UInt64(64 - delivered)])
        )
        // The next visit goes on: the queue is slow, not broken.
        worker.deliver(frames, to: sink)
        #expect(receiver.pollFrames().count == delivered)
        #expect(sink.fault == .none)
        return delivered
    }

    @Test(
        "delivers little into crumbs, and all into buffers of a usual size",
        arguments: Format.allCases
    )
    func crumbs(format: Format) throws {
        #expect(try delivery(format, 128) == 64)
        // 64 for each buffer: of 16 bytes each frame needs 32, and the 49th exceeds 98304.
        #expect(try delivery(format, 16) == 49)
    }
}
