// A queue that runs, as workers hold it: one word. Which kind it is, a virtqueue of either format or a
// netmap ring, is looked up once per batch, here; what is called then was compiled for it.

import CNetmap
import Netmap
import Ports
import VhostUser

/// An address, and in its lowest four bits what is there: 0 a `SplitQueue`, 1 a `PackedQueue`, 2 a
/// `Kring`, 3 a `Chore`, more a `HostQueue`; zero for none.
///
/// A handle: `make` allocates what it names, `free` frees it when no worker can use it any more.
/// The functions that workers call carry @_noLocks, and the compiler checks through them that
/// no kind allocates, locks or retains while frames move.
@unsafe struct PortQueue: BitwiseCopyable {
    let word: UInt64

    @_noLocks init(word: UInt64) { unsafe self.word = word }

    /// Starts a queue on rings that the set-up describes.
    static func make(_ setup: QueueSetup, isPacked: Bool) -> PortQueue {
        if isPacked {
            let queue = UnsafeMutablePointer<PackedQueue>.allocate(capacity: 1)
            unsafe queue.initialize(to: PackedQueue(setup))
            return unsafe PortQueue(word: UInt64(UInt(bitPattern: queue)) | 1)
        }
        let queue = UnsafeMutablePointer<SplitQueue>.allocate(capacity: 1)
        unsafe queue.initialize(to: SplitQueue(setup))
        return unsafe PortQueue(word: UInt64(UInt(bitPattern: queue)))
    }

    /// Holds a netmap ring that exists, or nothing.
    static func make(_ adapter: Adapter, _ ring: RingNumber) -> PortQueue {
        guard let kring = Kring(adapter, ring) else { return unsafe PortQueue(word: 0) }
        let queue = UnsafeMutablePointer<Kring>.allocate(capacity: 1)
        unsafe queue.initialize(to: kring)
        return unsafe PortQueue(word: UInt64(UInt(bitPattern: queue)) | 2)
    }

    /// Holds one side of a ring between two switches.
    static func make(_ splice: SpliceRing, transmit: Bool) -> PortQueue {
        let queue = UnsafeMutablePointer<Kring>.allocate(capacity: 1)
        unsafe queue.initialize(to: Kring(splice, transmit: transmit))
        return unsafe PortQueue(word: UInt64(UInt(bitPattern: queue)) | 2)
    }

    /// Holds work that is no forwarding.
    static func make(_ chore: Chore) -> PortQueue {
        let queue = UnsafeMutablePointer<Chore>.allocate(capacity: 1)
        unsafe queue.initialize(to: chore)
        return unsafe PortQueue(word: UInt64(UInt(bitPattern: queue)) | 3)
    }

    /// Holds a queue of the host's.
    static func make(_ queue: HostQueue) -> PortQueue { unsafe PortQueue(word: queue.word) }

