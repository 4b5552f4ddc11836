// The closed set of queues whose other end is a descriptor of this host. Which kind a queue is, is looked
// up once per batch, here; what is called then was compiled for it.

public import Netmap

/// An address, and in its lowest four bits what is there; 0 to 3 are not of this set.
///
/// A handle: `make` allocates what it names, `free` frees it when no worker can use it any more.
@unsafe public struct HostQueue: BitwiseCopyable {
    /// The bits that say the kind.
    @inlinable public static var kindMask: UInt64 { @_noLocks get { 15 } }
    /// The first kind of this set.
    @inlinable public static var firstKind: UInt64 { @_noLocks get { 4 } }
    private static var inboxSourceKind: UInt64 { @_noLocks get { 4 } }
    private static var tapSinkKind: UInt64 { @_noLocks get { 5 } }
    private static var streamSourceKind: UInt64 { @_noLocks get { 6 } }
    private static var datagramSourceKind: UInt64 { @_noLocks get { 7 } }
    private static var socketSinkKind: UInt64 { @_noLocks get { 8 } }
    private static var replaySourceKind: UInt64 { @_noLocks get { 9 } }
    private static var captureSinkKind: UInt64 { @_noLocks get { 10 } }
    private static var packetSourceKind: UInt64 { @_noLocks get { 11 } }
    private static var packetSinkKind: UInt64 { @_noLocks get { 12 } }
    private static var xdpSourceKind: UInt64 { @_noLocks get { 13 } }
    private static var xdpSinkKind: UInt64 { @_noLocks get { 14 } }

    /// The address and the kind.
    public let word: UInt64

    /// Names a queue by the word that `make` gave.
    @_noLocks @inlinable public init(word: UInt64) { unsafe self.word = word }

    // SAFETY (whole type): `word` was made by `make`, and its owner frees it only when nobody can have
    // loaded it any more.

    var inboxSource: UnsafeMutablePointer<InboxSource>? {
        @_noLocks get { unsafe pointer(HostQueue.inboxSourceKind) }
    }
    var tapSink: UnsafeMutablePointer<TapSink>? {
        @_noLocks get { unsafe pointer(HostQueue.tapSinkKind) }
    }
    var streamSource: UnsafeMutablePointer<StreamSource>? {
        @_noLocks get { unsafe pointer(HostQueue.streamSourceKind) }
    }
    var datagramSource: UnsafeMutablePointer<DatagramSource>? {
        @_noLocks get { unsafe pointer(HostQueue.datagramSourceKind) }
    }
    var socketSink: UnsafeMutablePointer<SocketSink>? {
        @_noLocks get { unsafe pointer(HostQueue.socketSinkKind) }
    }
    var replaySource: UnsafeMutablePointer<ReplaySource>? {
        @_noLocks get { unsafe pointer(HostQueue.replaySourceKind) }
    }
    var captureSink: UnsafeMutablePointer<CaptureSink>? {
        @_noLocks get { unsafe pointer(HostQueue.captureSinkKind) }
    }
    var packetSource: UnsafeMutablePointer<PacketSource>? {
        @_noLocks get { unsafe pointer(HostQueue.packetSourceKind) }
    }
    var packetSink: UnsafeMutablePointer<PacketSink>? {
        @_noLocks get { unsafe pointer(HostQueue.packetSinkKind) }
    }
    var xdpSource: UnsafeMutablePointer<XDPSource>? {
        @_noLocks get { unsafe pointer(HostQueue.xdpSourceKind) }
    }
    var xdpSink: UnsafeMutablePointer<XDPSink>? {
        @_noLocks get { unsafe pointer(HostQueue.xdpSinkKind) }
    }

    @_noLocks
    func pointer<Queue: ~Copyable>(_ kind: UInt64) -> UnsafeMutablePointer<Queue>? {
        unsafe word & HostQueue.kindMask == kind
            ? UnsafeMutablePointer(bitPattern: UInt(word & ~HostQueue.kindMask)) : nil
    }

    /// What reads from a descriptor.
    public static func make(_ source: consuming InboxSource) -> HostQueue {
        unsafe make(source, inboxSourceKind)
    }

