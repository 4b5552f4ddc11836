// What a lossless port asks of its queues, in either format.

import Netmap
import Ports
import VhostUser

extension PortQueue {
    // SAFETY (whole extension): as in PortQueue.swift.

    /// Where the next entry is taken.
    var place: RingPosition {
        unsafe split?.pointee.place ?? packed?.pointee.place ?? kring?.pointee.place
            ?? host?.place ?? 0
    }

    var shortage: Shortage {
        unsafe split?.pointee.shortage ?? packed?.pointee.shortage ?? kring?.pointee.shortage
            ?? host?.shortage ?? Shortage()
    }

    func hasNews(since shortage: Shortage) -> Bool {
        if let queue = unsafe split { return unsafe queue.pointee.hasNews(since: shortage) }
        if let queue = unsafe packed { return unsafe queue.pointee.hasNews(since: shortage) }
        if let kring = unsafe kring { return unsafe kring.pointee.hasNews(since: shortage) }
        return unsafe host?.shortage != shortage
    }

    func hasGrown(since shortage: Shortage) -> Bool {
        if let queue = unsafe split { return unsafe queue.pointee.hasGrown(since: shortage) }
        if let queue = unsafe packed { return unsafe queue.pointee.hasGrown(since: shortage) }
        if let kring = unsafe kring { return unsafe kring.pointee.hasGrown(since: shortage) }
        return unsafe host?.shortage != shortage
    }

    func armForRoom(since shortage: Shortage) -> Bool {
        if let queue = unsafe split { return unsafe queue.pointee.armForRoom(since: shortage) }
        if let queue = unsafe packed { return unsafe queue.pointee.armForRoom(since: shortage) }
        if let kring = unsafe kring { return unsafe kring.pointee.armForRoom(since: shortage) }
        // The control plane waits for room as long as anything waits to leave, and recalls all workers then.
        return unsafe host?.shortage != shortage
    }

    /// Ends `armForRoom`, which somebody did who sees now that there is more room.
    func disarmForRoom() {
        // Others may sleep who have asked the same ring, and a program that publishes just now is to kick
        // for them.
        if let kring = unsafe kring {
            unsafe kring.pointee.keepArmed()
        } else {
            unsafe disarm()
        }
    }

    /// See `Virtqueue.deliverWhileRoom`.
    func deliverWhileRoom(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ count: Int,
        segments: inout Int,
        counters: DirectionCounters,
        trial: DirectionCounters,
        scratch: inout DeliveryScratch,
        finisher: inout OffloadFinisher
    ) -> Int {
        if let queue = unsafe split {
            return unsafe queue.pointee.deliverWhileRoom(
                batch,
                list,
                count,
                segments: &segments,
                counters: counters,
                trial: trial,
                scratch: &scratch,
                finisher: &finisher
            )
        }
        if let queue = unsafe packed {
            return unsafe queue.pointee.deliverWhileRoom(
                batch,
                list,
                count,
                segments: &segments,
                counters: counters,
                trial: trial,
                scratch: &scratch,
                finisher: &finisher
            )
        }
        if let kring = unsafe kring {
            return unsafe kring.pointee.deliverWhileRoom(
                batch,
                list,
                count,
                segments: &segments,
                counters: counters,
                trial: trial,
                finisher: &finisher
            )
        }
        if let done = unsafe host?.deliverWhileRoom(
            batch,
            list,
            count,
            segments: &segments,
            finisher: &finisher
        ) {
            return done
        }
        // Other descriptors have no room that could be seen beforehand: they take what they can.
        unsafe deliver(
            batch,
            list,
            count,
            counters: counters,
            scratch: &scratch,
            finisher: &finisher
        )
        return count
    }

    /// How many chains, or slots, of the collected batch come before its frame `index`.
    func chains(before index: Int) -> Int {
        unsafe split?.pointee.chains(before: index) ?? packed?.pointee.chains(before: index)
            ?? kring?.pointee.slots(before: index) ?? (host != nil ? index : 0)
    }

    /// Leaves what was collected where it is, to be collected again.
    func forgetCollected() {
        unsafe split?.pointee.forgetCollected()
        unsafe packed?.pointee.forgetCollected()
        unsafe kring?.pointee.forgetCollected()
        unsafe host?.forgetCollected()
    }
}
