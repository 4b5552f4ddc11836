// The switch's side of a netmap ring: where a batch of frames comes from and where it goes.

public import CNetmap

/// The switch's private view of a ring in a region (netmap's word for it).
///
/// Everything in the ring can be rewritten by its owner at any time, so the indices that count are
/// the private ones here, and a slot is loaded once, checked, and used from the copy
/// (netmap-spec 2.6). Used by one thread at a time; the `Region` must outlive it.
@safe public struct Kring: ~Copyable {
    @usableFromInline let base: UnsafeMutableRawPointer
    @usableFromInline let slotBase: UnsafeMutableRawPointer
    @usableFromInline let buffers: UnsafeMutableRawPointer
    @usableFromInline let slotCount: Int
    @usableFromInline let bufferSize: Int
    @usableFromInline let bufferCount: UInt32

    /// The first slot that the switch has not processed yet.
    @usableFromInline var hwcur: Int
    /// The first slot that the switch keeps for itself.
    @usableFromInline var hwtail: Int
    /// Slots of the frames in the batch that `collect` made last.
    @usableFromInline var collected = 0

    init(
        unsafeBase base: UnsafeMutableRawPointer,
        slots: Int,
        buffers: UnsafeMutableRawPointer,
        bufferSize: Int,
        bufferCount: Int,
        transmit: Bool
    ) {
        unsafe self.base = unsafe base
        unsafe slotBase = unsafe base + NM_RING_SLOTS
        unsafe self.buffers = unsafe buffers
        self.slotCount = slots
        self.bufferSize = bufferSize
        self.bufferCount = UInt32(bufferCount)
        hwcur = 0
        hwtail = transmit ? slots - 1 : 0
    }

    /// Appends the owner's next frames to `batch`, in place.
    ///
    /// A slot with a bad buffer or length ends its frame there; the frame is then too short and is
    /// dropped by the switch as malformed. An unfinished frame at head stays in the ring.
    @_noLocks @inlinable
    public mutating func collect(into batch: inout FrameBatch, counters: DirectionCounters) {
        // SAFETY: offsets are the ABI's; every index is bounded by `slotCount` before it is used and
        // every buffer index by `bufferCount`, so all addresses lie inside the region.
        let head = Int(unsafe nm_load32_acquire(base + NM_RING_HEAD))
        collected = 0
        guard head < slotCount, head != hwcur else { return }
        var available = head &- hwcur
        if available < 0 { available = available &+ slotCount }
        // Whatever the owner wrote, it never gets more slots processed than it was given.
        var given = hwtail &- hwcur
        if given < 0 { given = given &+ slotCount }
        if available > given { available = given }

        var j = hwcur
        var bytes = 0
        var multicast = 0
        let limit = FrameBatch.frameCapacity
        let frames = unsafe batch.frames
        var count = batch.count
        let first = count
        var taken = 0
        while taken < available && count < limit {
            let word = unsafe nm_load64(slotBase + j &* NM_SLOT_SIZE)
            let index = UInt32(truncatingIfNeeded: word)
            let length = Int((word &>> 32) & 0xffff)
            let flags = UInt32(truncatingIfNeeded: word &>> 48)
            guard index < bufferCount, length <= bufferSize, flags & UInt32(NS_MOREFRAG) == 0 else {
                batch.count = count
                let used = collectFragments(from: j, available &- taken, into: &batch)
                if used == 0 { break }
                bytes = bytes &+ Int(unsafe frames[count].length)
                count = batch.count
                taken = taken &+ used
                j = j &+ used
                if j >= slotCount { j = j &- slotCount }
                continue
            }
            let address = unsafe buffers + Int(index) &* bufferSize
            unsafe nm_prefetch(address)
            unsafe frames[count] = unsafe Frame(
                address: address,
                length: UInt32(truncatingIfNeeded: length)
            )
            count = count &+ 1
            bytes = bytes &+ length
            taken = taken &+ 1
            j = j &+ 1
            if j == slotCount { j = 0 }
        }
        batch.count = count
        collected = taken
        multicast = 0
        if count != first {
            counters.count(packets: count &- first, bytes: bytes, multicast: multicast)
        }
    }

