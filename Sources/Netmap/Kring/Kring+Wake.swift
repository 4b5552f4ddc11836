// Who sleeps asks the other side for a byte; nobody sends one who was not asked.

import CNetmap

/// The descriptors of those who have a ring bound: replaced as a whole by the control plane, freed after
/// a grace period.
@unsafe package struct Listeners {
    let count: Int
    let sockets: UnsafeMutablePointer<Int32>

    /// The address to store in `Kring.listeners`; 0 for none.
    package static func make(_ sockets: [Int32]) -> UInt64 {
        guard !sockets.isEmpty else { return 0 }
        let items = UnsafeMutablePointer<Int32>.allocate(capacity: sockets.count)
        for (index, socket) in sockets.enumerated() {
            unsafe (items + index).initialize(to: socket)
        }
        let list = UnsafeMutablePointer<Listeners>.allocate(capacity: 1)
        unsafe list.initialize(to: Listeners(count: sockets.count, sockets: items))
        return UInt64(UInt(bitPattern: list))
    }

    /// The same for ports of this process.
    package static func make(_ bells: [Doorbell]) -> UInt64 {
        unsafe make(bells.map(\.ringing.number))
    }

    /// Frees what `make` made, when no worker can use it any more.
    package static func free(_ address: UInt64) {
        guard let list = unsafe UnsafeMutablePointer<Listeners>(bitPattern: UInt(address)) else {
            return
        }
        unsafe list.pointee.sockets.deallocate()
        unsafe list.deallocate()
    }
}

extension Kring {
    /// Sends those who have the ring bound a byte, if they asked for one and there is news.
    @_noLocks
    package mutating func notify() {
        if needsNotice() { ringListeners() }
    }

    /// Sends those who have the ring bound a byte.
    @_noLocks
    package func ringListeners() {
        let address = UInt(truncatingIfNeeded: listeners)
        // SAFETY: the list lives for the turn in which it was loaded (Listeners.free).
        guard let list = unsafe UnsafePointer<Listeners>(bitPattern: address) else { return }
        for index in unsafe 0..<list.pointee.count {
            unsafe nm_doorbell(list.pointee.sockets[index])
        }
    }

    /// Takes the bytes out of the sockets that woke us.
    @_noLocks
    package func drainListeners() {
        let address = UInt(truncatingIfNeeded: listeners)
        // SAFETY: as in `ringListeners`.
        guard let list = unsafe UnsafePointer<Listeners>(bitPattern: address) else { return }
        for index in unsafe 0..<list.pointee.count {
            unsafe nm_doorbell_drain(list.pointee.sockets[index])
        }
    }

    /// Asks the program for a byte when `head` moves, and looks once more.
    ///
    /// - Returns: whether it has moved already, to where it may.
    @_noLocks
    package func arm() -> Bool {
        guard let control = unsafe control else { return false }
        // SAFETY: the ring's own kring, which outlives it. The fence pairs with the program's between
        // publishing `head` and reading `sleeping`.
        // Bytes are drained after `kicked` is cleared, and for other rings of the same descriptor: a byte
        // may be gone whose `kicked` still says that it is on its way. Nobody may believe that now.
        unsafe nm_store32(control + Int(NM_KRING_KICKED), 0)
        unsafe nm_store32(control + Int(NM_KRING_SLEEPING), 1)
        nm_fence()
        return hasMoved
    }

    /// Whether the owner has given slots away that were its own.
    ///
    /// What else it may have written is never done, and must not keep anybody awake.
    package var hasMoved: Bool {
        @_noLocks get {
            // SAFETY: a cell of the ring's own.
            let head = unsafe Int(nm_load32_acquire(headCell))
            var back = head &- hwcur
            if back < 0 { back = back &+ slotCount }
            var given = hwtail &- hwcur
            if given < 0 { given = given &+ slotCount }
            return head < slotCount && back != 0 && back <= given
        }
    }

    /// Whether a program has rejected a sync since the last call, which an operator wants to know.
    @_noLocks
    package mutating func hasComplaint() -> Bool {
        guard let cell = unsafe complaintsCell else { return false }
        // SAFETY: inside the control file, which outlives the kring.
        let count = unsafe nm_load32(cell)
        if count == complaints { return false }
        complaints = count
        return true
    }

    /// Ends `arm`.
    ///
    /// - Returns: whether bytes may lie in the descriptors' sockets.
    @_noLocks
    package func disarm() -> Bool {
        guard let control = unsafe control else { return false }
        // SAFETY: as in `arm`.
        unsafe nm_store32(control + Int(NM_KRING_SLEEPING), 0)
        guard unsafe nm_load32(control + Int(NM_KRING_KICKED)) != 0 else { return false }
        unsafe nm_store32(control + Int(NM_KRING_KICKED), 0)
        return true
    }

    /// Ends `arm` where others may sleep who have armed the ring as well.
    ///
    /// A byte that was asked for is sent once: `kicked` keeps the program from more until somebody
    /// arms the ring again. So nobody's question is taken back.
    @_noLocks
    package func keepArmed() { if hasBell { drainListeners() } }

    /// Whether to send those who have the ring bound a byte for what has happened since the last call.
    @_noLocks
    package mutating func needsNotice() -> Bool {
        guard hasNews, let control = unsafe control else { return false }
        hasNews = false
        // The program arms, fences and looks; we publish, fence and look: one of us sees the other.
        nm_fence()
        // SAFETY: as in `arm`.
        if let partner = unsafe partner {
            // A worker sleeps at the other side of a splice as it does for a program.
            guard unsafe nm_load32(partner + Int(NM_KRING_SLEEPING)) != 0,
                unsafe nm_load32(partner + Int(NM_KRING_KICKED)) == 0
            else { return false }
            unsafe nm_store32(partner + Int(NM_KRING_KICKED), 1)
            return true
        }
        let want = unsafe nm_load32(control + Int(NM_KRING_WANT))
        if want == 0 { return false }
        if want == UInt32(NM_WANT_ONCE) {
            unsafe nm_store32(control + Int(NM_KRING_WANT), UInt32(NM_WANT_NOTHING))
        } else if unsafe nm_load32(control + Int(NM_KRING_NOTIFIED)) != 0 {
            return false
        }
        unsafe nm_store32(control + Int(NM_KRING_NOTIFIED), 1)
        return true
    }

    /// Says in the control file who moves the ring's slots (`NM_KRING_*`).
    package func setMode(_ mode: Int) {
        // SAFETY: as in `arm`.
        guard let control = unsafe control else { return }
        unsafe nm_store32_release(control + Int(NM_KRING_MODE), UInt32(mode))
    }
}
