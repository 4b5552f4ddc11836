// A capture file as a sender: its frames go when their time has come, in batches of what is due.

import CNetmap
import Glibc
public import Netmap

/// When the frames of a replay go.
public enum ReplayPace: Sendable, Hashable {
    /// As far apart as they were.
    case original
    /// As many bits a second, of the frames as they are in the file.
    case bits(UInt64)
    /// As many frames a second.
    case packets(UInt64)
    /// As fast as they can be forwarded.
    case unlimited
}

/// What the control thread and a replaying worker tell each other.
///
/// Owns four words, which the replay's port keeps until its source is gone.
@safe public final class ReplayWords {
    let words: UnsafeMutablePointer<UInt64>

    /// Makes words of a replay that begins at once, or waits.
    public init(isRunning: Bool) {
        unsafe words = .allocate(capacity: 8)
        unsafe words.initialize(repeating: 0, count: 8)
        self.isRunning = isRunning
    }

    deinit { unsafe words.deallocate() }

    /// Frames that have gone since the replay began.
    public var sent: UInt64 { unsafe nm_load64(words) }
    /// Passes that are over.
    public var passes: UInt64 { unsafe nm_load64(words + 1) }
    /// Whether frames go.
    public var isRunning: Bool {
        get { unsafe nm_load64(words + 2) != 0 }
        set { unsafe nm_store64_release(words + 2, newValue ? 1 : 0) }
    }

    /// Has it begin again with the first frame.
    public func rewind() { unsafe nm_store64_release(words + 3, nm_load64(words + 3) + 1) }
}

/// Sends the frames of a capture file, which lie where the file was read.
///
/// One worker serves it.
@safe public struct ReplaySource: ~Copyable {
    /// The next frame.
    private struct Cursor: BitwiseCopyable {
        var index = 0
        var pass: UInt64 = 0
        /// When it goes.
        var due: UInt64 = 0
        /// When the first frame of the pass went.
        var begin: UInt64 = 0
        /// What was left of the last division by the rate.
        var rest: UInt64 = 0
    }

    // Kept for their memory; workers use the addresses.
    private let owners: (ReplayFile, ReplayWords)
    private let entries: UnsafeMutablePointer<ReplayFile.Entry>
    private let count: Int
    private let span: UInt64
    private let words: UnsafeMutablePointer<UInt64>
    private let timer: Int32
    private let passes: UInt64
    private let oversized: Int
    /// 0 original, 1 bits, 2 frames, 3 at once.
    private let mode: UInt8
    private let rate: UInt64
    private var cursor = Cursor()
    /// Where the frames end that are through.
    private var through = Cursor()
    private var starts: UInt64 = 0
    private var hasBegun = false
    /// How many frames were collected and are not through.
    private var taken = 0
    /// After `forgetCollected`: how many may be collected again, whatever the time is.
    private var offered = 0
    private var isAgain = false
    private var sent: UInt64 = 0
    /// How many frames are through.
    public private(set) var place: UInt32 = 0

    /// A replay that is later than this, in nanoseconds, does not hurry: it goes on from now.
    private static var patience: UInt64 { @_noLocks get { 100_000_000 } }

    /// Makes a source.
    ///
    /// - Parameters:
    ///   - file: the frames.
    ///   - pace: when they go.
    ///   - passes: how often all of them go; 0 for ever.
    ///   - words: shared with the control thread.
    ///   - timer: of `nm_timer`, which wakes the worker and outlives the source.
    public init(
        _ file: ReplayFile,
        pace: ReplayPace,
        passes: Int,
        words: ReplayWords,
        timer: Int32
    ) {
        owners = (file, words)
        unsafe entries = unsafe file.entries
        count = file.count
        span = file.span
        unsafe self.words = unsafe words.words
        self.timer = timer
        self.passes = UInt64(passes)
        oversized = file.oversized
        switch pace {
        case .original: (mode, rate) = (0, 1)
        case .bits(let bits): (mode, rate) = (1, max(1, bits))
        case .packets(let packets): (mode, rate) = (2, max(1, packets))
        case .unlimited: (mode, rate) = (3, 1)
        }
    }

