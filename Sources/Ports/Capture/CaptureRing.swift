// The way of a captured frame from a worker to the thread that writes it: a ring of bytes in memory. A
// worker copies a frame or counts that there was no room; it never waits for the file.

import CNetmap
public import Netmap

/// What is known of a frame that is shown to a capture.
public struct FrameSight: BitwiseCopyable, Sendable {
    /// Nanoseconds since the epoch.
    public var time: UInt64
    /// Into the switch, or out of it.
    public var isInbound: Bool
    /// The index of a `DropReason`, or `delivered`.
    public var reason: UInt8
    /// How many of the frames that it was cut into were dropped.
    public var lostParts: UInt32

    /// The `reason` of a frame that was not dropped.
    @inlinable public static var delivered: UInt8 { @_noLocks get { 0xff } }

    /// Describes a frame.
    @_noLocks
    public init(time: UInt64, isInbound: Bool, reason: UInt8 = 0xff, lostParts: UInt32 = 0) {
        self.time = time
        self.isInbound = isInbound
        self.reason = reason
        self.lostParts = lostParts
    }
}

/// A bounded ring of captured frames: any worker adds, one thread takes.
///
/// A handle: `make` allocates what it names, `free` frees it when no worker can use it any more. Workers
/// exclude each other by a lock that is held for one copy, and that the reading thread never takes.
@safe public struct CaptureRing: BitwiseCopyable {
    /// What stands before each frame; a multiple of eight bytes.
    @unsafe struct Header: BitwiseCopyable {
        /// Bytes of header, frame and padding.
        var size: UInt32
        var interface: UInt16
        var isInbound: Bool
        var reason: UInt8
        var captured: UInt32
        var length: UInt32
        var time: UInt64
        var lostParts: UInt32
        var unused: UInt32 = 0
    }

    /// The interface of what only fills the ring up to its end.
    static var padding: UInt16 { @_noLocks get { 0xffff } }
    /// How many interfaces a capture can have.
    public static var interfaceCapacity: Int { @_noLocks get { 1024 } }

    // Places of the shared words; those with different writers are cache lines apart.
    private static var headWord: Int { @_noLocks get { 0 } }
    private static var tailWord: Int { @_noLocks get { 8 } }
    private static var lockWord: Int { @_noLocks get { 16 } }
    private static var lastTimeWord: Int { @_noLocks get { 17 } }
    private static var sleepWord: Int { @_noLocks get { 24 } }
    private static var closedWord: Int { @_noLocks get { 32 } }
    private static var countWord: Int { @_noLocks get { 40 } }
    private static var counts: Int { @_noLocks get { 3 } }

    private let memory: UnsafeMutableRawPointer
    private let words: UnsafeMutablePointer<UInt64>
    /// A frame in one piece, for the filter.
    private let whole: UnsafeMutableRawPointer
    private let size: Int
    private let snapLength: Int
    /// What decides whether a frame is taken; set before workers get the ring.
    public var filter: FilterProgram?

    /// Allocates an empty ring.
    ///
    /// - Parameters:
    ///   - wanted: bytes; rounded up to a power of two that holds a few of the longest frames.
    ///   - snapLength: the most bytes of a frame that are kept.
    /// - Returns: the ring.
    public static func make(size wanted: Int, snapLength: Int) -> CaptureRing {
        var size = 1 << 18
        while size < wanted { size *= 2 }
        let wordCount = countWord + counts * interfaceCapacity
        let words = UnsafeMutablePointer<UInt64>.allocate(capacity: wordCount)
        unsafe words.initialize(repeating: 0, count: wordCount)
        return unsafe CaptureRing(
            memory: .allocate(byteCount: size, alignment: 64),
            words: words,
            whole: .allocate(byteCount: FrameBatch.maximumFrameLength, alignment: 64),
            size: size,
            snapLength: min(snapLength, FrameBatch.maximumFrameLength)
        )
    }

    private init(
        memory: UnsafeMutableRawPointer,
        words: UnsafeMutablePointer<UInt64>,
        whole: UnsafeMutableRawPointer,
        size: Int,
        snapLength: Int
    ) {
        unsafe self.memory = unsafe memory
        unsafe self.words = unsafe words
        unsafe self.whole = unsafe whole
        self.size = size
        self.snapLength = snapLength
        filter = nil
    }

    /// Frees the ring and its filter.
    public func free() {
        filter?.free()
        unsafe memory.deallocate()
        unsafe words.deallocate()
        unsafe whole.deallocate()
    }

    // SAFETY (whole type): `head` and `tail` run free; what is between them belongs to the reader, the rest,
    // at most `size` bytes, to who holds the lock. A record lies in one piece, because the end of the
    // ring is filled up before it where it would not.

    /// What became of a frame.
    public enum Outcome: UInt8 {
        /// It is in the ring.
        case taken
        /// It is in the ring, and the reader has to be woken.
        case takenWake
        /// The filter does not want it, or the capture is over.
        case unwanted
        /// There was no room, which was counted.
        case lost
    }

    /// Copies a frame into the ring.
    ///
    /// - Parameters:
    ///   - batch: where the frame is.
    ///   - index: which frame.
    ///   - interface: the place of its port in the capture, below `interfaceCapacity`.
    ///   - sight: what is known of it.
    /// - Returns: what became of it.
    @_noLocks
    public func add(
        _ batch: borrowing FrameBatch,
        _ index: Int,
        interface: UInt16,
        _ sight: FrameSight
    ) -> Outcome {
        if unsafe nm_load32(words + CaptureRing.closedWord) != 0 { return .unwanted }
        let lock = unsafe UnsafeMutableRawPointer(words + CaptureRing.lockWord)
            .assumingMemoryBound(to: UInt32.self)
        while unsafe nm_try_lock(lock) == 0 { nm_pause() }
        let outcome = addLocked(batch, index, interface, sight)
        unsafe nm_unlock(lock)
        guard case .taken = outcome else { return outcome }
        // Either we see that the reader sleeps, or it sees the frame before it does.
        nm_fence()
        guard unsafe nm_load32(words + CaptureRing.sleepWord) != 0 else { return .taken }
        unsafe nm_store32(words + CaptureRing.sleepWord, 0)
        return .takenWake
    }

