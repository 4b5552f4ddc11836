// Frames from a packet socket without a ring: a system call for each, and none of the millisecond that a ring of
// TPACKET_V3 holds them back.

import CNetmap
import Glibc
import Netmap

/// Reads a packet socket.
@safe public struct PacketReader: BitwiseCopyable {
    private let file: Int32

    /// Reads from `file`, which outlives the reader.
    init(file: Int32) { self.file = file }

    @_noLocks
    func read(into inbox: inout Inbox, counters: DirectionCounters) -> Int32 {
        let headerLength = NM_VNET_HEADER
        let size = headerLength &+ FrameBatch.maximumFrameLength
        while let room = unsafe inbox.room(for: size) {
            var tag: UInt32 = 0
            // SAFETY: `room` has `size` bytes.
            let n = Int(unsafe nm_packet_receive(file, room, size, &tag))
            if n < 0 {
                let lost = nm_packet_losses(file)
                if lost > 0 { counters.drop(.ringFull, Int(lost)) }
                let code = Int32(truncatingIfNeeded: 0 &- n)
                // The interface is down: the control plane watches it.
                return code == EAGAIN || code == ENETDOWN ? 0 : code
            }
            if n == 0 { continue }
            guard n <= size &- (tag == 0 ? 0 : 4) else {
                counters.drop(.oversize)
                continue
            }
            guard n >= headerLength &+ 14 else {
                counters.drop(.malformed)
                continue
            }
            var low = unsafe nm_load64(room)
            let high = unsafe nm_load16(room + 8)
            if tag == 0 {
                inbox.add(
                    n &- headerLength,
                    skipped: headerLength,
                    offload: RawOffload(low: low, high: high)
                )
                continue
            }
            if low & 1 != 0 { low = low &+ (4 &<< 48) }
            unsafe PacketSource.insert(tag, before: room + headerLength)
            inbox.add(
                n &- headerLength &+ 4,
                skipped: headerLength &- 4,
                offload: RawOffload(low: low, high: high)
            )
        }
        return 0
    }
}
