// Frames that a socket had no room for, each behind its length. No I/O here.

import CNetmap
public import Netmap

/// What waits to leave by a socket, in the order in which it came.
///
/// Owns the memory. Whoever holds the lock of the queue uses it.
@safe public struct OutputBacklog: ~Copyable {
    /// Bytes that may wait, lengths included: room for the longest frame a few times.
    @inlinable public static var capacity: Int { @_noLocks get { 1 << 18 } }
    @inlinable static var headerLength: Int { @_noLocks get { 4 } }

    // Twice the capacity, so that each byte is moved once at most.
    private let memory: UnsafeMutableRawPointer
    private var begin = 0
    private var end = 0
    /// Bytes of the oldest frame that have not left, its length included; 0: nothing of it has left.
    private var frontLeft = 0
    private var frontLength = 0
    /// How many frames wait, the one that has left in part included.
    public private(set) var frameCount = 0
    /// Bytes that have left, counted for ever.
    public private(set) var left: UInt32 = 0

    /// Allocates an empty backlog.
    public init() {
        unsafe memory = .allocate(byteCount: 2 * OutputBacklog.capacity, alignment: 64)
    }

    deinit { unsafe memory.deallocate() }

    // SAFETY (whole type): begin <= end <= 2 * capacity, end - begin <= capacity, and what lies between was written here.

    /// Whether nothing waits.
    public var isEmpty: Bool { @_noLocks get { begin == end } }
    /// How many bytes have room.
    public var room: Int { @_noLocks get { OutputBacklog.capacity &- (end &- begin) } }

    /// What waits, as one piece.
    @unsafe public var piece: Segment {
        @_noLocks get { unsafe Segment(address: memory + begin, length: end &- begin) }
    }

    /// The whole frame at `offset` of what waits, and where the next one is; nil at the end.
    @_noLocks
    func frame(at offset: Int) -> (frame: Segment, next: Int)? {
        guard offset < end &- begin else { return nil }
        let header = unsafe memory + begin + offset
        let length = unsafe Int(nm_load32(header).byteSwapped)
        return unsafe (
            Segment(address: header + OutputBacklog.headerLength, length: length),
            offset &+ OutputBacklog.headerLength &+ length
        )
    }

    /// Where `count` bytes can be written, which have room.
    @_noLocks
    private mutating func reserve(_ count: Int) -> UnsafeMutableRawPointer {
        if end &+ count > 2 &* OutputBacklog.capacity {
            unsafe memory.copyMemory(from: memory + begin, byteCount: end &- begin)
            end = end &- begin
            begin = 0
        }
        return unsafe memory + end
    }

    /// Adds frame `index` of a batch.
    ///
    /// - Returns: whether it had room.
    @_noLocks
    public mutating func add(_ batch: borrowing FrameBatch, _ index: Int) -> Bool {
        let length = unsafe Int(batch.frames[index].length)
        guard room >= OutputBacklog.headerLength &+ length else { return false }
        let to = unsafe reserve(OutputBacklog.headerLength &+ length)
        unsafe nm_store32(to, UInt32(truncatingIfNeeded: length).byteSwapped)
        unsafe batch.copy(index, from: 0, length: length, to: to + OutputBacklog.headerLength)
        end = end &+ OutputBacklog.headerLength &+ length
        frameCount = frameCount &+ 1
        return true
    }

    /// Adds whole frames that lie in pieces, lengths and all; they have room.
    @_noLocks
    mutating func add(pieces: UnsafePointer<Segment>, _ count: Int, frames: Int) {
        for k in 0..<count {
            let piece = unsafe pieces[k]
            let to = unsafe reserve(piece.length)
            // By nm_copy: the sender may cut its memory short.
            unsafe nm_copy(to, piece.address, piece.length)
            end = unsafe end &+ piece.length
        }
        frameCount = frameCount &+ frames
    }

    /// Adds one frame that lies in pieces, without its length; it has room.
    @_noLocks
    mutating func add(frameIn pieces: UnsafePointer<Segment>, _ count: Int) {
        var length = 0
        for k in 0..<count { length = unsafe length &+ pieces[k].length }
        let header = unsafe reserve(OutputBacklog.headerLength &+ length)
        unsafe nm_store32(header, UInt32(truncatingIfNeeded: length).byteSwapped)
        end = end &+ OutputBacklog.headerLength
        unsafe add(pieces: pieces, count, frames: 1)
    }

    /// Notes that so many bytes have left.
    ///
    /// - Returns: the frames that have left with them, and their bytes.
    @_noLocks
    public mutating func remove(_ count: Int) -> (frames: Int, bytes: Int) {
        var rest = min(count, end &- begin)
        var frames = 0
        var bytes = 0
        left = left &+ UInt32(truncatingIfNeeded: rest)
        while rest > 0 {
            if frontLeft == 0 {
                frontLength = unsafe Int(nm_load32(memory + begin).byteSwapped)
                frontLeft = OutputBacklog.headerLength &+ frontLength
            }
            let n = min(rest, frontLeft)
            begin = begin &+ n
            frontLeft = frontLeft &- n
            rest = rest &- n
            if frontLeft == 0 {
                frames = frames &+ 1
                bytes = bytes &+ frontLength
            }
        }
        frameCount = frameCount &- frames
        if begin == end {
            begin = 0
            end = 0
        }
        return (frames, bytes)
    }

    /// Throws everything away.
    ///
    /// - Returns: how many frames that were.
    @_noLocks
    public mutating func removeAll() -> Int {
        let count = frameCount
        left = left &+ UInt32(truncatingIfNeeded: end &- begin)
        begin = 0
        end = 0
        frontLeft = 0
        frameCount = 0
        return count
    }
}
