// Frames out of a stream of bytes, however those come: in one piece, in two, one at a time, or never.

import CNetmap
import Netmap
import TestSupport
import Testing

@testable import Ports

/// Bytes of a connection: each frame behind its length.
func streamBytes(_ frames: [[UInt8]]) -> [UInt8] {
    frames.flatMap { frame in
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: frame.count >> $0) } + frame
    }
}

/// A frame that no other one is like.
func streamFrame(_ number: Int, _ length: Int) -> [UInt8] {
    (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ number &* 17 &+ $0 / 251) }
}

@Suite("Bytes of a connection become frames")
struct StreamDeframerTests {
    /// Gives the deframer bytes, in pieces that end at `cuts`, and takes what it hands out after each.
    func frames(
        of bytes: [UInt8],
        cutAt cuts: [Int],
        limit: Int = FrameBatch.frameCapacity,
        _ counters: DirectionCounters
    ) -> (frames: [[UInt8]], badLength: UInt32?) {
        var deframer = StreamDeframer()
        var batch = FrameBatch()
        var found: [[UInt8]] = []
        var begin = 0
        for end in cuts + [bytes.count] {
            while begin < end {
                let room = unsafe deframer.room()
                let n = unsafe min(end - begin, room.size)
                for k in 0..<n { unsafe nm_store8(room.address + k, bytes[begin + k]) }
                deframer.add(n)
                begin += n
                while deframer.hasNews {
                    batch.removeAll()
                    deframer.collect(into: &batch, counters: counters, limit: limit)
                    found += (0..<batch.count).map { contents(batch, $0) }
                    deframer.complete()
                }
            }
        }
        return (found, deframer.badLength)
    }

    func contents(_ batch: borrowing FrameBatch, _ index: Int) -> [UInt8] {
        let length = unsafe Int(batch.frames[index].length)
        return (0..<length).map { unsafe nm_load8(batch.frames[index].address + $0) }
    }

    @Test("at every split in three, the same frames")
    func everySplit() {
        let page = InboxTests.Page()
        let sent = [14, 15, 60, 14, 20].enumerated().map { streamFrame($0.offset, $0.element) }
        let bytes = streamBytes(sent)
        for first in 0...bytes.count {
            for second in first...bytes.count {
                let got = frames(of: bytes, cutAt: [first, second], page.counters)
                guard got.frames == sent, got.badLength == nil else {
                    Issue.record("split at \(first) and \(second)")
                    return
                }
            }
        }
    }

    @Test("a byte at a time, and in batches of one")
    func bytewise() {
        let page = InboxTests.Page()
        let sent = [14, 1514, 60].enumerated().map { streamFrame($0.offset, $0.element) }
        let bytes = streamBytes(sent)
        #expect(
            frames(of: bytes, cutAt: Array(1..<bytes.count), limit: 1, page.counters).frames == sent
        )
        #expect(page.counters.packets == 3)
        #expect(page.counters.bytes == 14 + 1514 + 60)
    }

    @Test("the longest frames, and what is too short or too long for any port, without losing step")
    func extremes() {
        let page = InboxTests.Page()
        let lengths = [
            1, 14, 13, FrameBatch.maximumFrameLength, 65_598, 69_632, 69_632, 69_632, 14,
        ]
        let sent = lengths.enumerated().map { streamFrame($0.offset, $0.element) }
        let got = frames(of: streamBytes(sent), cutAt: [3, 40, 100_000, 200_001], page.counters)
        let good = sent.filter { (14...FrameBatch.maximumFrameLength).contains($0.count) }
        #expect(got.frames == good)
        #expect(page.counters.dropped(.malformed) == 2)
        #expect(page.counters.dropped(.oversize) == 4)
    }

    @Test(
        "an impossible length is said, and what came before it is not lost",
        arguments: [0, 69_633, 0x0100_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] as [UInt32]
    )
    func impossible(length: UInt32) {
        let page = InboxTests.Page()
        let sent = [streamFrame(1, 60), streamFrame(2, 61)]
        let claim = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) }
        let bytes = streamBytes(sent) + claim + streamBytes(sent)
        for cut in 0...bytes.count {
            let got = frames(of: bytes, cutAt: [cut], page.counters)
            guard got.frames == sent, got.badLength == length else {
                Issue.record("cut at \(cut): \(got.frames.count) frames")
                return
            }
        }
    }

    @Test("what was taken back is handed out again")
    func takenBack() {
        let page = InboxTests.Page()
        var deframer = StreamDeframer()
        let sent = [60, 5, 61, 62].enumerated().map { streamFrame($0.offset, $0.element) }
        let bytes = streamBytes(sent)
        let room = unsafe deframer.room()
        for (k, byte) in bytes.enumerated() { unsafe nm_store8(room.address + k, byte) }
        deframer.add(bytes.count)
        var batch = FrameBatch()
        deframer.collect(into: &batch, counters: page.counters, limit: 64)
        #expect(batch.count == 3)
        let place = deframer.place
        deframer.forget()
        deframer.complete()
        #expect(deframer.place == place)
        for expected in [sent[0], sent[2], sent[3]] {
            batch.removeAll()
            deframer.collect(into: &batch, counters: page.counters, limit: 1)
            #expect(contents(batch, 0) == expected)
            deframer.complete()
        }
        let hasNews1 = deframer.hasNews
        #expect(!hasNews1)
        let hasPart2 = deframer.hasPart
        #expect(!hasPart2)
        #expect(Int(deframer.place) == bytes.count)
    }

    @Test("random lengths in random pieces", arguments: 0..<8)
    func random(seed: Int) {
        let page = InboxTests.Page()
        var generator = Seeded(seed)
        let sent = (0..<120).map { number in
            streamFrame(
                number,
                Int.random(in: 14...(number % 10 == 0 ? 40_000 : 200), using: &generator)
            )
        }
        let bytes = streamBytes(sent)
        let cuts = (0..<60).map { _ in Int.random(in: 0...bytes.count, using: &generator) }.sorted()
        #expect(frames(of: bytes, cutAt: cuts, page.counters).frames == sent)
    }
}
