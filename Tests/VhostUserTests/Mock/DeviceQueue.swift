// The switch's side of a queue of either format behind one interface, so that a test is written once.

import Netmap

@testable import VhostUser

/// A virtqueue as a worker uses it.
protocol DeviceQueue: AnyObject {
    var fault: QueueFault { get }
    var isFaulty: Bool { get }
    var place: RingPosition { get }
    var base: UInt32 { get }
    var shortage: Shortage { get }

    func collect(into batch: inout FrameBatch, counters: DirectionCounters, limit: Int)
    func completeCollected()
    func discard(_ batch: inout FrameBatch, counters: DirectionCounters)
    func deliver(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ listCount: Int,
        counters: DirectionCounters,
        scratch: inout DeliveryScratch,
        finisher: inout OffloadFinisher
    )
    func deliverWhileRoom(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ listCount: Int,
        segments: inout Int,
        counters: DirectionCounters,
        trial: DirectionCounters,
        scratch: inout DeliveryScratch,
        finisher: inout OffloadFinisher
    ) -> Int
    func needsInterrupt() -> Bool
    func arm() -> Bool
    func disarm()
    func hasNews(since shortage: Shortage) -> Bool
    func armForRoom(since shortage: Shortage) -> Bool
}

/// Owns a virtqueue of one format.
private final class Queue<Ring: RingFormat & ~Copyable>: DeviceQueue {
    private var queue: Virtqueue<Ring>
    // The queue must not outlive it.
    private let memory: GuestMemory

    init(_ setup: QueueSetup) {
        memory = unsafe setup.memory
        queue = unsafe Virtqueue(setup)
    }

    var fault: QueueFault { queue.fault }
    var isFaulty: Bool { queue.isFaulty }
    var place: RingPosition { queue.place }
    var base: UInt32 { queue.base }
    var shortage: Shortage { queue.shortage }

    func collect(into batch: inout FrameBatch, counters: DirectionCounters, limit: Int) {
        queue.collect(into: &batch, counters: counters, limit: limit)
    }
    func completeCollected() { queue.completeCollected() }
    func discard(_ batch: inout FrameBatch, counters: DirectionCounters) {
        queue.discard(&batch, counters: counters)
    }
    func deliver(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ listCount: Int,
        counters: DirectionCounters,
        scratch: inout DeliveryScratch,
        finisher: inout OffloadFinisher
    ) {
        unsafe queue.deliver(
            batch,
            list,
            listCount,
            counters: counters,
            scratch: &scratch,
            finisher: &finisher
        )
    }
    func deliverWhileRoom(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ listCount: Int,
        segments: inout Int,
        counters: DirectionCounters,
        trial: DirectionCounters,
        scratch: inout DeliveryScratch,
        finisher: inout OffloadFinisher
    ) -> Int {
        unsafe queue.deliverWhileRoom(
            batch,
            list,
            listCount,
            segments: &segments,
            counters: counters,
            trial: trial,
            scratch: &scratch,
            finisher: &finisher
        )
    }
    func needsInterrupt() -> Bool { queue.needsInterrupt() }
    func arm() -> Bool { queue.arm() }
    func disarm() { queue.disarm() }
    func hasNews(since shortage: Shortage) -> Bool { queue.hasNews(since: shortage) }
    func armForRoom(since shortage: Shortage) -> Bool { queue.armForRoom(since: shortage) }
}

extension Format {
    /// The device's side of a queue.
    func makeQueue(_ setup: QueueSetup) -> any DeviceQueue {
        switch self {
        case .split: unsafe Queue<SplitRing>(setup)
        case .packed: unsafe Queue<PackedRing>(setup)
        }
    }
}
