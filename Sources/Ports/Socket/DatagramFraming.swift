// What a datagram has before its frame.

import CNetmap

/// What stands before the frame in each datagram.
public enum DatagramFraming: BitwiseCopyable, Sendable {
    /// Nothing: datagrams are frames.
    case none
    /// The header of an L2TPv3 session.
    case l2tpv3(L2TPv3Header)

    /// Bytes before a frame that is sent.
    var length: Int {
        @_noLocks get { if case .l2tpv3(let header) = self { header.length } else { 0 } }
    }

    /// Writes what stands before the next frame: `length` bytes.
    @_noLocks
    mutating func encode(to memory: UnsafeMutableRawPointer) {
        guard case .l2tpv3(var header) = self else { return }
        unsafe header.encode(to: memory)
        self = .l2tpv3(header)
    }
}