    /// Frees the queue.
    func free() {
        if let host = unsafe host { return unsafe host.free() }
        if let kring = unsafe kring {
            unsafe kring.deinitialize(count: 1)
            unsafe kring.deallocate()
        } else if let chore = unsafe chore {
            unsafe chore.deallocate()
        }
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
            unsafe word & 15 == 0 ? UnsafeMutablePointer(bitPattern: UInt(word)) : nil
        }
    }

    var packed: UnsafeMutablePointer<PackedQueue>? {
        @_noLocks get {
            unsafe word & 15 == 1 ? UnsafeMutablePointer(bitPattern: UInt(word & ~15)) : nil
        }
    }

    var kring: UnsafeMutablePointer<Kring>? {
        @_noLocks get {
            unsafe word & 15 == 2 ? UnsafeMutablePointer(bitPattern: UInt(word & ~15)) : nil
        }
    }

    var chore: UnsafeMutablePointer<Chore>? {
        @_noLocks get {
            unsafe word & 15 == 3 ? UnsafeMutablePointer(bitPattern: UInt(word & ~15)) : nil
        }
    }

    var host: HostQueue? {
        @_noLocks get {
            unsafe word & HostQueue.kindMask >= HostQueue.firstKind
                ? unsafe HostQueue(word: word) : nil
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
            if let host = unsafe host { return unsafe host.needsAttention }
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

    /// Takes the next batch.
    ///
    /// - Parameters:
    ///   - batch: what they are appended to.
    ///   - counters: of the direction from the owner.
    ///   - limit: the most chains, or slots, to take; nil for as many as a batch has room for.
    @_noLocks
    func collect(
        into batch: inout FrameBatch,
        counters: DirectionCounters,
        limit: Int? = nil
    ) {
        if let queue = unsafe split {
            let limit = limit ?? FrameBatch.frameCapacity
            unsafe queue.pointee.collect(into: &batch, counters: counters, limit: limit)
        } else if let queue = unsafe packed {
            let limit = limit ?? FrameBatch.frameCapacity
            unsafe queue.pointee.collect(into: &batch, counters: counters, limit: limit)
        } else if let kring = unsafe kring {
            // In slots, of which a frame has many: a batch is full by its frames, or by their pieces.
            let limit = limit ?? Int.max
            unsafe kring.pointee.collect(into: &batch, counters: counters, limit: limit)
        } else if let host = unsafe host {
            let limit = limit ?? FrameBatch.frameCapacity
            unsafe host.collect(into: &batch, counters: counters, limit: limit)
        }
    }

    @_noLocks
    func completeCollected() {
        if let queue = unsafe split {
            unsafe queue.pointee.completeCollected()
        } else if let queue = unsafe packed {
            unsafe queue.pointee.completeCollected()
        } else if let kring = unsafe kring {
            unsafe kring.pointee.completeCollected()
        } else if let host = unsafe host {
            unsafe host.completeCollected()
        }
    }

    func discard(_ batch: inout FrameBatch, counters: DirectionCounters) {
        if let queue = unsafe split {
            unsafe queue.pointee.discard(&batch, counters: counters)
        } else if let queue = unsafe packed {
            unsafe queue.pointee.discard(&batch, counters: counters)
        } else {
            unsafe collect(into: &batch, counters: counters)
            counters.drop(.queueDisabled, batch.count)
            unsafe completeCollected()
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
        if let kring = unsafe kring {
            unsafe kring.pointee.deliver(
                batch,
                list,
                count,
                counters: counters,
                finisher: &finisher
            )
            return
        }
        if let host = unsafe host {
            unsafe host.deliver(batch, list, count, counters: counters, finisher: &finisher)
            return
        }
        if let chore = unsafe chore {
            unsafe chore.pointee.swallow(batch, list, count, counters)
            return
        }
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
        if let kring = unsafe kring { return unsafe kring.pointee.needsNotice() }
        return false
    }

    @_noLocks
    func arm() -> Bool {
        if let queue = unsafe split { return unsafe queue.pointee.arm() }
        if let queue = unsafe packed { return unsafe queue.pointee.arm() }
        if let kring = unsafe kring { return unsafe kring.pointee.arm() }
        if let chore = unsafe chore { return unsafe chore.pointee.arm() }
        if let host = unsafe host { return unsafe host.arm() }
        return false
    }

    /// Whether a program has rejected a sync of it since the last call.
    @_noLocks
    func hasComplaint() -> Bool {
        if let kring = unsafe kring { return unsafe kring.pointee.hasComplaint() }
        if let chore = unsafe chore { return unsafe chore.pointee.hasComplaint() }
        return false
    }

    @_noLocks
    func disarm() {
        if let queue = unsafe split {
            unsafe queue.pointee.disarm()
        } else if let queue = unsafe packed {
            unsafe queue.pointee.disarm()
        } else if let kring = unsafe kring {
            if unsafe kring.pointee.disarm() { unsafe kring.pointee.drainListeners() }
        } else if let chore = unsafe chore {
            unsafe chore.pointee.disarm()
        }
    }
}