    /// Collects one frame that is not a single good slot.
    ///
    /// - Returns: how many slots it takes, 0 if it is not complete yet.
    @usableFromInline @inline(never) @_noLocks
    mutating func collectFragments(
        from start: Int,
        _ available: Int,
        into batch: inout FrameBatch
    ) -> Int {
        // A frame has up to 64 fragments; without room for them it waits for the next batch.
        if batch.extraSegments + 64 > batch.segmentCapacity { return 0 }
        var j = start
        var used = 0
        var total = 0
        var first = unsafe Segment(address: buffers, length: 0)
        let firstExtra = batch.extraSegments
        var good = true
        while used < available {
            // SAFETY: as in `collect`.
            let word = unsafe nm_load64(slotBase + j &* NM_SLOT_SIZE)
            let index = UInt32(truncatingIfNeeded: word)
            let length = Int((word &>> 32) & 0xffff)
            used += 1
            j = j + 1 == slotCount ? 0 : j + 1
            if index >= bufferCount || length > bufferSize || used > 64 {
                good = false
            } else if good {
                let piece = unsafe Segment(
                    address: buffers + Int(index) * bufferSize,
                    length: length
                )
                if used == 1 {
                    unsafe first = unsafe piece
                } else {
                    unsafe batch.segments[batch.extraSegments] = unsafe piece
                    batch.extraSegments += 1
                }
                total += length
            }
            if (word &>> 48) & UInt64(NS_MOREFRAG) == 0 {
                if total > FrameBatch.maximumFrameLength { good = false }
                if !good {
                    batch.extraSegments = firstExtra
                    total = 0
                    unsafe first.length = 0
                }
                unsafe batch.frames[batch.count] = unsafe Frame(
                    address: first.address,
                    headLength: UInt32(first.length),
                    length: UInt32(total),
                    firstExtra: UInt32(firstExtra),
                    extraCount: UInt16(batch.extraSegments - firstExtra)
                )
                batch.count += 1
                return used
            }
        }
        batch.extraSegments = firstExtra
        return 0
    }

    /// Gives the collected slots back to the owner, as VALE does: the sender always gets its ring.
    @_noLocks @inlinable
    public mutating func completeCollected() {
        guard collected != 0 else { return }
        hwcur = hwcur &+ collected
        if hwcur >= slotCount { hwcur = hwcur &- slotCount }
        hwtail = hwcur == 0 ? slotCount &- 1 : hwcur &- 1
        collected = 0
        // SAFETY: a fixed offset inside the ring's header.
        unsafe nm_store32_release(
            base + NM_RING_TAIL,
            UInt32(truncatingIfNeeded: hwtail)
        )
    }

    /// Copies the frames of `batch` that `list` names into free slots, in order.
    ///
    /// All fragments of a frame or none: what does not fit is counted in `counters`. The ring has no
    /// virtio-net header, so `finisher` completes frames that ask for a checksum or segmentation.
    @inlinable
    public mutating func deliver(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ listCount: Int,
        counters: DirectionCounters,
        finisher: inout OffloadFinisher
    ) {
        var k = 0
        while true {
            k = unsafe deliverRun(batch, list, from: k, to: listCount, counters)
            if k == listCount { return }
            // SAFETY: `k` is below `listCount`.
            unsafe deliverFinished(batch, Int(list[k]), counters, &finisher)
            k = k &+ 1
        }
    }

    @usableFromInline @inline(never)
    mutating func deliverFinished(
        _ batch: borrowing FrameBatch,
        _ index: Int,
        _ counters: DirectionCounters,
        _ finisher: inout OffloadFinisher
    ) {
        guard finisher.begin(batch, index) else {
            counters.drop(.badOffload)
            return
        }
        let zero: UInt16 = 0
        while finisher.finishNext(batch, index) {
            // SAFETY: a list of one index, that of the frame which `finishNext` has just made.
            unsafe finisher.batch.frames[0] = unsafe finisher.frame
            unsafe withUnsafePointer(to: zero) { list in
                _ = unsafe deliverRun(finisher.batch, list, from: 0, to: 1, counters)
            }
        }
    }

