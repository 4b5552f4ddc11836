// Frames that come over a connection.

import CNetmap
import Glibc
public import Netmap

/// Why nothing comes from a socket any more, where that is no error number of the kernel's.
public enum SocketFault {
    /// The peer has closed the connection.
    @inlinable public static var ended: Int32 { @_noLocks get { 10_001 } }
    /// The peer has closed the connection within a frame.
    @inlinable public static var cut: Int32 { @_noLocks get { 10_002 } }
    /// The peer has sent a length that no frame can have.
    @inlinable public static var badLength: Int32 { @_noLocks get { 10_003 } }
}

/// Reads one connection.
///
/// One worker serves it; `fault` may be read by others.
@safe public struct StreamSource: ~Copyable {
    private let file: Int32
    private var deframer = StreamDeframer()
    /// Whether the kernel had nothing more when it was asked last.
    private var isDrained = false
    /// Why nothing comes any more: an errno, one of `SocketFault`, or 0.
    public private(set) var fault: Int32 = 0
    /// The length that was wrong, if that is why.
    public private(set) var badLength: UInt32 = 0
    private let counters: DirectionCounters

    /// Reads from `file`, which outlives the source.
    ///
    /// - Parameters:
    ///   - file: a connected socket.
    ///   - counters: of the direction from the port.
    public init(file: Int32, counters: DirectionCounters) {
        self.file = file
        self.counters = counters
    }

    /// Reads once, unless there is something to forward already.
    @_noLocks
    private mutating func fill() {
        guard fault == 0, !deframer.hasNews else { return }
        isDrained = false
        if let length = deframer.badLength {
            badLength = length
            counters.drop(.malformed)
            fault = SocketFault.badLength
            return
        }
        let room = unsafe deframer.room()
        // SAFETY: the deframer has `size` bytes there.
        let n = unsafe nm_socket_read(file, room.address, room.size)
        if n > 0 {
            deframer.add(Int(n))
        } else if n == 0 {
            if deframer.hasPart { counters.drop(.malformed) }
            fault = deframer.hasPart ? SocketFault.cut : SocketFault.ended
        } else if n == -Int64(EAGAIN) {
            isDrained = true
        } else {
            if deframer.hasPart { counters.drop(.malformed) }
            fault = Int32(truncatingIfNeeded: 0 &- n)
        }
    }

    /// Takes the next batch, at most `limit` frames.
    @_noLocks
    public mutating func collect(
        into batch: inout FrameBatch,
        counters: DirectionCounters,
        limit: Int
    ) {
        fill()
        deframer.collect(into: &batch, counters: counters, limit: limit)
    }

    /// Frees the frames that were collected.
    @_noLocks public mutating func completeCollected() { deframer.complete() }

    /// Leaves what was collected where it is, to be collected again.
    @_noLocks public mutating func forgetCollected() { deframer.forget() }

    /// Looks once more before the worker sleeps; the kernel wakes it by the descriptor.
    ///
    /// - Returns: whether there is something after all, or may be: a byte a time is no reason to stay here.
    @_noLocks
    public mutating func arm() -> Bool {
        fill()
        return !isDrained
    }

    /// How much is through.
    public var place: UInt32 { @_noLocks get { deframer.place } }
}
