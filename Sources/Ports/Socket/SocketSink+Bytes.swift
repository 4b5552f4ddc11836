// What a connection takes is any number of bytes, so that a frame may have left in part.

import CNetmap
import Netmap

extension SocketSink {
    // SAFETY (whole extension): as in SocketSink.swift.

    /// Writes of the backlog what there is room for.
    ///
    /// - Returns: whether to try again.
    @_noLocks
    mutating func flushBytes() -> Bool {
        var piece = unsafe backlog.piece
        let n = unsafe nm_socket_write(file, &piece, 1)
        if n >= 0 {
            let gone = backlog.remove(Int(n))
            counters.count(packets: gone.frames, bytes: gone.bytes)
            return true
        }
        if SocketSink.isPassing(Int32(truncatingIfNeeded: 0 &- n)) { return false }
        isBroken = true
        counters.drop(.noReader, backlog.removeAll())
        return false
    }

    @_noLocks
    mutating func sendBytes() {
        let n = unsafe nm_socket_write(file, pieces, Int32(truncatingIfNeeded: pieceCount))
        if n == Int64(pendingBytes) {
            counters.count(
                packets: pendingFrames,
                bytes: pendingBytes &- pendingFrames &* OutputBacklog.headerLength
            )
        } else if n < 0, !SocketSink.isPassing(Int32(truncatingIfNeeded: 0 &- n)) {
            isBroken = true
            counters.drop(.noReader, pendingFrames)
        } else {
            keep(after: Int(max(0, n)))
        }
    }

    /// Puts the frames into the backlog of which not all are among the first `sent` bytes.
    @_noLocks
    private mutating func keep(after sent: Int) {
        var first = 0
        var rest = sent
        var frames = 0
        var bytes = 0
        while first < pieceCount {
            // A frame begins with its length, which is ours.
            let length = unsafe Int(nm_load32(pieces[first].address).byteSwapped)
            let size = OutputBacklog.headerLength &+ length
            if rest < size { break }
            rest = rest &- size
            frames = frames &+ 1
            bytes = bytes &+ length
            var passed = 0
            while passed < size, first < pieceCount {
                passed = unsafe passed &+ pieces[first].length
                first = first &+ 1
            }
        }
        counters.count(packets: frames, bytes: bytes)
        unsafe backlog.add(
            pieces: pieces + first,
            pieceCount &- first,
            frames: pendingFrames &- frames
        )
        _ = backlog.remove(rest)
    }
}
