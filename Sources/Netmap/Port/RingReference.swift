// What a program's ring and whoever moves its frames tell each other: the program's side of a sync
// (netmap_wire.h). NetmapShim/sync.c is the same for C programs.

import CNetmap
import Glibc

/// Where a bound ring lies, settled when it was bound: nothing in shared memory leads out of it.
@unsafe struct RingReference {
    /// Its netmap_ring; nil if it has none.
    let ring: UnsafeMutableRawPointer?
    let kring: UnsafeMutableRawPointer
    /// The other end of a pipe whose ends move the slots themselves.
    let peerRing: UnsafeMutableRawPointer?
    let peerKring: UnsafeMutableRawPointer?
    let slots: UInt32
    let isTransmit: Bool
    let bufferCount: UInt32
    let bufferSize: UInt32
    /// Where the port's rejected syncs are counted for the engine's log.
    let complaints: UnsafeMutableRawPointer
    private var busyHolder: UInt32 = 0
    private var busySince: UInt64 = 0

    init(
        ring: UnsafeMutableRawPointer?,
        kring: UnsafeMutableRawPointer,
        peer: (ring: UnsafeMutableRawPointer, kring: UnsafeMutableRawPointer)?,
        slots: UInt32,
        isTransmit: Bool,
        bufferCount: UInt32,
        bufferSize: UInt32,
        complaints: UnsafeMutableRawPointer
    ) {
        unsafe self.complaints = unsafe complaints
        unsafe self.ring = unsafe ring
        unsafe self.kring = unsafe kring
        unsafe peerRing = unsafe peer?.ring
        unsafe peerKring = unsafe peer?.kring
        unsafe self.slots = slots
        unsafe self.isTransmit = isTransmit
        unsafe self.bufferCount = bufferCount
        unsafe self.bufferSize = bufferSize
    }

    /// How a sync went on.
    enum Step {
        /// The ring is locked, and slots were given away; `finish` comes next.
        case published
        /// The same, and somebody is to be woken before.
        case publishedToSleeper
        /// There is nothing to do, and the ring is not locked.
        case nothing
        /// Another thread syncs it.
        case busy
        /// The indices made no sense and were set right.
        case fault
        /// It cannot be synced.
        case failed
        /// It was taken away.
        case stopped
    }

    // SAFETY (whole type): fields are at the ABI's offsets in a ring, a kring and slots that were checked
    // against their mappings when the port was bound; indices are loaded once and checked against `slots`.

    /// Checks what the program wrote and gives its slots away.
    @_noLocks
    mutating func begin() -> Step {
        let seen = unsafe nm_load32(kring + Int(NM_KRING_MODE))
        if seen == UInt32(NM_KRING_DUMMY) || seen == UInt32(NM_KRING_NONE) { return .nothing }
        guard let ring = unsafe ring else { return .failed }
        guard unsafe nm_replace32(kring, 0, nm_own_thread()) != 0 else { return .busy }
        // The engine changes the mode, then waits for the lock: from here on it is what it is.
        let mode = unsafe nm_load32(kring + Int(NM_KRING_MODE))
        let isPipe = mode == UInt32(NM_KRING_PIPE)
        guard mode == UInt32(NM_KRING_ENGINE) || isPipe, unsafe !isPipe || peerRing != nil else {
            unsafe unlock()
            return mode == UInt32(NM_KRING_STOPPED) ? .stopped : .failed
        }
        let head = unsafe nm_load32_acquire(ring + NM_RING_HEAD)
        let cur = unsafe nm_load32(ring + NM_RING_CUR)
        let base = unsafe nm_load32(kring + Int(NM_KRING_HEAD))
        let limit = unsafe nm_load32(
            kring + Int(isTransmit ? NM_KRING_TAIL : NM_KRING_HWTAIL)
        )
        // These two are not the program's; if they are wrong, there is nothing to set right.
        guard unsafe base < slots, unsafe limit < slots else {
            unsafe unlock()
            return .failed
        }
        guard unsafe accepts(head, cur, base, limit) else {
            unsafe setRight(ring, base)
            unsafe unlock()
            return .fault
        }
        unsafe nm_store32(kring + Int(NM_KRING_CUR), cur)
        guard head != base else { return .published }
        if isPipe {
            return unsafe isTransmit ? handOver(ring, base, head) : handBack(ring, base, head)
        }
        unsafe passOver(ring, base, head)
        unsafe nm_store32_release(kring + Int(NM_KRING_HEAD), head)
        // Pairs with the engine's fence between arming and looking.
        nm_fence()
        return unsafe nm_load32(kring + Int(NM_KRING_SLEEPING)) == 0
            ? .published : .publishedToSleeper
    }