    /// Delivers frames until one needs software, and publishes them at once.
    ///
    /// - Returns: the position in `list` of that frame, or `end`.
    @_noLocks @inlinable
    mutating func deliverRun(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        from begin: Int,
        to end: Int,
        _ counters: DirectionCounters
    ) -> Int {
        // SAFETY: as in `collect`; `list` holds `listCount` indices below `batch.count`, which the
        // forwarding plan guarantees.
        var head = Int(unsafe nm_load32_acquire(base + NM_RING_HEAD))
        if head >= slotCount { head = hwtail }
        // Free slots: from hwtail up to one before the owner's head.
        var free = head &- hwtail &- 1
        if free < 0 { free = free &+ slotCount }
        let start = hwtail
        var j = hwtail
        var delivered = 0
        var bytes = 0
        let frames = unsafe batch.frames
        var k = begin
        while k < end {
            let index = unsafe Int(list[k])
            let frame = unsafe frames[index]
            let length = unsafe Int(frame.length)
            guard free > 0, length <= bufferSize, unsafe frame.isPlain else {
                if unsafe frame.offload { break }
                hwtail = j
                let used = deliverFragments(batch, index, free, counters)
                free = free &- used
                j = hwtail
                if used != 0 {
                    delivered = delivered &+ 1
                    bytes = bytes &+ length
                }
                k = k &+ 1
                continue
            }
            let cell = unsafe slotBase + j &* NM_SLOT_SIZE
            let buffer = unsafe nm_load32(cell)
            if buffer < bufferCount {
                unsafe nm_copy(buffers + Int(buffer) &* bufferSize, frame.address, length)
                unsafe nm_store64(
                    cell,
                    UInt64(buffer) | UInt64(truncatingIfNeeded: length) &<< 32
                        | UInt64(1 &<< 8) &<< 48
                )
                free = free &- 1
                delivered = delivered &+ 1
                bytes = bytes &+ length
                j = j &+ 1
                if j == slotCount { j = 0 }
            } else {
                counters.drop(.malformed)
            }
            k = k &+ 1
        }
        hwtail = j
        if j != start {
            unsafe nm_store32_release(
                base + NM_RING_TAIL,
                UInt32(truncatingIfNeeded: j)
            )
        }
        if delivered != 0 { counters.count(packets: delivered, bytes: bytes) }
        return k
    }

    /// Delivers one frame that has several segments or needs several slots, or counts why not.
    ///
    /// - Returns: how many slots it took.
    @usableFromInline @inline(never) @_noLocks
    mutating func deliverFragments(
        _ batch: borrowing FrameBatch,
        _ index: Int,
        _ free: Int,
        _ counters: DirectionCounters
    ) -> Int {
        let length = unsafe Int(batch.frames[index].length)
        let needed = (length + bufferSize - 1) / bufferSize
        guard needed <= 64 else {
            counters.drop(.oversize)
            return 0
        }
        guard needed <= free else {
            counters.drop(.ringFull)
            return 0
        }
        var j = hwtail
        for fragment in 0..<needed {
            // SAFETY: as in `collect`.
            let cell = unsafe slotBase + j * NM_SLOT_SIZE
            let buffer = unsafe nm_load32(cell)
            guard buffer < bufferCount else {
                counters.drop(.malformed)
                return 0
            }
            let piece = min(bufferSize, length - fragment * bufferSize)
            unsafe batch.copy(
                index,
                from: fragment * bufferSize,
                length: piece,
                to: buffers + Int(buffer) * bufferSize
            )
            var flags = UInt64(needed) << 8
            if fragment + 1 < needed { flags |= UInt64(NS_MOREFRAG) }
            unsafe nm_store64(cell, UInt64(buffer) | UInt64(piece) << 32 | flags << 48)
            j = j + 1 == slotCount ? 0 : j + 1
        }
        hwtail = j
        return needed
    }
}
