// Datagrams go whole or not at all, and each may find another reason.

import CNetmap
import Glibc
import Netmap

extension SocketSink {
    // SAFETY (whole extension): as in SocketSink.swift.

    /// What a datagram is counted under that was not taken.
    @_noLocks
    private static func reason(_ code: Int32) -> DropReason {
        code == EMSGSIZE ? .oversize : .noReader
    }

    /// Whether an error is about one datagram: it is too long, or an earlier one came back.
    @_noLocks
    private func isOfOne(_ code: Int32) -> Bool {
        // A unix socket says so of the one that was just to be sent, and will of all others.
        code == EMSGSIZE || (code == ECONNREFUSED && !isUnix)
    }

    /// Writes up to a batch of the backlog.
    ///
    /// - Returns: whether to try again.
    @_noLocks
    mutating func flushDatagrams() -> Bool {
        var count = 0
        var offset = 0
        let prefix = framing.length
        // Nothing else is in pieces and arena: this comes before the frames of a batch, or without any.
        let each = prefix == 0 ? 1 : 2
        while count < Int(NM_DATAGRAMS), let next = unsafe backlog.frame(at: offset) {
            if prefix != 0 {
                let header = unsafe arena + count &* prefix
                unsafe framing.encode(to: header)
                unsafe pieces[2 &* count] = unsafe Segment(address: header, length: prefix)
            }
            unsafe pieces[each &* count &+ each &- 1] = unsafe next.frame
            unsafe counts[count] = UInt16(truncatingIfNeeded: each)
            offset = unsafe next.next
            count = count &+ 1
        }
        let n = unsafe nm_datagrams_write(file, pieces, counts, Int32(count), to)
        if n < 0 {
            let code = 0 &- n
            if SocketSink.isPassing(code) { return false }
            if isOfOne(code) {
                _ = backlog.remove(unsafe pieces[each &- 1].length &+ OutputBacklog.headerLength)
                counters.drop(SocketSink.reason(code))
                return true
            }
            counters.drop(.noReader, backlog.removeAll())
            return false
        }
        var size = 0
        for k in 0..<Int(n) {
            let piece = unsafe pieces[each &* k &+ each &- 1]
            size = unsafe size &+ piece.length &+ OutputBacklog.headerLength
        }
        let gone = backlog.remove(size)
        counters.count(packets: gone.frames, bytes: gone.bytes)
        return true
    }

    @_noLocks
    mutating func sendDatagrams() {
        var done = 0
        var first = 0
        while done < pendingFrames {
            let n = unsafe nm_datagrams_write(
                file,
                pieces + first,
                counts + done,
                Int32(truncatingIfNeeded: pendingFrames &- done),
                to
            )
            if n > 0 {
                var bytes = 0
                for k in 0..<Int(n) { bytes = bytes &+ pass(done &+ k, &first) }
                counters.count(packets: Int(n), bytes: bytes)
                done = done &+ Int(n)
                continue
            }
            let code = 0 &- n
            if SocketSink.isPassing(code) {
                while done < pendingFrames {
                    let count = unsafe Int(counts[done])
                    let skipped = framing.length == 0 ? 0 : 1
                    unsafe backlog.add(frameIn: pieces + first + skipped, count &- skipped)
                    first = first &+ count
                    done = done &+ 1
                }
            } else if isOfOne(code) {
                counters.drop(SocketSink.reason(code))
                _ = pass(done, &first)
                done = done &+ 1
            } else {
                counters.drop(.noReader, pendingFrames &- done)
                done = pendingFrames
            }
        }
    }

    /// Goes to the next datagram's pieces.
    ///
    /// - Returns: the length of this one's frame.
    @_noLocks
    private func pass(_ datagram: Int, _ first: inout Int) -> Int {
        var length = 0 &- framing.length
        for _ in 0..<(unsafe Int(counts[datagram])) {
            length = unsafe length &+ pieces[first].length
            first = first &+ 1
        }
        return length
    }
}