    /// What writes to a tap interface.
    public static func make(_ sink: consuming TapSink) -> HostQueue {
        unsafe make(sink, tapSinkKind)
    }

    /// What reads a connection.
    public static func make(_ source: consuming StreamSource) -> HostQueue {
        unsafe make(source, streamSourceKind)
    }

    /// What reads datagrams.
    public static func make(_ source: consuming DatagramSource) -> HostQueue {
        unsafe make(source, datagramSourceKind)
    }

    /// What writes to a socket.
    public static func make(_ sink: consuming SocketSink) -> HostQueue {
        unsafe make(sink, socketSinkKind)
    }

    /// What sends the frames of a capture file.
    public static func make(_ source: consuming ReplaySource) -> HostQueue {
        unsafe make(source, replaySourceKind)
    }

    /// What keeps frames in a capture file, or counts them.
    public static func make(_ sink: consuming CaptureSink) -> HostQueue {
        unsafe make(sink, captureSinkKind)
    }

    /// What comes from a packet socket.
    public static func make(_ source: consuming PacketSource) -> HostQueue {
        unsafe make(source, packetSourceKind)
    }

    /// What goes to a packet socket.
    public static func make(_ sink: consuming PacketSink) -> HostQueue {
        unsafe make(sink, packetSinkKind)
    }

    /// What comes from an AF_XDP socket.
    public static func make(_ source: consuming XDPSource) -> HostQueue {
        unsafe make(source, xdpSourceKind)
    }

    /// What goes to an AF_XDP socket.
    public static func make(_ sink: consuming XDPSink) -> HostQueue {
        unsafe make(sink, xdpSinkKind)
    }

    private static func make<Queue: ~Copyable>(
        _ queue: consuming Queue,
        _ kind: UInt64
    ) -> HostQueue {
        // malloc aligns to sixteen bytes, which leaves four bits.
        let memory = UnsafeMutablePointer<Queue>.allocate(capacity: 1)
        unsafe memory.initialize(to: queue)
        return unsafe HostQueue(word: UInt64(UInt(bitPattern: memory)) | kind)
    }

    /// Frees the queue.
    public func free() {
        if let queue = unsafe inboxSource {
            unsafe HostQueue.free(queue)
        } else if let queue = unsafe tapSink {
            unsafe HostQueue.free(queue)
        } else if let queue = unsafe streamSource {
            unsafe HostQueue.free(queue)
        } else if let queue = unsafe datagramSource {
            unsafe HostQueue.free(queue)
        } else if let queue = unsafe socketSink {
            unsafe HostQueue.free(queue)
        } else if let queue = unsafe replaySource {
            unsafe HostQueue.free(queue)
        } else if let queue = unsafe captureSink {
            unsafe HostQueue.free(queue)
        } else if let queue = unsafe packetSource {
            unsafe HostQueue.free(queue)
        } else if let queue = unsafe packetSink {
            unsafe HostQueue.free(queue)
        } else if let queue = unsafe xdpSource {
            unsafe HostQueue.free(queue)
        } else if let queue = unsafe xdpSink {
            unsafe HostQueue.free(queue)
        }
    }

    private static func free<Queue: ~Copyable>(_ queue: UnsafeMutablePointer<Queue>) {
        unsafe queue.deinitialize(count: 1)
        unsafe queue.deallocate()
    }

    /// Why the queue works no more: an errno, or 0.
    public var fault: Int32 {
        @_noLocks get {
            if let queue = unsafe inboxSource { return unsafe queue.pointee.fault }
            if let queue = unsafe tapSink { return unsafe queue.pointee.fault }
            if let queue = unsafe packetSink { return unsafe queue.pointee.fault }
            if let queue = unsafe streamSource { return unsafe queue.pointee.fault }
            if let queue = unsafe datagramSource { return unsafe queue.pointee.fault }
            return 0
        }
    }

    // MARK: Sources