    // SAFETY (whole type): entries and words are those of `owners`; an index is below `count`.

    private var isOver: Bool { @_noLocks get { passes != 0 && cursor.pass >= passes } }

    /// Whether there is anything to send, now or later.
    @_noLocks
    private mutating func isActive() -> Bool {
        guard unsafe nm_load64_acquire(words + 2) != 0 else { return false }
        let wanted = unsafe nm_load64_acquire(words + 3)
        if wanted != starts {
            starts = wanted
            cursor = Cursor()
            through = cursor
            hasBegun = false
            sent = 0
            unsafe nm_store64(words, 0)
            unsafe nm_store64(words + 1, 0)
        }
        return !isOver
    }

    /// Takes the frames that are due, at most `limit`.
    @_noLocks
    public mutating func collect(
        into batch: inout FrameBatch,
        counters: DirectionCounters,
        limit: Int
    ) {
        guard isActive() else { return }
        var now = nm_monotonic_ns()
        var most = limit
        if isAgain {
            now = .max
            most = min(limit, offered)
        } else if !hasBegun || cursor.due &+ ReplaySource.patience < now {
            hasBegun = true
            cursor.begin = now &- (cursor.due &- cursor.begin)
            cursor.due = now
            through = cursor
        }
        var bytes = 0
        while taken < most, batch.count < FrameBatch.frameCapacity, !isOver, cursor.due <= now {
            let entry = unsafe entries[cursor.index]
            unsafe batch.frames[batch.count] = unsafe Frame(
                address: entry.address,
                length: entry.length
            )
            batch.count = batch.count &+ 1
            bytes = unsafe bytes &+ Int(entry.length)
            taken = taken &+ 1
            unsafe advance(entry.length)
        }
        offered = taken
        counters.count(packets: taken, bytes: bytes)
        // Those that no port takes are lost once a pass.
        if oversized != 0, cursor.pass != through.pass {
            counters.drop(.oversize, oversized &* Int(cursor.pass &- through.pass))
        }
    }

    /// Goes to the frame behind one of `length` bytes.
    @_noLocks
    private mutating func advance(_ length: UInt32) {
        cursor.index = cursor.index &+ 1
        if cursor.index == count {
            cursor.index = 0
            cursor.pass = cursor.pass &+ 1
            if mode == 0 { cursor.begin = cursor.begin &+ span }
        }
        if mode == 0 {
            cursor.due = unsafe cursor.begin &+ entries[cursor.index].time
        } else if mode != 3 {
            let units = mode == 1 ? UInt64(length) &* 8 : 1
            let nanoseconds = cursor.rest &+ units &* 1_000_000_000
            cursor.due = cursor.due &+ nanoseconds / rate
            cursor.rest = nanoseconds % rate
        }
    }

    /// Frees the frames that were collected.
    @_noLocks
    public mutating func completeCollected() {
        place = place &+ UInt32(truncatingIfNeeded: taken)
        sent = sent &+ UInt64(truncatingIfNeeded: taken)
        taken = 0
        isAgain = false
        through = cursor
        unsafe nm_store64(words, sent)
        unsafe nm_store64(words + 1, cursor.pass)
    }

    /// Leaves what was collected, to be collected again.
    @_noLocks
    public mutating func forgetCollected() {
        cursor = through
        taken = 0
        isAgain = true
    }

    /// Sets the timer to the next frame's time.
    ///
    /// - Returns: whether that is now.
    @_noLocks
    public mutating func arm() -> Bool {
        guard isActive() else { return false }
        if !hasBegun || cursor.due <= nm_monotonic_ns() { return true }
        _ = nm_timer_set(timer, cursor.due)
        return false
    }
}
