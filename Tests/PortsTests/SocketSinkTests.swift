// Frames into a real socket that has too little room: none is cut, repeated or forgotten, and what is counted
// as sent is what comes out.

import CNetmap
import Glibc
import Netmap
import TestSupport
import Testing

@testable import Ports

@Suite("A socket that takes frames")
struct SocketSinkTests {
    let page = InboxTests.Page()
    let memory = FrameMemory()

    /// The frames in a stream of bytes, and what is left over.
    static func frames(in bytes: [UInt8]) -> (frames: [[UInt8]], rest: Int) {
        var frames: [[UInt8]] = []
        var place = 0
        while bytes.count - place >= 4 {
            let length = bytes[place..<place + 4].reduce(0) { $0 << 8 | Int($1) }
            guard bytes.count - place - 4 >= length else { break }
            frames.append(Array(bytes[place + 4..<place + 4 + length]))
            place += 4 + length
        }
        return (frames, bytes.count - place)
    }

    @Test("many frames go with one call, in pieces or not", arguments: [1, 2, 7])
    func whole(pieces: Int) {
        let sockets = SocketPair()
        var sink = SocketSink(file: sockets.mine.number, counters: page.counters)
        var batch = FrameBatch()
        var finisher = OffloadFinisher()
        let sent = (0..<64).map { streamFrame($0, 14 + $0 * 20) }
        memory.fill(&batch, sent, pieces: pieces)
        unsafe sink.deliver(batch, memory.list, batch.count, finisher: &finisher)
        #expect(sockets.read() == streamBytes(sent))
        #expect(page.counters.packets == 64)
        #expect(Int(page.counters.bytes) == sent.reduce(0) { $0 + $1.count })
        let needsAttention1 = sink.needsAttention
        #expect(!needsAttention1)
    }

    @Test("a slow reader gets whole frames; the others are counted", arguments: 0..<4)
    func slow(seed: Int) {
        let sockets = SocketPair(buffer: 8192)
        var sink = SocketSink(file: sockets.mine.number, counters: page.counters)
        var batch = FrameBatch()
        var finisher = OffloadFinisher()
        var generator = Seeded(seed)
        var got: [UInt8] = []
        var offered = 0
        for round in 0..<30 {
            let count = Int.random(in: 1...64, using: &generator)
            let sent = (0..<count).map { number in
                var frame = streamFrame(number, Int.random(in: 14...3000, using: &generator))
                // The number of the frame among all, where the addresses would be.
                for (k, shift) in [24, 16, 8, 0].enumerated() {
                    frame[k] = UInt8(truncatingIfNeeded: (offered + number) >> shift)
                }
                return frame
            }
            offered += count
            memory.fill(&batch, sent, pieces: round % 3 + 1)
            unsafe sink.deliver(batch, memory.list, batch.count, finisher: &finisher)
            got += sockets.read(Int.random(in: 0...30_000, using: &generator))
        }
        #expect(page.counters.dropped(.ringFull) > 0, "the test is about that")
        while !sink.flush() { got += sockets.read() }
        got += sockets.read()
        let result = Self.frames(in: got)
        #expect(result.rest == 0)
        #expect(UInt64(result.frames.count) == page.counters.packets)
        #expect(UInt64(offered) == page.counters.packets + page.counters.dropped(.ringFull))
        let numbers = result.frames.map { $0[0..<4].reduce(0) { $0 << 8 | Int($1) } }
        #expect(numbers == numbers.sorted() && Set(numbers).count == numbers.count)
    }

    @Test("one whose senders wait gets all of them, in order", arguments: 0..<4)
    func lossless(seed: Int) {
        let sockets = SocketPair(buffer: 8192)
        var sink = SocketSink(file: sockets.mine.number, counters: page.counters)
        var batch = FrameBatch()
        var finisher = OffloadFinisher()
        var generator = Seeded(seed)
        var got: [UInt8] = []
        var all: [[UInt8]] = []
        var waits = 0
        for round in 0..<20 {
            let sent = (0..<40).map { number in
                streamFrame(round * 40 + number, Int.random(in: 14...3000, using: &generator))
            }
            all += sent
            memory.fill(&batch, sent, pieces: round % 3 + 1)
            var done = 0
            var segments = 0
            while done < sent.count {
                done += unsafe sink.deliverWhileRoom(
                    batch,
                    memory.list + done,
                    sent.count - done,
                    segments: &segments,
                    finisher: &finisher
                )
                if done == sent.count { break }
                waits += 1
                let needsAttention2 = sink.needsAttention
                #expect(needsAttention2)
                let full = sink.shortage
                #expect(full.isEmpty)
                // Nothing changes until somebody reads.
                sink.flush()
                #expect(sink.shortage == full)
                got += sockets.read(Int.random(in: 10_000...90_000, using: &generator))
                sink.flush()
                #expect(sink.shortage != full)
            }
        }
        #expect(waits > 0)
        while !sink.flush() { got += sockets.read() }
        got += sockets.read()
        #expect(got == streamBytes(all))
        #expect(page.counters.dropped == 0)
        #expect(page.counters.packets == 800)
    }

