// Looking at a ring costs its cache lines. A worker with hundreds of sources, most of which say
// nothing, looks at those less often.

/// How long each of a worker's sources has been quiet.
///
/// Owns its memory. By place in the worker's list: what is known of a place may be of a source that
/// was there before, or of one 1024 places away, which costs a few turns and nothing else.
@safe struct QuietSources: ~Copyable {
    private struct Entry: BitwiseCopyable {
        /// Turns without work, one after the other.
        var streak: UInt8 = 0
        /// Turns to leave out.
        var rest: UInt8 = 0
    }

    private let entries: UnsafeMutablePointer<Entry>
    private static let capacity = 1024
    /// So many turns without work make a source quiet.
    private static let patience: UInt8 = 64
    /// Of a quiet source at least so many turns are left out: at 64 frames a turn, some 20 microseconds.
    private static let pause: UInt8 = 6

    init() {
        unsafe entries = .allocate(capacity: QuietSources.capacity)
        unsafe entries.initialize(repeating: Entry(), count: QuietSources.capacity)
    }

    deinit { unsafe entries.deallocate() }

    /// Whether the source at `index` is looked at in this turn.
    @_noLocks
    mutating func isDue(_ index: Int) -> Bool {
        // SAFETY: masked, so below the capacity.
        let entry = unsafe entries + (index & (QuietSources.capacity &- 1))
        if unsafe entry.pointee.rest == 0 { return true }
        unsafe entry.pointee.rest &-= 1
        return false
    }

    /// Notes whether it had work.
    @_noLocks
    mutating func note(_ index: Int, _ hadWork: Bool) {
        // SAFETY: as in `isDue`.
        let entry = unsafe entries + (index & (QuietSources.capacity &- 1))
        if hadWork {
            unsafe entry.pointee.streak = 0
        } else if unsafe entry.pointee.streak < QuietSources.patience {
            unsafe entry.pointee.streak &+= 1
        } else {
            // Not all in the same turn.
            unsafe entry.pointee.rest =
                QuietSources.pause &+ UInt8(truncatingIfNeeded: index & 3)
        }
    }
}
