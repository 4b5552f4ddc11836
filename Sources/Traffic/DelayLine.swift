// The frames that are on an emulated link: those in order, and those that let others pass.

/// A link's model with the frames that are on it.
public struct DelayLine: ~Copyable {
    /// What became of a frame that was added.
    public enum Result: Sendable, Hashable {
        /// It is on its way.
        case isOnTheWay
        /// The model lost it, and counted it.
        case isGone
        /// There is no memory for it yet; nothing has happened to it.
        case mustWait
    }

    private var model: LinkModel
    private var ordered: FrameStore
    /// Each waits as long as the others here, so they keep their order among themselves.
    private var held: FrameStore

    /// What became of all frames.
    public var counts: LinkModel.Counts { model.counts }
    /// Frames that are under way.
    public var count: Int { ordered.count + held.count }
    /// When the next is due.
    public var nextDue: UInt64? {
        guard let one = ordered.nextDue else { return held.nextDue }
        guard let other = held.nextDue else { return one }
        return min(one, other)
    }

    /// Makes a link with room for so many bytes under way.
    public init(_ model: LinkModel, bytes: Int) {
        self.model = model
        // Small frames take 64 bytes each.
        ordered = FrameStore(bytes: bytes, frames: max(64, bytes / 64))
        let isHolding = model.settings.reordering.share > 0
        held = FrameStore(bytes: isHolding ? bytes : 1, frames: isHolding ? max(64, bytes / 64) : 1)
    }

    /// Adds a frame that comes at `now`; `fill` writes it if it is not lost.
    public mutating func add(
        length: Int,
        at now: UInt64,
        _ fill: (inout MutableSpan<UInt8>) -> Void
    ) -> Result {
        // The model must not count it before it is certain that there is memory for it.
        let isHolding = model.settings.reordering.share > 0
        guard ordered.hasRoom(for: length), !isHolding || held.hasRoom(for: length) else {
            return .mustWait
        }
        let isStored: Bool
        switch model.offer(length: length, at: now) {
        case .isLost, .findsNoRoom: return .isGone
        case .arrives(let due): isStored = ordered.append(length: length, due: due, fill)
        case .isHeld(let due): isStored = held.append(length: length, due: due, fill)
        }
        precondition(isStored, "there was room")
        return .isOnTheWay
    }

    /// Hands out a frame that is due at `now`, and forgets it if `body` says that it is done.
    ///
    /// - Returns: what `body` said; false if none is due.
    public mutating func take(
        at now: UInt64,
        _ body: (borrowing Span<UInt8>) -> Bool
    ) -> Bool {
        guard let due = nextDue, due <= now else { return false }
        return ordered.nextDue == due ? ordered.take(body) : held.take(body)
    }
}
