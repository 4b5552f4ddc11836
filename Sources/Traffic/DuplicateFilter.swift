// Frames that came twice: a capture at both ends of a wire, a mirror of both directions.

internal import Glibc

/// Recognises frames that were seen a moment ago, byte for byte.
@safe public struct DuplicateFilter: ~Copyable {
    private struct Entry {
        var time: UInt64 = 0
        var hash: UInt64 = 0
        var length = -1
    }

    /// Nanoseconds for which a frame is remembered.
    public let window: UInt64
    /// The longest frame that is compared.
    public let longest: Int
    /// Frames that were new.
    public private(set) var fresh: UInt64 = 0
    /// Frames that had been seen.
    public private(set) var duplicates: UInt64 = 0
    private let bytes: UnsafeMutablePointer<UInt8>
    /// One more than are remembered: the frame that is being looked at.
    private var entries: [Entry]
    private var next = 0

    /// Remembers the last `frames` that are not older than `window`.
    public init(frames: Int, window: UInt64, longest: Int = 65_536) {
        precondition(frames > 0 && longest > 0, "a filter that remembers nothing")
        self.window = window
        self.longest = longest
        entries = Array(repeating: Entry(), count: frames + 1)
        unsafe bytes = .allocate(capacity: entries.count * longest)
    }

    deinit { unsafe bytes.deallocate() }

    /// Looks at a frame, which `fill` writes, that comes at `now`.
    ///
    /// - Returns: whether it is new; then it is remembered. One that is too long always is.
    public mutating func admits(
        length: Int,
        at now: UInt64,
        _ fill: (inout MutableSpan<UInt8>) -> Void
    ) -> Bool {
        guard length <= longest else {
            fresh += 1
            return true
        }
        // SAFETY: each entry has `longest` bytes, of which `length` are used and written.
        let place = unsafe bytes + next * longest
        var span = unsafe MutableSpan(_unsafeStart: place, count: length)
        fill(&span)
        let hash = unsafe Self.hash(place, length)
        for (index, entry) in entries.enumerated()
        where index != next && entry.hash == hash && entry.length == length
            && now &- entry.time <= window
        {
            // SAFETY: both have `length` bytes.
            if unsafe memcmp(bytes + index * longest, place, length) == 0 {
                duplicates += 1
                return false
            }
        }
        entries[next] = Entry(time: now, hash: hash, length: length)
        next = next + 1 == entries.count ? 0 : next + 1
        // What this place held is forgotten: the next frame is written over it.
        entries[next].length = -1
        fresh += 1
        return true
    }

    /// FNV-1a over words; what it confuses, the comparison tells apart.
    private static func hash(_ bytes: UnsafePointer<UInt8>, _ length: Int) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        var at = 0
        let start = unsafe UnsafeRawPointer(bytes)
        // SAFETY: `at` stays below `length`.
        while at &+ 8 <= length {
            hash =
                unsafe (hash ^ start.loadUnaligned(fromByteOffset: at, as: UInt64.self))
                &* 0x100_0000_01b3
            hash ^= hash &>> 32
            at = at &+ 8
        }
        while at < length {
            hash = unsafe (hash ^ UInt64(bytes[at])) &* 0x100_0000_01b3
            at = at &+ 1
        }
        return hash
    }
}