    /// Takes the next batch, at most `limit` frames; see `InboxSource`.
    @_noLocks
    public func collect(
        into batch: inout FrameBatch,
        counters: DirectionCounters,
        limit: Int
    ) {
        if let queue = unsafe inboxSource {
            unsafe queue.pointee.collect(into: &batch, counters: counters, limit: limit)
        } else if let queue = unsafe streamSource {
            unsafe queue.pointee.collect(into: &batch, counters: counters, limit: limit)
        } else if let queue = unsafe datagramSource {
            unsafe queue.pointee.collect(into: &batch, counters: counters, limit: limit)
        } else if let queue = unsafe replaySource {
            unsafe queue.pointee.collect(into: &batch, counters: counters, limit: limit)
        } else if let queue = unsafe packetSource {
            unsafe queue.pointee.collect(into: &batch, counters: counters, limit: limit)
        } else if let queue = unsafe xdpSource {
            unsafe queue.pointee.collect(into: &batch, counters: counters, limit: limit)
        }
    }

    /// Frees the frames that were collected.
    @_noLocks
    public func completeCollected() {
        if let queue = unsafe inboxSource { unsafe queue.pointee.completeCollected() }
        if let queue = unsafe streamSource { unsafe queue.pointee.completeCollected() }
        if let queue = unsafe datagramSource { unsafe queue.pointee.completeCollected() }
        if let queue = unsafe replaySource { unsafe queue.pointee.completeCollected() }
        if let queue = unsafe packetSource { unsafe queue.pointee.completeCollected() }
        if let queue = unsafe xdpSource { unsafe queue.pointee.completeCollected() }
    }

    /// Leaves what was collected where it is, to be collected again.
    @_noLocks
    public func forgetCollected() {
        if let queue = unsafe inboxSource { unsafe queue.pointee.forgetCollected() }
        if let queue = unsafe streamSource { unsafe queue.pointee.forgetCollected() }
        if let queue = unsafe datagramSource { unsafe queue.pointee.forgetCollected() }
        if let queue = unsafe replaySource { unsafe queue.pointee.forgetCollected() }
        if let queue = unsafe packetSource { unsafe queue.pointee.forgetCollected() }
        if let queue = unsafe xdpSource { unsafe queue.pointee.forgetCollected() }
    }

    /// Looks once more before the worker sleeps.
    @_noLocks
    public func arm() -> Bool {
        if let queue = unsafe inboxSource { return unsafe queue.pointee.arm() }
        if let queue = unsafe streamSource { return unsafe queue.pointee.arm() }
        if let queue = unsafe datagramSource { return unsafe queue.pointee.arm() }
        if let queue = unsafe replaySource { return unsafe queue.pointee.arm() }
        if let queue = unsafe packetSource { return unsafe queue.pointee.arm() }
        if let queue = unsafe xdpSource { return unsafe queue.pointee.arm() }
        return false
    }

    /// How many frames are through.
    public var place: UInt32 {
        @_noLocks get {
            if let queue = unsafe inboxSource { return unsafe queue.pointee.place }
            if let queue = unsafe streamSource { return unsafe queue.pointee.place }
            if let queue = unsafe datagramSource { return unsafe queue.pointee.place }
            if let queue = unsafe replaySource { return unsafe queue.pointee.place }
            if let queue = unsafe packetSource { return unsafe queue.pointee.place }
            if let queue = unsafe xdpSource { return unsafe queue.pointee.place }
            return 0
        }
    }

    // MARK: Sinks

    /// Hands out the frames of `batch` that `list` names, in order; what is not taken is counted.
    public func deliver(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ count: Int,
        counters: DirectionCounters,
        finisher: inout OffloadFinisher
    ) {
        if let queue = unsafe tapSink {
            unsafe queue.pointee.deliver(
                batch,
                list,
                count,
                counters: counters,
                finisher: &finisher
            )
        } else if let queue = unsafe socketSink {
            unsafe queue.pointee.deliver(batch, list, count, finisher: &finisher)
        } else if let queue = unsafe packetSink {
            unsafe queue.pointee.deliver(
                batch,
                list,
                count,
                counters: counters,
                finisher: &finisher
            )
        } else if let queue = unsafe xdpSink {
            unsafe queue.pointee.deliver(
                batch,
                list,
                count,
                counters: counters,
                finisher: &finisher
            )
        } else if let queue = unsafe captureSink {
            unsafe queue.pointee.deliver(
                batch,
                list,
                count,
                counters: counters,
                finisher: &finisher
            )
        }
    }
}
