// A pipe: what one end sends is the other end's at once, buffers and all (netmap-spec 2.13).

import CNetmap

extension Kring {
    /// Moves what the sender put into this transmit ring to the other end's receive ring, and brings
    /// the sender the buffers that the receiver has given back.
    ///
    /// The two rings have as many slots and lie in one region. The receiver sees whole frames only.
    ///
    /// - Parameters:
    ///   - receiver: the other end's receive ring.
    ///   - rx: counters of the direction from the sender.
    ///   - tx: counters of the direction to the receiver.
    ///   - limit: the most slots to move.
    /// - Returns: whether anything moved.
    package mutating func transfer(
        to receiver: inout Kring,
        rx: DirectionCounters,
        tx: DirectionCounters,
        limit: Int = Int.max
    ) -> Bool {
        let hasReturned = bringBack(from: &receiver)
        // SAFETY: as in `collect`; slots are moved as they are, nothing that they name is touched.
        let head = Int(unsafe nm_load32_acquire(headCell))
        var count = head - hwcur
        if count < 0 { count += slotCount }
        var given = hwtail - hwcur
        if given < 0 { given += slotCount }
        guard head < slotCount, count <= given, count != 0 else { return hasReturned }
        count = min(count, limit)
        if watchers != 0 { show(hwcur, count) }
        var j = hwcur
        var complete = receiver.hwtail
        var packets = 0
        var bytes = 0
        for _ in 0..<count {
            let from = unsafe slotBase + j &* NM_SLOT_SIZE
            let to = unsafe receiver.slotBase + j &* NM_SLOT_SIZE
            let word = unsafe nm_load64(from)
            unsafe nm_store64(to, word & ~(UInt64(NS_BUF_CHANGED) &<< 48))
            unsafe nm_store64(to + 8, nm_load64(from + 8))
            if word & (UInt64(NS_BUF_CHANGED) &<< 48) != 0 {
                unsafe nm_store64(from, word & ~(UInt64(NS_BUF_CHANGED) &<< 48))
            }
            j = j + 1 == slotCount ? 0 : j + 1
            openBytes += Int((word &>> 32) & 0xffff)
            if word & (UInt64(NS_MOREFRAG) &<< 48) == 0 {
                complete = j
                packets += 1
                bytes += openBytes
                openBytes = 0
            }
        }
        hwcur = j
        unsafe nm_store32_release(hwcurCell, UInt32(truncatingIfNeeded: j))
        if complete != receiver.hwtail {
            receiver.hwtail = complete
            receiver.publish()
            rx.count(packets: packets, bytes: bytes)
            tx.count(packets: packets, bytes: bytes)
        }
        return true
    }

    /// Gives the sender back what the receiver has released, with the receiver's buffers in it.
    private mutating func bringBack(from receiver: inout Kring) -> Bool {
        let before = receiver.hwcur
        receiver.takeBack()
        var count = receiver.hwcur - before
        if count == 0 { return false }
        if count < 0 { count += slotCount }
        var j = before
        for _ in 0..<count {
            // SAFETY: `j` stays below `slotCount`.
            let from = unsafe receiver.slotBase + j &* NM_SLOT_SIZE
            let to = unsafe slotBase + j &* NM_SLOT_SIZE
            unsafe nm_store64(to, nm_load64(from))
            unsafe nm_store64(to + 8, nm_load64(from + 8))
            j = j + 1 == slotCount ? 0 : j + 1
        }
        if watchers != 0 { swap(before, count) }
        hwtail = receiver.hwcur == 0 ? slotCount - 1 : receiver.hwcur - 1
        publish()
        return true
    }

    // MARK: Pipes whose ends move the slots themselves

    /// Passes on the byte with which this end asked that the other be woken.
    ///
    /// - Returns: whether it had.
    package mutating func passBell(to other: inout Kring) -> Bool {
        guard disarmBell() else { return false }
        drainListeners()
        other.hasNews = true
        other.notify()
        return true
    }

    /// Whether this end has asked for a byte to the other.
    package var hasBell: Bool {
        @_noLocks get {
            guard let control = unsafe control else { return false }
            // SAFETY: the ring's own kring.
            return unsafe nm_load32(control + Int(NM_KRING_KICKED)) != 0
        }
    }

    @_noLocks
    private func disarmBell() -> Bool {
        guard hasBell, let control = unsafe control else { return false }
        // SAFETY: the ring's own kring. The fence pairs with the one between the program's publishing and
        // its look at `kicked`: who finds it set has published before we look at `want`.
        unsafe nm_store32(control + Int(NM_KRING_KICKED), 0)
        nm_fence()
        return true
    }

    /// Goes on where the two ends of a pipe have left off, which they did not do by themselves if this
    /// returns: waits for a sync that is under way, but not for one that never ends.
    ///
    /// - Parameter deadline: until when to wait, on the clock of `nm_monotonic_ns`.
    package mutating func adopt(until deadline: UInt64) {
        guard let control = unsafe control else { return }
        setMode(Int(NM_KRING_ENGINE))
        nm_fence()
        // SAFETY: the ring's own kring; what a program wrote there is used if it is a slot's number.
        while unsafe nm_load32_acquire(control) != 0, nm_monotonic_ns() < deadline { nm_pause() }
        hasNews = true
        let cur = Int(unsafe nm_load32(hwcurCell))
        let tail = Int(unsafe nm_load32_acquire(hwtailCell))
        guard cur < slotCount, tail < slotCount else { return }
        hwcur = cur
        hwtail = tail
        published = tail
    }
}
