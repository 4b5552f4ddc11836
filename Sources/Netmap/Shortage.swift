// What a lossless port's senders have to remember of a queue that was full.

/// Places on a ring: an index, and for packed virtqueues the wrap counter in bit 16.
public typealias RingPosition = UInt32

/// How far a receive queue reached when it had no room for a frame.
public struct Shortage: BitwiseCopyable, Sendable, Equatable {
    /// The entry that would have been filled next.
    @usableFromInline var position: RingPosition
    /// The first entry that the guest had not made available.
    @usableFromInline var end: RingPosition

    /// Nothing of any queue.
    @inlinable public init() {
        position = 0
        end = 0
    }

    /// What was seen of a queue.
    @_noLocks @inlinable public init(position: RingPosition, end: RingPosition) {
        self.position = position
        self.end = end
    }

    /// Whether there was no buffer at all, rather than too few for one frame.
    @inlinable public var isEmpty: Bool { @_noLocks get { position == end } }

    /// Whether the guest had made the same buffers available.
    @_noLocks @inlinable public func hasSameEnd(as other: Shortage) -> Bool { end == other.end }
}
