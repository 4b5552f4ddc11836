// What a worker does for netmap rings besides forwarding: pipes, interfaces, and receive
// rings whose owner gives slots back to a zero-copy monitor.

import CNetmap
import Netmap
import Ports

/// A piece of work in a worker's list.
@unsafe struct Chore {
    enum Kind: UInt8 {
        /// From the transmit ring `ring` to the other end's receive ring `peer`, and back.
        case pipe
        /// The same, but the two ends do it themselves, and we wake who sleeps there.
        case bells
        /// Frames of the transmit ring `ring`, or those that a switch delivers here, leave by an interface
        /// behind which nobody is.
        case swallow
        /// Frames of the transmit ring `ring` leave by the interface that `host` writes to.
        case transmit
        /// Frames that `host` reads from an interface come to the receive ring `ring`.
        case receive
        /// Slots that come back on the receive ring `ring` are a monitor's first.
        case release
    }

    let kind: Kind
    let ring: UnsafeMutablePointer<Kring>?
    let peer: UnsafeMutablePointer<Kring>?
    /// Held while `ring` of a `release` is touched.
    let lock: UnsafeMutablePointer<UInt32>?
    /// The kernel's side of an interface, and what is counted there.
    let host: (queue: HostQueue, counters: DirectionCounters)?

    init(
        _ kind: Kind,
        ring: UnsafeMutablePointer<Kring>?,
        peer: UnsafeMutablePointer<Kring>? = nil,
        lock: UnsafeMutablePointer<UInt32>? = nil,
        host: (queue: HostQueue, counters: DirectionCounters)? = nil
    ) {
        unsafe self.kind = kind
        unsafe self.ring = unsafe ring
        unsafe self.peer = unsafe peer
        unsafe self.lock = unsafe lock
        unsafe self.host = unsafe host
    }

    /// A monitor may copy what these slots name: no longer a visit than that of other sources.
    private static let slotLimit = 4 * FrameBatch.frameCapacity

    private var isBells: Bool { @_noLocks get { unsafe kind.rawValue == Kind.bells.rawValue } }

    private var isReceive: Bool { @_noLocks get { unsafe kind.rawValue == Kind.receive.rawValue } }

    private var isRelease: Bool { @_noLocks get { unsafe kind.rawValue == Kind.release.rawValue } }

    /// Whether a program has rejected a sync of one of the rings.
    @_noLocks
    func hasComplaint() -> Bool {
        if let host = unsafe host, unsafe host.queue.fault != 0 { return true }
        return unsafe ring?.pointee.hasComplaint() ?? false
    }

    // SAFETY (whole type): rings and lock live as long as the port whose chore it is, and the control
    // plane takes the chore away first, with a grace period.

    /// Does what there is to do now.
    ///
    /// - Returns: whether anything was done.
    func run(
        _ plane: UnsafeMutablePointer<PortPlane>,
        _ batch: inout FrameBatch,
        _ everyFrame: UnsafePointer<UInt16>,
        _ finisher: inout OffloadFinisher
    ) -> Bool {
        guard let ring = unsafe ring else { return false }
        switch unsafe kind {
        case .pipe:
            guard let peer = unsafe peer else { return false }
            let hasMoved = unsafe ring.pointee.transfer(
                to: &peer.pointee,
                rx: plane.pointee.rx,
                tx: plane.pointee.tx,
                limit: Chore.slotLimit
            )
            if hasMoved {
                unsafe ring.pointee.notify()
                unsafe peer.pointee.notify()
            }
            return hasMoved
        case .bells:
            guard let peer = unsafe peer else { return false }
            let hasSent = unsafe ring.pointee.passBell(to: &peer.pointee)
            let hasReturned = unsafe peer.pointee.passBell(to: &ring.pointee)
            return hasSent || hasReturned
        case .swallow:
            batch.removeAll()
            unsafe ring.pointee.collect(into: &batch, counters: plane.pointee.rx)
            let place = unsafe ring.pointee.place
            unsafe ring.pointee.completeCollected()
            // Slots may have gone without a frame.
            guard unsafe ring.pointee.place != place else { return false }
            unsafe ring.pointee.notify()
            return true
        case .transmit:
            guard let host = unsafe host else { return false }
            batch.removeAll()
            unsafe ring.pointee.collect(into: &batch, counters: plane.pointee.rx)
            guard batch.count != 0 else { return false }
            unsafe host.queue.deliver(
                batch,
                everyFrame,
                batch.count,
                counters: host.counters,
                finisher: &finisher
            )
            unsafe ring.pointee.completeCollected()
            unsafe ring.pointee.notify()
            return true
        case .receive:
            guard let host = unsafe host else { return false }
            batch.removeAll()
            unsafe host.queue.collect(
                into: &batch,
                counters: host.counters,
                limit: FrameBatch.frameCapacity
            )
            guard batch.count != 0 else { return false }
            unsafe ring.pointee.deliver(
                batch,
                everyFrame,
                batch.count,
                counters: plane.pointee.tx,
                finisher: &finisher
            )
            unsafe host.queue.completeCollected()
            unsafe ring.pointee.notify()
            return true
        case .release:
            guard let lock = unsafe lock else { return false }
            while unsafe nm_try_lock(lock) == 0 { nm_pause() }
            let hasReleased = unsafe ring.pointee.release()
            unsafe nm_unlock(lock)
            return hasReleased
        }
    }

    /// Takes frames that a switch delivers to an interface.
    @_noLocks
    func swallow(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ count: Int,
        _ counters: DirectionCounters
    ) {
        var bytes = 0
        // SAFETY: `list` holds `count` indices below the batch's count (ForwardingPlan's word).
        for k in 0..<count { bytes += unsafe Int(batch.frames[Int(list[k])].length) }
        counters.count(packets: count, bytes: bytes)
    }

    /// Asks for a byte when there is something to do, and looks once more.
    @_noLocks
    func arm() -> Bool {
        if unsafe isBells {
            // The bytes come in any case.
            guard let ring = unsafe ring, let peer = unsafe peer else { return false }
            return unsafe ring.pointee.hasBell || peer.pointee.hasBell
        }
        if let host = unsafe host, unsafe isReceive {
            // Room in the ring is no reason to run: without frames there is nothing to do.
            return unsafe host.queue.arm()
        }
        var isAwake = false
        if let ring = unsafe ring, unsafe ring.pointee.arm() { isAwake = true }
        if let peer = unsafe peer, unsafe peer.pointee.arm() { isAwake = true }
        return isAwake
    }

    /// Ends `arm`.
    @_noLocks
    func disarm() {
        if unsafe isBells || isReceive { return }
        if unsafe isRelease {
            // Those who wait for room in a lossless port's ring may have armed it, too.
            unsafe ring?.pointee.keepArmed()
            return
        }
        if let ring = unsafe ring, unsafe ring.pointee.disarm() {
            unsafe ring.pointee.drainListeners()
        }
        if let peer = unsafe peer, unsafe peer.pointee.disarm() {
            unsafe peer.pointee.drainListeners()
        }
    }
}
