// What a lossless port's senders have to remember of a queue that was full.

/// How far a receive queue reached when it had no room for a frame.
public struct Shortage: BitwiseCopyable, Sendable, Equatable {
    /// The entry that would have been filled next.
    public let position: UInt32
    /// The first entry that the guest had not made available.
    public let end: UInt32

    /// Nothing of any queue.
    @inlinable public init() {
        position = 0
        end = 0
    }

    /// What was seen of a queue.
    @_noLocks @inlinable public init(position: UInt32, end: UInt32) {
        self.position = position
        self.end = end
    }

    /// Whether there was no buffer at all, rather than too few for one frame.
    @inlinable public var isEmpty: Bool { @_noLocks get { position == end } }

    /// Whether the guest had made the same buffers available.
    @_noLocks @inlinable public func hasSameEnd(as other: Shortage) -> Bool { end == other.end }
}