    @_noLocks
    private func addLocked(
        _ batch: borrowing FrameBatch,
        _ index: Int,
        _ interface: UInt16,
        _ sight: FrameSight
    ) -> Outcome {
        let counts =
            unsafe words + (CaptureRing.countWord &+ Int(interface) &* CaptureRing.counts)
        unsafe nm_count(counts, 1)
        let length = unsafe Int(batch.frames[index].length)
        if let filter, !wants(filter, batch, index, length) {
            return .unwanted
        }
        unsafe nm_count(counts + 1, 1)
        let captured = min(length, snapLength)
        let need = unsafe MemoryLayout<Header>.size &+ (captured &+ 7) & ~7
        let head = unsafe nm_load64(words + CaptureRing.headWord)
        let tail = unsafe nm_load64_acquire(words + CaptureRing.tailWord)
        let used = Int(truncatingIfNeeded: head &- tail)
        var place = Int(truncatingIfNeeded: head) & (size &- 1)
        let left = size &- place
        let skipped = left < need ? left : 0
        guard used &+ skipped &+ need <= size else {
            unsafe nm_count(counts + 2, 1)
            return .lost
        }
        if skipped != 0 {
            unsafe nm_store64(
                memory + place,
                UInt64(skipped) | UInt64(CaptureRing.padding) &<< 32
            )
            place = 0
        }
        let last = unsafe max(sight.time, words[CaptureRing.lastTimeWord])
        unsafe words[CaptureRing.lastTimeWord] = last
        let header = unsafe Header(
            size: UInt32(truncatingIfNeeded: need),
            interface: interface,
            isInbound: sight.isInbound,
            reason: sight.reason,
            captured: UInt32(truncatingIfNeeded: captured),
            length: UInt32(truncatingIfNeeded: length),
            time: last,
            lostParts: sight.lostParts
        )
        unsafe (memory + place).storeBytes(of: header, as: Header.self)
        unsafe batch.copy(
            index,
            from: 0,
            length: captured,
            to: memory + place + MemoryLayout<Header>.size
        )
        unsafe nm_store64_release(
            words + CaptureRing.headWord,
            head &+ UInt64(skipped &+ need)
        )
        return .taken
    }

    @_noLocks
    private func wants(
        _ filter: FilterProgram,
        _ batch: borrowing FrameBatch,
        _ index: Int,
        _ length: Int
    ) -> Bool {
        let frame = unsafe batch.frames[index]
        if unsafe Int(frame.headLength) == length {
            return unsafe filter.run(frame.address, length: length, wireLength: length) != 0
        }
        let n = min(length, FrameBatch.maximumFrameLength)
        unsafe batch.copy(index, from: 0, length: n, to: whole)
        return unsafe filter.run(whole, length: n, wireLength: length) != 0
    }

    // MARK: The reader

    /// The oldest record, or nil when there is none; valid until `release`.
    func first() -> UnsafeRawPointer? {
        while true {
            let tail = unsafe nm_load64(words + CaptureRing.tailWord)
            if unsafe nm_load64_acquire(words + CaptureRing.headWord) == tail { return nil }
            let record = unsafe memory + Int(truncatingIfNeeded: tail) & (size - 1)
            let word = unsafe nm_load64(record)
            guard UInt16(truncatingIfNeeded: word >> 32) == CaptureRing.padding else {
                return UnsafeRawPointer(record)
            }
            release(Int(UInt32(truncatingIfNeeded: word)))
        }
    }

    /// Gives the memory of the oldest record back.
    func release(_ bytes: Int) {
        let tail = unsafe nm_load64(words + CaptureRing.tailWord)
        unsafe nm_store64_release(words + CaptureRing.tailWord, tail &+ UInt64(bytes))
    }

    /// Asks to be woken by the next frame.
    ///
    /// - Returns: whether there is one already.
    func arm() -> Bool {
        unsafe nm_store32(words + CaptureRing.sleepWord, 1)
        nm_fence()
        return unsafe first() != nil
    }

    /// Ends `arm`.
    func disarm() { unsafe nm_store32(words + CaptureRing.sleepWord, 0) }

    /// Takes no more frames.
    func close() { unsafe nm_store32(words + CaptureRing.closedWord, 1) }

    /// What was counted at an interface, or at all.
    public func counts(of interface: Int? = nil) -> CaptureCounts {
        var sum = CaptureCounts()
        for number in interface.map({ $0..<$0 + 1 }) ?? 0..<CaptureRing.interfaceCapacity {
            let counts = unsafe words + CaptureRing.countWord + number * CaptureRing.counts
            sum.received += unsafe nm_load64(counts)
            sum.accepted += unsafe nm_load64(counts + 1)
            sum.lost += unsafe nm_load64(counts + 2)
        }
        return sum
    }
}

/// Counters of a capture.
public struct CaptureCounts: Sendable, Hashable {
    /// Frames that were shown to it.
    public var received: UInt64 = 0
    /// Frames among them that its filter wants.
    public var accepted: UInt64 = 0
    /// Frames among these for which its ring had no room.
    public var lost: UInt64 = 0
}
