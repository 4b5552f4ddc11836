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
}
