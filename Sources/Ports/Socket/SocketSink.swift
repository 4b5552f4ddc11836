// Frames that leave by a socket: many with one call, from where they lie. What the kernel has no room
// for waits in a backlog; what that has no room for is lost, or waits with its sender.

public import CNetmap
import Glibc
public import Netmap

/// Writes one socket.
///
/// Whoever holds the lock of the queue uses it.
@safe public struct SocketSink: ~Copyable {
    static var pieceCapacity: Int { @_noLocks get { 1024 } }
    static var arenaSize: Int { @_noLocks get { 1 << 14 } }

    let file: Int32
    /// Whether frames are datagrams, rather than bytes behind their lengths.
    let isDatagrams: Bool
    /// Whether an error is about the receiver as it is now, not about a datagram that came back.
    let isUnix: Bool
    /// To whom datagrams go; without a length if the socket knows.
    let to: UnsafeMutablePointer<nm_address>
    /// What stands before each frame in its datagram; never in the backlog.
    var framing: DatagramFraming
    var backlog = OutputBacklog()
    /// Frames that go with the next call: lengths and rewritten headers lie in `arena`, the rest at the sender.
    let pieces: UnsafeMutablePointer<Segment>
    let arena: UnsafeMutableRawPointer
    /// How many pieces each of them has; used for datagrams.
    let counts: UnsafeMutablePointer<UInt16>
    var pieceCount = 0
    private var arenaUsed = 0
    var pendingBytes = 0
    var pendingFrames = 0
    let counters: DirectionCounters
    /// Whether the peer reads no more; that the connection ends is found by the source.
    public internal(set) var isBroken = false
    /// What of the frames to all goes here; nil for all of them.
    private let filter: OutsideFilter?
    /// Whether the control plane waits for the kernel to have room.
    public var isWatched = false

    /// Writes to `file`, which outlives the sink.
    ///
    /// - Parameters:
    ///   - file: a socket.
    ///   - isDatagrams: whether each frame is a datagram.
    ///   - isUnix: whether it is a unix socket.
    ///   - to: where datagrams go; nil for whom the socket is connected to.
    ///   - framing: what stands before each frame in its datagram.
    ///   - filter: which frames to all go there; nil for all of them.
    ///   - counters: of the direction to the port.
    public init(
        file: Int32,
        isDatagrams: Bool = false,
        isUnix: Bool = false,
        to: nm_address? = nil,
        framing: DatagramFraming = .none,
        filter: OutsideFilter? = nil,
        counters: DirectionCounters
    ) {
        self.file = file
        self.isDatagrams = isDatagrams
        self.isUnix = isUnix
        self.framing = framing
        self.filter = filter
        self.counters = counters
        unsafe self.to = .allocate(capacity: 1)
        unsafe self.to.initialize(to: to ?? nm_address())
        unsafe pieces = .allocate(capacity: SocketSink.pieceCapacity)
        unsafe arena = .allocate(byteCount: SocketSink.arenaSize, alignment: 64)
        unsafe counts = .allocate(capacity: Int(NM_DATAGRAMS))
    }

    deinit {
        // They were never counted as sent.
        counters.drop(.noReader, backlog.frameCount)
        unsafe to.deallocate()
        unsafe pieces.deallocate()
        unsafe arena.deallocate()
        unsafe counts.deallocate()
    }

    // SAFETY (whole type): `pieceCount` and `arenaUsed` are kept below what was allocated by `push`; pieces name memory
    // of the batch that is delivered, which `send` has used up before `deliver` returns.

    /// Whether frames wait for room, and nobody has been told.
    public var needsAttention: Bool { @_noLocks get { !backlog.isEmpty && !isWatched } }

    /// How far the peer has come; what a lossless port's senders wait for.
    public var shortage: Shortage {
        @_noLocks get { Shortage(position: backlog.left, end: backlog.left) }
    }

    /// Whether an error says nothing about the next attempt.
    @_noLocks
    static func isPassing(_ code: Int32) -> Bool {
        code == EAGAIN || code == ENOBUFS || code == ENOMEM || code == EFAULT
    }

    /// Writes what waits, as far as there is room.
    ///
    /// - Returns: whether nothing waits any more.
    @_noLocks @discardableResult
    public mutating func flush() -> Bool {
        // Bounded, however fast the peer reads.
        for _ in 0..<4 where !backlog.isEmpty {
            if isDatagrams ? !flushDatagrams() : !flushBytes() { break }
        }
        return backlog.isEmpty
    }

    /// Writes the frames of `batch` that `list` names, in order; what has no room is dropped.
    public mutating func deliver(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ count: Int,
        finisher: inout OffloadFinisher
    ) {
        flush()
        for k in 0..<count {
            // SAFETY: `list` holds `count` indices below the batch's count.
            let index = unsafe Int(list[k])
            if isFiltered(batch, index) { continue }
            if unsafe !batch.frames[index].offload {
                if !push(batch, index, headers: 0) { counters.drop(.ringFull) }
                continue
            }
            guard finisher.begin(batch, index) else {
                counters.drop(.badOffload)
                continue
            }
            while finisher.finishNext(batch, index) {
                if !push(&finisher) { counters.drop(.ringFull) }
            }
        }
        send()
    }

