// What only queues of sockets can say: that frames wait for room, how far a peer has come, what it did wrong.

public import Netmap

extension HostQueue {
    // SAFETY (whole extension): as in HostQueue.swift.

    /// Whether the control plane is to look: the queue works no more, or frames wait for room.
    public var needsAttention: Bool {
        @_noLocks get {
            if let queue = unsafe socketSink { return unsafe queue.pointee.needsAttention }
            return unsafe fault != 0
        }
    }

    /// Says that somebody waits until there is room for what waits to leave, if anything does.
    ///
    /// The caller holds the lock of the queue.
    ///
    /// - Returns: whether anything does, and nobody has waited so far.
    public func beginWatching() -> Bool {
        guard let queue = unsafe socketSink, unsafe queue.pointee.needsAttention else {
            return false
        }
        unsafe queue.pointee.isWatched = true
        return true
    }

    /// Writes what waits to leave; the caller holds the lock of the queue.
    ///
    /// - Returns: whether nothing waits any more, and so nobody has to wait for room.
    public func flush() -> Bool {
        guard let queue = unsafe socketSink else { return true }
        let isEmpty = unsafe queue.pointee.flush()
        if isEmpty { unsafe queue.pointee.isWatched = false }
        return isEmpty
    }

    /// The length that ended a connection, which no frame can have.
    public var badLength: UInt32 { unsafe streamSource?.pointee.badLength ?? 0 }

    /// How far the receiver has come, if senders can wait for it.
    public var shortage: Shortage? {
        if let queue = unsafe socketSink { return unsafe queue.pointee.shortage }
        return nil
    }

    /// Hands frames out until there is no room; see `Virtqueue.deliverWhileRoom`.
    ///
    /// - Returns: how many are through; nil if the kind cannot tell, so that it has to be `deliver`.
    public func deliverWhileRoom(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ count: Int,
        segments: inout Int,
        finisher: inout OffloadFinisher
    ) -> Int? {
        guard let queue = unsafe socketSink else { return nil }
        return unsafe queue.pointee.deliverWhileRoom(
            batch,
            list,
            count,
            segments: &segments,
            finisher: &finisher
        )
    }
}
