// Frames from real sockets, and why none come any more.

import CNetmap
import Glibc
import Netmap
import TestSupport
import Testing

@testable import Ports

@Suite("A socket that brings frames")
struct SocketSourceTests {
    let page = InboxTests.Page()

    func collect(_ source: inout StreamSource, _ batch: inout FrameBatch) -> Int {
        batch.removeAll()
        source.collect(into: &batch, counters: page.counters, limit: FrameBatch.frameCapacity)
        source.completeCollected()
        return batch.count
    }

    @Test("brings what was sent before its end, then says that it ended")
    func ended() {
        var sockets: SocketPair? = SocketPair()
        var source = StreamSource(file: sockets?.mine.number ?? -1, counters: page.counters)
        var batch = FrameBatch()
        let isEarly = source.arm()
        #expect(!isEarly)
        let sent = (0..<100).map { streamFrame($0, 60) }
        sockets?.write(streamBytes(sent))
        let mine = sockets?.mine
        sockets = nil
        let hasNews = source.arm()
        #expect(hasNews)
        #expect(collect(&source, &batch) == 64)
        #expect(source.fault == 0)
        #expect(collect(&source, &batch) == 36)
        #expect(collect(&source, &batch) == 0)
        #expect(source.fault == SocketFault.ended)
        #expect(page.counters.packets == 100 && page.counters.dropped == 0)
        withExtendedLifetime(mine) {}
    }

    @Test("says when it ended within a frame, and counts that")
    func cut() {
        var sockets: SocketPair? = SocketPair()
        var source = StreamSource(file: sockets?.mine.number ?? -1, counters: page.counters)
        var batch = FrameBatch()
        sockets?.write(Array(streamBytes([streamFrame(1, 60), streamFrame(2, 60)]).dropLast(10)))
        let mine = sockets?.mine
        sockets = nil
        #expect(collect(&source, &batch) == 1)
        #expect(collect(&source, &batch) == 0)
        #expect(source.fault == SocketFault.cut)
        #expect(page.counters.dropped(.malformed) == 1)
        withExtendedLifetime(mine) {}
    }

    @Test("says what length was wrong, after the frames before it")
    func wrongLength() {
        let sockets = SocketPair()
        var source = StreamSource(file: sockets.mine.number, counters: page.counters)
        var batch = FrameBatch()
        sockets.write(streamBytes([streamFrame(1, 60)]) + [0xff, 0xff, 0xff, 0xff, 1, 2, 3])
        #expect(collect(&source, &batch) == 1)
        #expect(source.fault == 0)
        #expect(collect(&source, &batch) == 0)
        #expect(source.fault == SocketFault.badLength && source.badLength == .max)
    }

    @Test("datagrams: one is one frame, what is none is counted")
    func datagrams() {
        let sockets = SocketPair(Int32(SOCK_DGRAM.rawValue), buffer: 1 << 20)
        var source = DatagramSource(file: sockets.mine.number)
        var batch = FrameBatch()
        let sent = [60, 13, 65_597, 0, 14].map { streamFrame($0, $0) }
        for frame in sent { sockets.write(frame) }
        source.collect(into: &batch, counters: page.counters, limit: 64)
        #expect(batch.count == 3)
        let lengths = (0..<3).map { unsafe batch.frames[$0].length }
        #expect(lengths == [60, 65_597, 14])
        #expect(page.counters.dropped(.malformed) == 2)
        source.forgetCollected()
        source.completeCollected()
        #expect(source.place == 0)
        batch.removeAll()
        source.collect(into: &batch, counters: page.counters, limit: 64)
        #expect(batch.count == 3)
        source.completeCollected()
        #expect(source.place == 5)
        let hasMore = source.arm()
        #expect(!hasMore)
        #expect(source.fault == 0)
    }

    @Test("datagrams for a receiver that is full wait for it; for none they are counted")
    func datagramsWait() {
        let memory = FrameMemory()
        let sockets = SocketPair(Int32(SOCK_DGRAM.rawValue), buffer: 1 << 14)
        var sink = SocketSink(
            file: sockets.mine.number,
            isDatagrams: true,
            isUnix: true,
            counters: page.counters
        )
        var batch = FrameBatch()
        var finisher = OffloadFinisher()
        var frames: [[UInt8]] = []
        for round in 0..<10 {
            let sent = (0..<64).map { streamFrame(round * 64 + $0, 14 + $0) }
            frames += sent
            memory.fill(&batch, sent, pieces: round % 2 + 1)
            unsafe sink.deliver(batch, memory.list, 64, finisher: &finisher)
        }
        // More than the kernel keeps for a socket.
        let needsAttention1 = sink.needsAttention
        #expect(needsAttention1)
        var got: [[UInt8]] = []
        var buffer = [UInt8](repeating: 0, count: 1000)
        repeat {
            while true {
                let n = unsafe read(sockets.other.number, &buffer, buffer.count)
                guard n > 0 else { break }
                got.append(Array(buffer.prefix(n)))
            }
        } while !sink.flush() || got.count < frames.count
        #expect(got == frames)
        #expect(page.counters.packets == 640 && page.counters.dropped == 0)

        var nobody = nm_address()
        _ = unsafe nm_address_unix(&nobody, "/nobody/is/there")
        var other = SocketSink(
            file: sockets.mine.number,
            isDatagrams: true,
            isUnix: true,
            to: nobody,
            counters: page.counters
        )
        unsafe other.deliver(batch, memory.list, 64, finisher: &finisher)
        #expect(page.counters.dropped(.noReader) == 64)
    }
}