    @Test(
        "a frame that is to be segmented leaves as segments, with whoever waits or not",
        arguments: [false, true]
    )
    func segmented(waits: Bool) {
        let sockets = SocketPair(buffer: 4608)
        var sink = SocketSink(file: sockets.mine.number, counters: page.counters)
        var batch = FrameBatch()
        var finisher = OffloadFinisher()
        // IPv4 and TCP, 40 000 bytes of payload to be cut at 1000.
        var frame = [UInt8](repeating: 0, count: 54) + streamFrame(7, 40_000)
        frame[12] = 8
        frame[14] = 0x45
        frame[16] = UInt8((40_040) >> 8)
        frame[17] = UInt8(40_040 & 0xff)
        frame[22] = 64
        frame[23] = 6
        frame[46] = 0x50
        memory.fill(&batch, Array(repeating: frame, count: 12), pieces: 2)
        for k in 0..<12 {
            // Checksum and TCP over IPv4; headers of 54 bytes, segments of 1000; TCP at 34, its checksum at 16.
            unsafe batch.headers[k] = RawOffload(low: 0x0022_03e8_0036_0101, high: 16)
            var changed = unsafe batch.frames[k]
            unsafe changed.offload = true
            unsafe batch.frames[k] = unsafe changed
        }
        var got: [UInt8] = []
        if waits {
            var done = 0
            var segments = 0
            while done < 12 {
                done += unsafe sink.deliverWhileRoom(
                    batch,
                    memory.list + done,
                    12 - done,
                    segments: &segments,
                    finisher: &finisher
                )
                got += sockets.read()
            }
        } else {
            unsafe sink.deliver(batch, memory.list, 12, finisher: &finisher)
        }
        while !sink.flush() { got += sockets.read() }
        got += sockets.read()
        let result = Self.frames(in: got)
        #expect(result.rest == 0)
        #expect(page.counters.packets == UInt64(result.frames.count))
        #expect(page.counters.packets + page.counters.dropped(.ringFull) == 480)
        #expect(result.frames.allSatisfy { $0.count == 1054 && $0[23] == 6 })
        if waits {
            #expect(result.frames.count == 480)
            #expect(
                Array(result.frames.prefix(40).map { $0[54...] }.joined()) == Array(frame[54...])
            )
        }
    }

    @Test("one whose peer has gone counts what it is given, and says what never left")
    func gone() {
        var sockets: SocketPair? = SocketPair(buffer: 4608)
        let mine = sockets?.mine
        do {
            var sink = SocketSink(file: mine?.number ?? -1, counters: page.counters)
            var batch = FrameBatch()
            var finisher = OffloadFinisher()
            let sent = (0..<64).map { streamFrame($0, 1000) }
            memory.fill(&batch, sent)
            unsafe sink.deliver(batch, memory.list, 64, finisher: &finisher)
            let left = page.counters.packets
            #expect(left < 64 && page.counters.dropped == 0)
            sockets = nil
            unsafe sink.deliver(batch, memory.list, 64, finisher: &finisher)
            let isBroken3 = sink.isBroken
            #expect(isBroken3)
            let needsAttention4 = sink.needsAttention
            #expect(!needsAttention4)
            #expect(page.counters.packets == left)
            #expect(page.counters.dropped(.noReader) == 128 - left)
        }
        #expect(page.counters.packets + page.counters.dropped == 128)
    }

    @Test("what waits when the port goes is counted")
    func closed() {
        let sockets = SocketPair(buffer: 4608)
        do {
            var sink = SocketSink(file: sockets.mine.number, counters: page.counters)
            var batch = FrameBatch()
            var finisher = OffloadFinisher()
            memory.fill(&batch, (0..<64).map { streamFrame($0, 1000) })
            unsafe sink.deliver(batch, memory.list, 64, finisher: &finisher)
        }
        #expect(page.counters.dropped(.noReader) > 0)
        #expect(page.counters.packets + page.counters.dropped(.noReader) == 64)
    }
}
