// Frames that were read from a descriptor and wait to be forwarded. They lie one behind the other, so
// that a batch of small ones takes few cache lines however large the largest may be.

public import Netmap

/// Memory for up to a batch of frames, in the order in which they came.
///
/// Owns the memory. Used by the one worker that serves the queue.
@safe public struct Inbox: ~Copyable {
    /// Bytes that the inbox holds; the largest frame fits a few times.
    public static var size: Int { 1 << 20 }

    @unsafe private struct Entry: BitwiseCopyable {
        var address: UnsafeMutableRawPointer
        var length: UInt32
        var offload: RawOffload
    }

    private let memory: UnsafeMutableRawPointer
    private let entries: UnsafeMutablePointer<Entry>
    /// The oldest frame; those before it are through.
    private var first = 0
    /// How far a batch has taken them.
    private var taken = 0
    /// How many frames there have been since the inbox was last empty.
    private var count = 0
    /// Where the next frame goes.
    private var used = 0
    /// How many frames are through, counted for ever.
    public private(set) var place: UInt32 = 0

    /// Allocates an empty inbox.
    public init() {
        unsafe memory = .allocate(byteCount: Inbox.size, alignment: 64)
        unsafe entries = .allocate(capacity: FrameBatch.frameCapacity)
        // SAFETY: trivial type, and no reader comes to an entry that `add` has not written.
        unsafe UnsafeMutableRawPointer(entries).initializeMemory(
            as: UInt8.self,
            repeating: 0,
            count: FrameBatch.frameCapacity * MemoryLayout<Entry>.stride
        )
    }

    deinit {
        unsafe memory.deallocate()
        unsafe entries.deallocate()
    }

    /// Whether a frame waits that no batch has taken.
    @inlinable public var hasNews: Bool { @_noLocks get { isPending } }
    @usableFromInline var isPending: Bool { @_noLocks get { taken < count } }

    /// Where a frame of at most `length` bytes can be written, or nil while the inbox is full.
    @_noLocks
    public func room(for length: Int) -> UnsafeMutableRawPointer? {
        guard count < FrameBatch.frameCapacity, Inbox.size &- used >= length else { return nil }
        // SAFETY: `used` is below the size, and `length` bytes follow it.
        return unsafe memory + used
    }

    /// Keeps what was written at `room`: `skipped` bytes that are not the frame's, then the frame.
    @_noLocks
    public mutating func add(_ length: Int, skipped: Int = 0, offload: RawOffload = .none) {
        // SAFETY: the caller wrote into `room(for:)`, which promised the entry and the bytes.
        unsafe entries[count] = unsafe Entry(
            address: memory + used + skipped,
            length: UInt32(truncatingIfNeeded: length),
            offload: offload
        )
        count = count &+ 1
        // A frame begins on a cache line: one that two share would be loaded by two receivers.
        used = min(Inbox.size, (used &+ skipped &+ length &+ 63) & ~63)
    }

    /// Hands out frames that no batch has taken yet.
    @_noLocks
    public mutating func collect(
        into batch: inout FrameBatch,
        counters: DirectionCounters,
        limit: Int
    ) {
        var bytes = 0
        var offloaded = 0
        let begin = taken
        while taken < count, taken &- begin < limit, batch.count < FrameBatch.frameCapacity {
            // SAFETY: below `count`, so written by `add`; the batch has room.
            let entry = unsafe entries[taken]
            var frame = unsafe Frame(address: entry.address, length: entry.length)
            if unsafe entry.offload.isRequest {
                unsafe frame.offload = true
                unsafe batch.headers[batch.count] = unsafe entry.offload
                offloaded = offloaded &+ 1
            }
            unsafe batch.frames[batch.count] = unsafe frame
            batch.count = batch.count &+ 1
            bytes = unsafe bytes &+ Int(entry.length)
            taken = taken &+ 1
        }
        counters.count(packets: taken &- begin, bytes: bytes, offloaded: offloaded)
    }

    /// Frees the frames that were handed out.
    @_noLocks
    public mutating func complete() {
        place = place &+ UInt32(truncatingIfNeeded: taken &- first)
        first = taken
        guard first == count else { return }
        first = 0
        taken = 0
        count = 0
        used = 0
    }

    /// Takes back what was handed out, to hand it out again.
    @_noLocks
    public mutating func forget() { taken = first }
}