    /// Shows the program what has been done, or has come.
    ///
    /// - Parameter stamp: seconds and microseconds for a receive ring.
    @_noLocks
    mutating func finish(stamp: (Int64, Int64)?) {
        guard let ring = unsafe ring else { return }
        let hwtail = unsafe nm_load32_acquire(kring + Int(NM_KRING_HWTAIL))
        if unsafe hwtail < slots {
            unsafe nm_store32(kring + Int(NM_KRING_TAIL), hwtail)
            unsafe nm_store32_release(ring + NM_RING_TAIL, hwtail)
        }
        if let stamp, unsafe !isTransmit {
            unsafe nm_store64(ring + NM_RING_TS, UInt64(bitPattern: stamp.0))
            unsafe nm_store64(ring + NM_RING_TS + 8, UInt64(bitPattern: stamp.1))
        }
        unsafe unlock()
    }

    @_noLocks
    private func unlock() { unsafe nm_store32_release(kring, 0) }

    @_noLocks
    func distance(_ from: UInt32, _ to: UInt32) -> UInt32 {
        unsafe to >= from ? to &- from : to &+ slots &- from
    }

    @_noLocks
    func next(_ index: UInt32) -> UInt32 {
        unsafe index &+ 1 == slots ? 0 : index &+ 1
    }

    /// Whether head and cur are between what was given away and what may be (netmap-spec 2.6).
    @_noLocks
    private func accepts(_ head: UInt32, _ cur: UInt32, _ base: UInt32, _ limit: UInt32) -> Bool {
        let room = unsafe distance(base, limit)
        guard unsafe head < slots, unsafe distance(base, head) <= room else {
            unsafe reject(NM_FAULT_HEAD, head, base, limit)
            return false
        }
        guard unsafe cur < slots, unsafe distance(base, cur) >= distance(base, head),
            unsafe distance(base, cur) <= room
        else {
            unsafe reject(NM_FAULT_CUR, cur, head, limit)
            return false
        }
        return true
    }

    @_noLocks
    private func reject(_ fault: Int, _ value: UInt32, _ low: UInt32, _ high: UInt32) {
        let words = unsafe kring.assumingMemoryBound(to: nm_kring.self)
        unsafe nm_store32(&words.pointee.fault, UInt32(fault))
        unsafe nm_store32(&words.pointee.fault_value, value)
        unsafe nm_store32(&words.pointee.fault_low, low)
        unsafe nm_store32(&words.pointee.fault_high, high)
        unsafe nm_store32(&words.pointee.rejects, nm_load32(&words.pointee.rejects) &+ 1)
        unsafe nm_store32(complaints, nm_load32(complaints) &+ 1)
    }

