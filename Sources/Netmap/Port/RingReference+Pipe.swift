// Pipes whose ends move the slots themselves (NM_KRING_PIPE): in runs, 16 bytes at a time, with the flags looked
// at once a run.

import CNetmap

extension RingReference {
    // SAFETY (whole extension): as in the type; the other end's ring has as many slots.

    /// Copies slots in a row as they are, each in one move.
    ///
    /// - Returns: their first words, one over the other, and the sum of their lengths.
    @_noLocks
    private func copyRun(
        _ from: UnsafeMutableRawPointer,
        _ to: UnsafeMutableRawPointer,
        _ count: UInt32
    ) -> (words: UInt64, bytes: UInt64) {
        var (words, bytes) = (UInt64(0), UInt64(0))
        var offset = 0
        for _ in 0..<count {
            let slot = unsafe (from + offset).loadUnaligned(as: SIMD2<UInt64>.self)
            unsafe (to + offset).storeBytes(of: slot, as: SIMD2<UInt64>.self)
            words |= slot.x
            bytes &+= (slot.x &>> 32) & 0xffff
            offset = offset &+ NM_SLOT_SIZE
        }
        return (words, bytes)
    }

    /// Slots from ..< to go to the same places of the other end's ring; their own lose NS_BUF_CHANGED.
    ///
    /// - Returns: the flags that any of them had, and the sum of their lengths.
    @_noLocks
    private func copySlots(
        _ ring: UnsafeMutableRawPointer,
        _ from: UInt32,
        _ to: UInt32
    ) -> (flags: UInt16, bytes: UInt64) {
        guard let peerRing = unsafe peerRing else { return (0, 0) }
        var (words, bytes) = (UInt64(0), UInt64(0))
        var at = from
        while at != to {
            let count = unsafe run(at, to)
            let offset = NM_RING_SLOTS + Int(at) &* NM_SLOT_SIZE
            let part = unsafe copyRun(ring + offset, peerRing + offset, count)
            words |= part.words
            bytes &+= part.bytes
            at = unsafe at &+ count == slots ? 0 : at &+ count
        }
        let flags = UInt16(truncatingIfNeeded: words &>> 48)
        if flags & UInt16(NS_BUF_CHANGED) != 0 { unsafe passOver(ring, from, to) }
        return (flags, bytes)
    }

    @_noLocks
    private func tell(_ peer: UnsafeMutableRawPointer) -> Step {
        nm_fence()
        return unsafe nm_load32(peer + Int(NM_KRING_WANT)) == 0 ? .published : .publishedToSleeper
    }

    /// Where the last complete frame in from ..< to ends, and how many there are; `limit` if there is none.
    ///
    /// Reads what the other end was given, not what the program may write meanwhile.
    @_noLocks
    private func complete(_ from: UInt32, _ to: UInt32, _ limit: UInt32) -> (UInt32, UInt64) {
        guard let peerRing = unsafe peerRing else { return (limit, 0) }
        var limit = limit
        var packets: UInt64 = 0
        var index = from
        while index != to {
            let slot = unsafe peerRing + NM_RING_SLOTS + Int(index) &* NM_SLOT_SIZE
            index = unsafe next(index)
            if unsafe nm_load16(slot + NM_SLOT_FLAGS) & UInt16(NS_MOREFRAG) == 0 {
                limit = index
                packets &+= 1
            }
        }
        return (limit, packets)
    }

    /// Whole slots to the receiver, who is shown them up to the end of the last complete frame.
    @_noLocks
    func handOver(_ ring: UnsafeMutableRawPointer, _ from: UInt32, _ to: UInt32) -> Step {
        guard let peer = unsafe peerKring else { return .failed }
        let before = unsafe nm_load32(peer + Int(NM_KRING_HWTAIL))
        let moved = unsafe copySlots(ring, from, to)
        var (limit, packets) = unsafe (to, UInt64(distance(from, to)))
        if moved.flags & UInt16(NS_MOREFRAG) != 0 {
            (limit, packets) = unsafe complete(from, to, before)
        }
        let words = unsafe kring.assumingMemoryBound(to: nm_kring.self)
        unsafe nm_count(&words.pointee.packets, packets)
        unsafe nm_count(&words.pointee.bytes, moved.bytes)
        unsafe nm_store32(kring + Int(NM_KRING_HWCUR), to)
        unsafe nm_store32_release(kring + Int(NM_KRING_HEAD), to)
        if limit == before { return .published }
        unsafe nm_store32_release(peer + Int(NM_KRING_HWTAIL), limit)
        return unsafe tell(peer)
    }

    /// Released slots go back with the buffers in them; the sender's tail is the last of them.
    @_noLocks
    func handBack(_ ring: UnsafeMutableRawPointer, _ from: UInt32, _ to: UInt32) -> Step {
        guard let peer = unsafe peerKring else { return .failed }
        _ = unsafe copySlots(ring, from, to)
        unsafe nm_store32(kring + Int(NM_KRING_HWCUR), to)
        unsafe nm_store32_release(kring + Int(NM_KRING_HEAD), to)
        unsafe nm_store32_release(peer + Int(NM_KRING_HWTAIL), to == 0 ? slots &- 1 : to &- 1)
        return unsafe tell(peer)
    }
}
