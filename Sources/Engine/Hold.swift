// What is remembered while a source waits for a lossless port that is full.

import CNetmap
import Netmap
import VhostUser

/// What a source waits for.
///
/// Belongs to the worker that serves it.
@unsafe struct Hold {
    /// The port without room, or 0 if the source does not wait; the control plane looks at any time.
    var port: UInt16 = 0
    /// The pair of that port.
    var pair: UInt16 = 0
    /// The ports up to this number have had the held frame already; for a frame to all.
    var reached: UInt16 = 0
    /// Where the held frame is in the source's ring; the rest is about no other.
    var position: RingPosition = 0
    /// How many of the segments that the held frame is cut into have been delivered.
    var segments: Int = 0
    /// What the receiver had when there was no room.
    var shortage = Shortage()
    /// The grace period in which that was; the control plane begins another when it changes anything.
    var generation: UInt64 = 0
    /// When to try in any case, on the clock of `nm_monotonic_ns`.
    var deadline: UInt64 = .max

    /// Whether the source waits.
    var isActive: Bool { unsafe port != 0 }
}

/// How long senders have been waiting for a receive queue.
///
/// Belongs to whoever holds its lock.
@unsafe struct Stall {
    /// Since when its guest has taken nothing though somebody waits; 0 if nobody does.
    var since: UInt64 = 0
    /// What it had then.
    var shortage = Shortage()
    /// Whether it has lost the right to keep anybody waiting.
    var isOver: UInt32 = 0
    /// Whether its guest was asked for a kick, and what it had then.
    var isArmed = false
    var armedAt = Shortage()
    /// How often it was asked since the kicks were ended last; more than one may sleep then.
    var arms: UInt32 = 0
    /// Set by a worker that has ended kicks which others may wait for, cleared by the control plane, which
    /// wakes them.
    var isRecall: UInt32 = 0
    /// Set by a worker when the right is lost, cleared by the control plane when it has said so.
    var unsaid: UInt32 = 0
}

/// What a worker needs to deliver a batch of which it may have to take a part back.
@safe struct Trial: ~Copyable {
    private let pages: UnsafeMutablePointer<nm_direction_counters>
    /// 0, 1, 2 and so on, for naming frames in a row.
    let everyFrame: UnsafeMutablePointer<UInt16>

    init() {
        unsafe pages = .allocate(capacity: 2)
        // SAFETY: a C structure of integers; zeroes are its initial state.
        unsafe UnsafeMutableRawPointer(pages).initializeMemory(
            as: UInt8.self,
            repeating: 0,
            count: 2 * MemoryLayout<nm_direction_counters>.stride
        )
        unsafe everyFrame = .allocate(capacity: FrameBatch.frameCapacity)
        for k in 0..<FrameBatch.frameCapacity {
            unsafe (everyFrame + k).initialize(to: UInt16(k))
        }
    }

    deinit {
        unsafe pages.deallocate()
        unsafe everyFrame.deallocate()
    }

    /// From the sender, until it is known how much of the batch goes.
    var rx: DirectionCounters { unsafe DirectionCounters(unsafePage: pages) }
    /// To one receiver, for one frame.
    var tx: DirectionCounters { unsafe DirectionCounters(unsafePage: pages + 1) }
}
