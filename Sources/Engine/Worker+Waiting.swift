// What waiting for a lossless port that is full means: who waits for what, when it is worth another try, who is
// woken, and when a port has kept others waiting for too long.

import CNetmap
import Netmap
import VhostUser

extension WorkerState {
    // SAFETY (whole extension): as in Worker+Lossless.swift.

    /// Whether a source that waits has any reason to try again.
    func mayGoOn(
        _ pair: UnsafeMutablePointer<QueuePair>,
        _ source: PortQueue
    ) -> Bool {
        if unsafe pair.pointee.hold.generation != nm_load64(&shared.pointee.seen) { return true }
        if unsafe pair.pointee.hold.position != source.place { return true }
        guard let other = unsafe receiver(of: pair) else { return true }
        let deadline = unsafe pair.pointee.hold.deadline
        let isLate = deadline != .max && nm_monotonic_ns() >= deadline
        // Its return is another generation.
        if unsafe isAway(other) { return isLate }
        guard let sink = unsafe sink(of: other) else { return true }
        // Whoever has the lock changes what the answer would be.
        guard unsafe nm_try_lock(&other.pointee.sinkLock) != 0 else { return false }
        let hasNews = unsafe sink.hasNews(since: pair.pointee.hold.shortage)
        unsafe nm_unlock(&other.pointee.sinkLock)
        return hasNews || isLate
    }

    /// Whether a receive queue is not there, but may come back.
    func isAway(_ pair: UnsafeMutablePointer<QueuePair>) -> Bool {
        guard unsafe nm_load32(&pair.pointee.awaited) != 0 else { return false }
        return unsafe nm_load64_acquire(&pair.pointee.sink) == 0
            || nm_load32(&pair.pointee.sinkEnabled) == 0
    }

    /// Asks the receiver that a source waits for to kick when it adds buffers.
    ///
    /// - Returns: whether there is a reason to try again at once.
    func armReceiver(
        _ pair: UnsafeMutablePointer<QueuePair>,
        _ source: PortQueue
    ) -> Bool {
        let hold = unsafe pair.pointee.hold
        if unsafe hold.generation != nm_load64_acquire(generation) { return true }
        if unsafe hold.position != source.place { return true }
        guard let other = unsafe receiver(of: pair) else { return true }
        if unsafe isAway(other) { return false }
        guard let sink = unsafe sink(of: other) else { return true }
        while unsafe nm_try_lock(&other.pointee.sinkLock) == 0 { nm_pause() }
        let mustTry = unsafe sink.armForRoom(since: hold.shortage)
        if !mustTry {
            unsafe other.pointee.stall.isArmed = true
            unsafe other.pointee.stall.armedAt = hold.shortage
            unsafe other.pointee.stall.arms &+= 1
        }
        unsafe nm_unlock(&other.pointee.sinkLock)
        return mustTry
    }

    private func receiver(
        of pair: UnsafeMutablePointer<QueuePair>
    ) -> UnsafeMutablePointer<QueuePair>? {
        let port = unsafe Int(pair.pointee.hold.port)
        let address = unsafe nm_load64_acquire(planes + port)
        guard let plane = unsafe UnsafeMutablePointer<PortPlane>(bitPattern: UInt(address)) else {
            return nil
        }
        return unsafe plane.pointee.pairs + Int(pair.pointee.hold.pair)
    }

    func sink(
        of pair: UnsafeMutablePointer<QueuePair>
    ) -> PortQueue? {
        let sink = unsafe PortQueue(word: nm_load64_acquire(&pair.pointee.sink))
        return unsafe sink.exists ? unsafe sink : nil
    }

    /// Has a source wait for a receive queue whose lock is held, unless that has taken nothing for too long.
    func hold(
        _ source: UnsafeMutablePointer<QueuePair>,
        for port: UInt16,
        _ index: UInt16,
        _ shortage: Shortage,
        _ segments: Int,
        _ plane: UnsafeMutablePointer<PortPlane>
    ) -> Bool {
        let patience = unsafe plane.pointee.patience
        let since = unsafe stallBegan(plane.pointee.pairs + Int(index), shortage)
        guard patience == 0 || nm_monotonic_ns() &- since < patience else { return false }
        unsafe nm_store16(&source.pointee.hold.port, port)
        unsafe source.pointee.hold.pair = index
        unsafe source.pointee.hold.segments = segments
        unsafe source.pointee.hold.shortage = shortage
        unsafe source.pointee.hold.generation = nm_load64(&shared.pointee.seen)
        unsafe source.pointee.hold.deadline = patience == 0 ? .max : since &+ patience
        return true
    }

    /// Ends the right of a queue to keep others waiting: nothing was taken for so long that from now on it
    /// loses frames like any other.
    func giveUp(_ pair: UnsafeMutablePointer<QueuePair>, _ shortage: Shortage) {
        guard unsafe pair.pointee.stall.isOver == 0 else { return }
        unsafe pair.pointee.stall.since = 0
        unsafe pair.pointee.stall.shortage = shortage
        unsafe nm_store32(&pair.pointee.stall.isOver, 1)
        unsafe nm_store32(&pair.pointee.stall.unsaid, 1)
        _ = unsafe nm_eventfd_ring(attention)
    }

    /// Gives a receiver that takes frames again its rights, and ends its kicks if it gave one.
    func noteGrowth(
        _ pair: UnsafeMutablePointer<QueuePair>,
        _ sink: PortQueue
    ) {
        if unsafe pair.pointee.stall.isOver != 0,
            unsafe sink.hasGrown(since: pair.pointee.stall.shortage)
        {
            unsafe nm_store32(&pair.pointee.stall.isOver, 0)
        }
        // Everybody who waits is kicked by the same buffers, so nobody needs another kick. But a guest that has
        // added them and not kicked yet finds that nobody wants it to: then the others are woken here.
        if unsafe pair.pointee.stall.isArmed,
            unsafe sink.hasGrown(since: pair.pointee.stall.armedAt)
        {
            unsafe pair.pointee.stall.isArmed = false
            unsafe sink.disarmForRoom()
            if unsafe pair.pointee.stall.arms > 1 {
                unsafe nm_store32(&pair.pointee.stall.isRecall, 1)
                _ = unsafe nm_eventfd_ring(attention)
            }
            unsafe pair.pointee.stall.arms = 0
        }
    }

    /// Since when the receiver has taken nothing.
    private func stallBegan(
        _ pair: UnsafeMutablePointer<QueuePair>,
        _ shortage: Shortage
    ) -> UInt64 {
        if unsafe pair.pointee.stall.since == 0
            || !shortage.hasSameEnd(as: pair.pointee.stall.shortage)
        {
            unsafe pair.pointee.stall.since = nm_monotonic_ns()
            unsafe pair.pointee.stall.shortage = shortage
        }
        return unsafe pair.pointee.stall.since
    }
}