    /// As `deliver`, but stops at the first frame that has no room; see `Virtqueue.deliverWhileRoom`.
    public mutating func deliverWhileRoom(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ count: Int,
        segments: inout Int,
        finisher: inout OffloadFinisher
    ) -> Int {
        flush()
        var done = 0
        loop: while done < count {
            let index = unsafe Int(list[done])
            if isFiltered(batch, index) {
                done += 1
                continue
            }
            if unsafe !batch.frames[index].offload {
                if !push(batch, index, headers: 0) { break loop }
            } else if finisher.begin(batch, index) {
                finisher.skip(segments)
                while finisher.finishNext(batch, index) {
                    if !push(&finisher) { break loop }
                    segments += 1
                }
            } else {
                counters.drop(.badOffload)
            }
            segments = 0
            done += 1
        }
        send()
        return done
    }

    /// Whether a frame is not for whoever is behind the socket; counted if so.
    @_noLocks
    private func isFiltered(_ batch: borrowing FrameBatch, _ index: Int) -> Bool {
        guard let filter, !filter.admits(batch, index) else { return false }
        counters.drop(.filtered)
        return true
    }

    /// Adds the frame that the finisher has just made.
    private mutating func push(_ finisher: inout OffloadFinisher) -> Bool {
        let frame = unsafe finisher.frame
        unsafe finisher.batch.frames[0] = unsafe frame
        return push(finisher.batch, 0, headers: unsafe Int(frame.headLength))
    }

    /// Adds a frame to what goes with the next call, or to the backlog.
    ///
    /// - Parameters:
    ///   - batch: where the frame is.
    ///   - index: which one.
    ///   - headers: how many of its first bytes do not stay where they are.
    /// - Returns: false if it has no room.
    @_noLocks
    private mutating func push(_ batch: borrowing FrameBatch, _ index: Int, headers: Int) -> Bool {
        let frame = unsafe batch.frames[index]
        let length = unsafe Int(frame.length)
        let extras = unsafe Int(frame.extraCount)
        let size = OutputBacklog.headerLength &+ length
        let prefix = isDatagrams ? framing.length : OutputBacklog.headerLength
        // All that goes with one call must have room in the backlog, for it may be left over.
        if pendingBytes &+ size > OutputBacklog.capacity
            || pieceCount &+ 3 &+ extras > SocketSink.pieceCapacity
            || arenaUsed &+ prefix &+ headers > SocketSink.arenaSize
            || (isDatagrams && pendingFrames == Int(NM_DATAGRAMS))
        {
            send()
        }
        if isBroken {
            counters.drop(.noReader)
            return true
        }
        if !backlog.isEmpty || 3 &+ extras > SocketSink.pieceCapacity {
            return backlog.add(batch, index)
        }
        let before = pieceCount
        let own = unsafe arena + arenaUsed
        var begun = 0
        if !isDatagrams {
            unsafe nm_store32(own, UInt32(truncatingIfNeeded: length).byteSwapped)
        } else if prefix != 0 {
            // A piece of its own, because it does not go to the backlog.
            unsafe framing.encode(to: own)
            unsafe add(own, prefix)
            begun = prefix
        }
        if headers != 0 { unsafe nm_copy(own + prefix, frame.address, headers) }
        let used = prefix &+ headers
        if used != begun { unsafe add(own + begun, used &- begun) }
        arenaUsed = (arenaUsed &+ used &+ 3) & ~3
        let rest = unsafe Int(frame.headLength) &- headers
        if rest > 0 { unsafe add(frame.address + headers, rest) }
        for k in 0..<extras {
            let piece = unsafe batch.segments[Int(frame.firstExtra) &+ k]
            unsafe add(piece.address, piece.length)
        }
        if isDatagrams {
            unsafe counts[pendingFrames] = UInt16(truncatingIfNeeded: pieceCount &- before)
        }
        pendingBytes = pendingBytes &+ size
        pendingFrames = pendingFrames &+ 1
        return true
    }

    @_noLocks
    private mutating func add(_ address: UnsafeMutableRawPointer, _ length: Int) {
        unsafe pieces[pieceCount] = unsafe Segment(address: address, length: length)
        pieceCount = pieceCount &+ 1
    }

    /// Writes what `push` has gathered; what the kernel has no room for is copied to the backlog.
    @_noLocks
    private mutating func send() {
        guard pendingFrames != 0 else { return }
        if isDatagrams { sendDatagrams() } else { sendBytes() }
        pieceCount = 0
        arenaUsed = 0
        pendingBytes = 0
        pendingFrames = 0
    }
}
