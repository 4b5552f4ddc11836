// Frames behind the headers of a tunnel: one for each, in order, whether they leave at once or wait first.

import CNetmap
import Glibc
import Netmap
import Testing

@testable import Ports

@Suite("Datagrams with a header before their frames")
struct DatagramFramingTests {
    let page = InboxTests.Page()
    let memory = FrameMemory()

    private func framing(sending: UInt32, expecting: UInt32, padding: Int = 200) -> DatagramFraming
    {
        .l2tpv3(
            L2TPv3Header(
                isUDP: true,
                isIPv6: false,
                cookieSize: .long,
                hasCounter: true,
                isCounterPinned: false,
                sessions: (sending, expecting),
                cookies: (UInt64(sending) << 32 | 1, UInt64(expecting) << 32 | 1),
                padding: padding
            )
        )
    }

    @Test("what waits gets its header when it leaves", arguments: [1, 3])
    func waits(pieces: Int) {
        let sockets = SocketPair(Int32(SOCK_DGRAM.rawValue), buffer: 1 << 16)
        var sink = SocketSink(
            file: sockets.mine.number,
            isDatagrams: true,
            isUnix: true,
            framing: framing(sending: 7, expecting: 9),
            counters: page.counters
        )
        var source = DatagramSource(
            file: sockets.other.number,
            framing: framing(sending: 9, expecting: 7)
        )
        let received = InboxTests.Page()
        var batch = FrameBatch()
        var finisher = OffloadFinisher()
        var frames: [[UInt8]] = []
        for round in 0..<5 {
            let sent = (0..<64).map { streamFrame(round * 64 + $0, 20 + $0 * 20) }
            frames += sent
            memory.fill(&batch, sent, pieces: pieces)
            unsafe sink.deliver(batch, memory.list, 64, finisher: &finisher)
        }
        let waits = sink.needsAttention
        #expect(waits, "a socket takes fewer than 320")
        var got: [[UInt8]] = []
        var isEmpty = false
        for _ in 0..<1000 where got.count < frames.count {
            batch.removeAll()
            source.collect(into: &batch, counters: received.counters, limit: 64)
            for k in 0..<batch.count {
                let length = unsafe Int(batch.frames[k].length)
                var bytes = [UInt8](repeating: 0, count: length)
                for index in 0..<length {
                    bytes[index] = unsafe nm_load8(batch.frames[k].address + index)
                }
                got.append(bytes)
            }
            source.completeCollected()
            isEmpty = sink.flush()
        }
        #expect(isEmpty && got == frames)
        let bytes = frames.reduce(0) { $0 + $1.count }
        for counters in [page.counters, received.counters] {
            #expect(counters.packets == 320 && counters.dropped == 0)
            #expect(Int(counters.bytes) == bytes)
        }
    }

    @Test("segments each get a header, and the counter goes on")
    func segments() {
        let sockets = SocketPair(Int32(SOCK_DGRAM.rawValue), buffer: 1 << 20)
        var sink = SocketSink(
            file: sockets.mine.number,
            isDatagrams: true,
            isUnix: true,
            framing: framing(sending: 7, expecting: 9, padding: 0),
            counters: page.counters
        )
        var batch = FrameBatch()
        var finisher = OffloadFinisher()
        // IPv4 and TCP, 5000 bytes of payload to be cut at 1000.
        var frame = [UInt8](repeating: 0, count: 54) + streamFrame(7, 5000)
        frame[12] = 8
        frame[14] = 0x45
        frame[16] = UInt8(5040 >> 8)
        frame[17] = UInt8(5040 & 0xff)
        frame[22] = 64
        frame[23] = 6
        frame[46] = 0x50
        memory.fill(&batch, [frame], pieces: 2)
        unsafe batch.headers[0] = RawOffload(
            low: 1 | 1 << 8 | 54 << 16 | 1000 << 32 | 34 << 48,
            high: 16
        )
        var changed = unsafe batch.frames[0]
        unsafe changed.offload = true
        unsafe batch.frames[0] = unsafe changed
        unsafe sink.deliver(batch, memory.list, 1, finisher: &finisher)
        var buffer = [UInt8](repeating: 0, count: 2000)
        var payload: [UInt8] = []
        for number in 1...5 {
            let n = unsafe read(sockets.other.number, &buffer, buffer.count)
            #expect(n == 20 + 1054)
            #expect(Array(buffer[4..<8]) == [0, 0, 0, 7])
            #expect(Array(buffer[16..<20]) == [0, 0, 0, UInt8(number)])
            payload += buffer[74..<max(74, n)]
        }
        #expect(payload == Array(frame[54...]))
        #expect(page.counters.packets == 5 && page.counters.bytes == 5 * 1054)
    }
}
