// Frames that the kernel sends out of a tap interface.

import CNetmap
import Glibc
import Netmap

/// Reads one queue of a tap interface.
@safe public struct TapReader: BitwiseCopyable {
    private let file: Int32
    private let headerLength: Int

    /// Reads from `file`, which outlives the reader.
    ///
    /// - Parameters:
    ///   - file: the descriptor.
    ///   - hasVnetHeader: whether each frame has a virtio-net header of `TapDevice.headerLength` bytes.
    public init(file: Int32, hasVnetHeader: Bool) {
        self.file = file
        headerLength = hasVnetHeader ? TapDevice.headerLength : 0
    }

    @_noLocks
    func read(into inbox: inout Inbox, counters: DirectionCounters) -> Int32 {
        let size = headerLength &+ FrameBatch.maximumFrameLength
        while let room = unsafe inbox.room(for: size) {
            // SAFETY: `room` has `size` bytes.
            let n = Int(unsafe nm_read(file, room, size))
            if n < 0 {
                let code = Int32(truncatingIfNeeded: 0 &- n)
                // The interface is down: it may come up again, and says so by being readable.
                return code == EAGAIN || code == ENETDOWN ? 0 : code
            }
            guard n >= headerLength &+ 14 else {
                counters.drop(.malformed)
                continue
            }
            var offload = RawOffload.none
            if headerLength != 0 {
                offload = unsafe RawOffload(low: nm_load64(room), high: nm_load16(room + 8))
            }
            inbox.add(n &- headerLength, skipped: headerLength, offload: offload)
        }
        return 0
    }
}
