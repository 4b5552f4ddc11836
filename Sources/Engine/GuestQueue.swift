// A running virtqueue of either format, as workers hold it: one word. The format is looked up once
// per batch, here; what is called then was compiled for it.

import CNetmap
import Netmap
import VhostUser

/// The address of a `SplitQueue`, or with the lowest bit set of a `PackedQueue`; zero for none.
///
/// A handle: `make` allocates what it names, `free` frees it when no worker can use it any more.
/// The functions that workers call carry @_noLocks, and the compiler checks through them that
/// neither format allocates, locks or retains while frames move.
@unsafe struct GuestQueue: BitwiseCopyable {
    let word: UInt64

    @_noLocks init(word: UInt64) { unsafe self.word = word }

    /// Starts a queue on rings that the set-up describes.
    static func make(_ setup: QueueSetup, isPacked: Bool) -> GuestQueue {
        if isPacked {
            let queue = UnsafeMutablePointer<PackedQueue>.allocate(capacity: 1)
            unsafe queue.initialize(to: PackedQueue(setup))
            return unsafe GuestQueue(word: UInt64(UInt(bitPattern: queue)) | 1)
        }
        let queue = UnsafeMutablePointer<SplitQueue>.allocate(capacity: 1)
        unsafe queue.initialize(to: SplitQueue(setup))
        return unsafe GuestQueue(word: UInt64(UInt(bitPattern: queue)))
    }

    /// Frees the queue.
    func free() {
        if let queue = unsafe packed {
            unsafe queue.deinitialize(count: 1)
            unsafe queue.deallocate()
        } else if let queue = unsafe split {
            unsafe queue.deinitialize(count: 1)
            unsafe queue.deallocate()
        }
    }

    // SAFETY (whole type): `word` was made by `make`, and the control plane frees it only after a
    // grace period in which no worker can have loaded it (WorkerPool.synchronize).

    var split: UnsafeMutablePointer<SplitQueue>? {
        @_noLocks get {
            unsafe word & 1 == 0 ? UnsafeMutablePointer(bitPattern: UInt(word)) : nil
        }
    }

    var packed: UnsafeMutablePointer<PackedQueue>? {
        @_noLocks get {
            unsafe word & 1 == 1 ? UnsafeMutablePointer(bitPattern: UInt(word & ~1)) : nil
        }
    }

    /// Whether there is a queue.
    var exists: Bool { @_noLocks get { unsafe word != 0 } }

    /// What its guest did wrong.
    var fault: QueueFault {
        unsafe split?.pointee.fault ?? packed?.pointee.fault ?? .none
    }

    /// What `GET_VRING_BASE` answers.
    var base: UInt32 { unsafe split?.pointee.base ?? packed?.pointee.base ?? 0 }

    /// Whether it is broken, or lacks translations: the control plane is to look.
    var needsAttention: Bool {
        @_noLocks get {
            if let queue = unsafe split {
                return unsafe queue.pointee.isFaulty || queue.pointee.hasMisses
            }
            if let queue = unsafe packed {
                return unsafe queue.pointee.isFaulty || queue.pointee.hasMisses
            }
            return false
        }
    }

    /// What to ask the front-end for.
    func takeMisses() -> [BackendRequest] {
        unsafe split?.pointee.takeMisses() ?? packed?.pointee.takeMisses() ?? []
    }

    /// Looks up the next receive buffers behind an IOMMU, before frames are there.
    func lookAhead() {
        if let queue = unsafe split {
            unsafe queue.pointee.lookAhead()
        } else if let queue = unsafe packed {
            unsafe queue.pointee.lookAhead()
        }
    }

    @_noLocks
    func collect(
        into batch: inout FrameBatch,
        counters: DirectionCounters,
        limit: Int = FrameBatch.frameCapacity
    ) {
        if let queue = unsafe split {
            unsafe queue.pointee.collect(into: &batch, counters: counters, limit: limit)
        } else if let queue = unsafe packed {
            unsafe queue.pointee.collect(into: &batch, counters: counters, limit: limit)
        }
    }

    @_noLocks
    func completeCollected() {
        if let queue = unsafe split {
            unsafe queue.pointee.completeCollected()
        } else if let queue = unsafe packed {
            unsafe queue.pointee.completeCollected()
        }
    }

    func discard(_ batch: inout FrameBatch, counters: DirectionCounters) {
        if let queue = unsafe split {
            unsafe queue.pointee.discard(&batch, counters: counters)
        } else if let queue = unsafe packed {
            unsafe queue.pointee.discard(&batch, counters: counters)
        }
    }

    /// Delivers frames until one needs software; see `deliver`.
    @_noLocks
    private func deliverRun(
        _ batch: borrowing FrameBatch,
        _ target: (list: UnsafePointer<UInt16>, count: Int),
        from begin: Int,
        _ counters: DirectionCounters,
        _ scratch: inout DeliveryScratch
    ) -> Int {
        if let queue = unsafe split {
            return unsafe queue.pointee.deliverRun(
                batch,
                target.list,
                from: begin,
                to: target.count,
                counters,
                &scratch
            )
        }
        if let queue = unsafe packed {
            return unsafe queue.pointee.deliverRun(
                batch,
                target.list,
                from: begin,
                to: target.count,
                counters,
                &scratch
            )
        }
        return unsafe target.count
    }

    func deliver(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ count: Int,
        counters: DirectionCounters,
        scratch: inout DeliveryScratch,
        finisher: inout OffloadFinisher
    ) {
        var k = 0
        while true {
            k = unsafe deliverRun(batch, (list, count), from: k, counters, &scratch)
            if k == count { break }
            let index = unsafe Int(list[k])
            if let queue = unsafe split {
                unsafe queue.pointee.deliverFinished(batch, index, counters, &scratch, &finisher)
            } else if let queue = unsafe packed {
                unsafe queue.pointee.deliverFinished(batch, index, counters, &scratch, &finisher)
            }
            k += 1
        }
        if let queue = unsafe split {
            unsafe queue.pointee.publish()
            unsafe queue.pointee.lookAhead()
        } else if let queue = unsafe packed {
            unsafe queue.pointee.publish()
            unsafe queue.pointee.lookAhead()
        }
    }

    @_noLocks
    func needsInterrupt() -> Bool {
        if let queue = unsafe split { return unsafe queue.pointee.needsInterrupt() }
        if let queue = unsafe packed { return unsafe queue.pointee.needsInterrupt() }
        return false
    }

    @_noLocks
    func arm() -> Bool {
        if let queue = unsafe split { return unsafe queue.pointee.arm() }
        if let queue = unsafe packed { return unsafe queue.pointee.arm() }
        return false
    }

    @_noLocks
    func disarm() {
        if let queue = unsafe split {
            unsafe queue.pointee.disarm()
        } else if let queue = unsafe packed {
            unsafe queue.pointee.disarm()
        }
    }
}
