// Frames that wait for their time, copied into memory that is made once.

/// Frames in a row, each with the time when it is due.
///
/// Whoever adds them says times that do not decrease.
@safe public struct FrameStore: ~Copyable {
    private struct Entry {
        var due: UInt64 = 0
        var start = 0
        var length = 0
    }

    private let bytes: UnsafeMutablePointer<UInt8>
    private let capacity: Int
    private var entries: [Entry]
    private var first = 0
    /// Frames that wait.
    public private(set) var count = 0
    private var end = 0

    /// Makes room for so many bytes and so many frames.
    public init(bytes capacity: Int, frames: Int) {
        precondition(capacity > 0 && frames > 0, "a store without room")
        self.capacity = capacity
        unsafe bytes = .allocate(capacity: capacity)
        entries = Array(repeating: Entry(), count: frames)
    }

    deinit { unsafe bytes.deallocate() }

    // SAFETY (whole type): a frame's bytes lie between `start` and `start + length`, within `capacity`, as
    // `place` has found, and in nobody else's.

    /// When the oldest is due.
    public var nextDue: UInt64? { count > 0 ? entries[first].due : nil }

    /// Whether a frame of that length has room now.
    public func hasRoom(for length: Int) -> Bool { place(for: length) != nil }

    /// Where a frame can lie in one piece: behind the newest, or again at the beginning.
    private func place(for length: Int) -> Int? {
        guard count < entries.count, length <= capacity else { return nil }
        if count == 0 { return 0 }
        let start = entries[first].start
        if end > start {
            if length <= capacity - end { return end }
            return length < start ? 0 : nil
        }
        return length < start - end ? end : nil
    }

    /// Adds a frame that `fill` writes.
    ///
    /// - Returns: false if there is no room; then `fill` was not called.
    public mutating func append(
        length: Int,
        due: UInt64,
        _ fill: (inout MutableSpan<UInt8>) -> Void
    ) -> Bool {
        guard let start = place(for: length) else { return false }
        var span = unsafe MutableSpan(_unsafeStart: bytes + start, count: length)
        fill(&span)
        var index = first &+ count
        if index >= entries.count { index = index &- entries.count }
        entries[index] = Entry(due: due, start: start, length: length)
        end = start + length
        count += 1
        return true
    }

    /// Hands out the oldest and forgets it if `body` says that it is done.
    ///
    /// - Returns: what `body` said; false if there is none.
    public mutating func take(_ body: (borrowing Span<UInt8>) -> Bool) -> Bool {
        guard count > 0 else { return false }
        let entry = entries[first]
        guard body(unsafe Span(_unsafeStart: bytes + entry.start, count: entry.length)) else {
            return false
        }
        first = first &+ 1 == entries.count ? 0 : first &+ 1
        count -= 1
        return true
    }
}