    /// Sets a ring right whose indices somebody spoiled: back to what was given away last.
    @_noLocks
    private func setRight(_ ring: UnsafeMutableRawPointer, _ base: UInt32) {
        var slot = unsafe ring + NM_RING_SLOTS
        for _ in unsafe 0..<slots {
            let buffer = unsafe nm_load32(slot)
            if unsafe buffer < 2 || buffer >= bufferCount {
                unsafe nm_store32(slot, 0)
                unsafe nm_store16(slot + NM_SLOT_LEN, 0)
            } else if unsafe UInt32(nm_load16(slot + NM_SLOT_LEN)) > bufferSize {
                unsafe nm_store16(slot + NM_SLOT_LEN, 0)
            }
            unsafe slot += NM_SLOT_SIZE
        }
        let hwtail = unsafe nm_load32_acquire(kring + Int(NM_KRING_HWTAIL))
        unsafe nm_store32(ring + NM_RING_HEAD, base)
        unsafe nm_store32(ring + NM_RING_CUR, base)
        unsafe nm_store32(kring + Int(NM_KRING_CUR), base)
        guard unsafe hwtail < slots else { return }
        unsafe nm_store32(ring + NM_RING_TAIL, hwtail)
        unsafe nm_store32(kring + Int(NM_KRING_TAIL), hwtail)
    }

    /// How many slots lie in a row from `at` on, towards `to`.
    @_noLocks
    func run(_ at: UInt32, _ to: UInt32) -> UInt32 {
        unsafe (to > at ? to : slots) &- at
    }

    /// Clears NS_BUF_CHANGED, and nothing else (netmap-spec, trap 19).
    @_noLocks
    func passOver(_ ring: UnsafeMutableRawPointer, _ from: UInt32, _ to: UInt32) {
        var at = from
        while at != to {
            let count = unsafe run(at, to)
            var flags = unsafe ring + NM_RING_SLOTS + Int(at) &* NM_SLOT_SIZE + NM_SLOT_FLAGS
            for _ in 0..<count {
                let value = unsafe nm_load16(flags)
                if value & UInt16(NS_BUF_CHANGED) != 0 {
                    unsafe nm_store16(flags, value & ~UInt16(NS_BUF_CHANGED))
                }
                unsafe flags += NM_SLOT_SIZE
            }
            at = unsafe at &+ count == slots ? 0 : at &+ count
        }
    }

    // MARK: A dead holder's lock, waiting

    /// Frees the ring if whoever has held it for 10 ms is no more: kill -9 comes at any time.
    ///
    /// - Returns: whether it was freed.
    mutating func unlockForTheDead() -> Bool {
        let holder = unsafe nm_load32(kring)
        let now = nm_monotonic_ns()
        guard holder != 0, unsafe holder == busyHolder, unsafe busySince != 0 else {
            unsafe busyHolder = holder
            unsafe busySince = now
            return false
        }
        guard unsafe now &- busySince > 10_000_000 else { return false }
        unsafe busySince = 0
        guard kill(pid_t(bitPattern: holder), 0) < 0, errno == ESRCH else { return false }
        return unsafe nm_replace32(kring, holder, 0) != 0
    }

    /// Asks for a byte at the next news.
    @_noLocks
    func arm() {
        _ = unsafe nm_replace32(
            kring + Int(NM_KRING_WANT),
            UInt32(NM_WANT_NOTHING),
            UInt32(NM_WANT_ONCE)
        )
    }

    /// The byte was taken.
    @_noLocks
    func disarm() { unsafe nm_store32(kring + Int(NM_KRING_NOTIFIED), 0) }

    /// Whether the program has something to do with it: cur, not head, counts (netmap-spec, trap 14).
    var isReady: Bool {
        guard let ring = unsafe ring else { return false }
        return unsafe nm_load32(ring + NM_RING_CUR) != nm_load32(ring + NM_RING_TAIL)
    }

    /// Whether a sync would bring something.
    var hasNews: Bool {
        unsafe nm_load32(kring + Int(NM_KRING_HWTAIL)) != nm_load32(kring + Int(NM_KRING_TAIL))
    }

    /// Whether the program has moved head since the last sync.
    var hasPending: Bool {
        guard let ring = unsafe ring else { return false }
        return unsafe nm_load32(ring + NM_RING_HEAD) != nm_load32(kring + Int(NM_KRING_HEAD))
    }
}
