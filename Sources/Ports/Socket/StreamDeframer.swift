// Bytes of a connection to frames: each is behind its length, four bytes, big-endian (QEMU's stream and
// socket netdevs; passt's too). No I/O here: whoever reads writes into `room`.

import CNetmap
public import Netmap

/// Cuts what was read into frames, which stay where they were read to.
///
/// Owns the memory. Used by the one worker that serves the queue.
@safe public struct StreamDeframer: ~Copyable {
    /// The longest frame that QEMU sends or takes; a longer one ends the connection.
    @inlinable public static var maximumLength: Int { @_noLocks get { 69_632 } }
    /// Bytes of a length.
    @inlinable public static var headerLength: Int { @_noLocks get { 4 } }
    /// What one read may bring: a few thousand small frames, a few of the longest.
    private static var size: Int { @_noLocks get { 1 << 18 } }

    private let memory: UnsafeMutableRawPointer
    /// The oldest byte; those before it are through.
    private var begin = 0
    /// How far a batch has taken them.
    private var taken = 0
    /// Where the next byte goes.
    private var end = 0
    /// Bytes that are through, counted for ever.
    public private(set) var place: UInt32 = 0

    /// Allocates an empty buffer.
    public init() { unsafe memory = .allocate(byteCount: StreamDeframer.size, alignment: 64) }

    deinit { unsafe memory.deallocate() }

    // SAFETY (whole type): 0 <= begin <= taken <= end <= size, and everything before `end` was written by `room`'s caller.

    /// What is next.
    private var claim: Int? {
        @_noLocks get {
            guard end &- taken >= StreamDeframer.headerLength else { return nil }
            return unsafe Int(nm_load32(memory + taken).byteSwapped)
        }
    }

    /// Whether a length can be that of a frame.
    @_noLocks
    private static func isPossible(_ length: Int) -> Bool {
        length > 0 && length <= maximumLength
    }

    /// A length that no frame can have, if that is what is next: what follows it means nothing any more.
    public var badLength: UInt32? {
        @_noLocks get {
            guard let claim, !StreamDeframer.isPossible(claim) else { return nil }
            return UInt32(truncatingIfNeeded: claim)
        }
    }

    /// Whether a whole frame waits that no batch has taken.
    public var hasNews: Bool {
        @_noLocks get {
            guard let claim, StreamDeframer.isPossible(claim) else { return false }
            return end &- taken &- StreamDeframer.headerLength >= claim
        }
    }

    /// Whether there is a part of a frame.
    public var hasPart: Bool { @_noLocks get { taken != end && !hasNews } }

    /// Where the next bytes go; only while nothing is handed out.
    @_noLocks
    public mutating func room() -> (address: UnsafeMutableRawPointer, size: Int) {
        if begin != 0, begin == taken {
            // Less than a frame, so that a read finds room for many.
            if end != begin {
                unsafe memory.copyMemory(from: memory + begin, byteCount: end &- begin)
            }
            end = end &- begin
            begin = 0
            taken = 0
        }
        return unsafe (memory + end, StreamDeframer.size &- end)
    }

    /// Notes that so many bytes were written at `room`.
    @_noLocks public mutating func add(_ count: Int) {
        end = min(StreamDeframer.size, end &+ count)
    }

    /// Hands out whole frames that no batch has taken yet; what can be no frame of a port is counted and left out.
    @_noLocks
    public mutating func collect(
        into batch: inout FrameBatch,
        counters: DirectionCounters,
        limit: Int
    ) {
        let start = batch.count
        var bytes = 0
        while batch.count &- start < limit, batch.count < FrameBatch.frameCapacity, hasNews,
            let length = claim
        {
            if length < 14 {
                counters.drop(.malformed)
            } else if length > FrameBatch.maximumFrameLength {
                counters.drop(.oversize)
            } else {
                let address = unsafe memory + taken + StreamDeframer.headerLength
                unsafe batch.frames[batch.count] = unsafe Frame(
                    address: address,
                    length: UInt32(truncatingIfNeeded: length)
                )
                batch.count = batch.count &+ 1
                bytes = bytes &+ length
            }
            taken = taken &+ StreamDeframer.headerLength &+ length
        }
        counters.count(packets: batch.count &- start, bytes: bytes)
    }

    /// Frees the frames that were handed out.
    @_noLocks
    public mutating func complete() {
        place = place &+ UInt32(truncatingIfNeeded: taken &- begin)
        begin = taken
    }

    /// Takes back what was handed out, to hand it out again.
    @_noLocks public mutating func forget() { taken = begin }
}
