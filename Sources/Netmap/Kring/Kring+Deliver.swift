// Frames for the owner: copied into the buffers of slots that it gave back.

public import CNetmap

extension Kring {
    /// Copies the frames of `batch` that `list` names into free slots, in order.
    ///
    /// All fragments of a frame or none: what does not fit is counted in `counters`. Of a ring without
    /// virtio-net headers `finisher` completes frames that ask for a checksum or segmentation.
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
        takeBack()
        // Free slots: from hwtail up to one before those that the owner has not given back.
        var free = hwcur &- hwtail &- 1
        if free < 0 { free = free &+ slotCount }
        if headerLength != 0 {
            return unsafe deliverFramed(batch, list, begin, end, free, counters)
        }
        let start = hwtail
        var j = hwtail
        var delivered = 0
        var bytes = 0
        let frames = unsafe batch.frames
        let piece = pieceSize
        var k = begin
        while k < end {
            let index = unsafe Int(list[k])
            let frame = unsafe frames[index]
            let length = unsafe Int(frame.length)
            guard free > 0, length <= piece, unsafe frame.isPlain else {
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
        if j != start { publish() }
        if delivered != 0 { counters.count(packets: delivered, bytes: bytes) }
        return k
    }

    /// Takes the slots that the owner has given back, as far as they were its own.
    @_noLocks @inlinable
    mutating func takeBack() {
        // SAFETY: cells of the ring's own.
        let head = Int(unsafe nm_load32_acquire(headCell))
        var back = head &- hwcur
        if back < 0 { back = back &+ slotCount }
        var given = hwtail &- hwcur
        if given < 0 { given = given &+ slotCount }
        guard head < slotCount, back <= given, back != 0 else { return }
        if watchers != 0 { swap(hwcur, back) }
        hwcur = head
        unsafe nm_store32(hwcurCell, UInt32(truncatingIfNeeded: head))
    }

    /// Takes the slots that the owner has given back.
    ///
    /// - Returns: whether there were any.
    package mutating func release() -> Bool {
        let before = hwcur
        takeBack()
        return hwcur != before
    }

    /// Makes what was delivered the owner's.
    @_noLocks @inlinable
    mutating func publish() {
        hasNews = true
        if watchers != 0, !isTransmit { showDelivered() }
        published = hwtail
        // SAFETY: as in `takeBack`.
        unsafe nm_store32_release(hwtailCell, UInt32(truncatingIfNeeded: hwtail))
    }

    @usableFromInline @inline(never) @_noLocks
    func showDelivered() {
        let count = hwtail - published
        show(published, count < 0 ? count + slotCount : count)
    }

    /// As `deliverRun`, for a ring with virtio-net headers, which takes every request as it is.
    @usableFromInline @inline(never) @_noLocks
    mutating func deliverFramed(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ begin: Int,
        _ end: Int,
        _ free: Int,
        _ counters: DirectionCounters
    ) -> Int {
        var free = free
        var delivered = 0
        var bytes = 0
        for k in begin..<end {
            // SAFETY: as in `deliverRun`.
            let index = unsafe Int(list[k])
            let used = deliverFragments(batch, index, free, counters)
            if used == 0 { continue }
            free -= used
            delivered += 1
            bytes += unsafe Int(batch.frames[index].length)
        }
        if delivered != 0 {
            publish()
            counters.count(packets: delivered, bytes: bytes)
        }
        return end
    }

    /// How many slots a frame takes.
    @_noLocks
    func slotsNeeded(_ frame: Frame) -> Int {
        let length = unsafe Int(frame.length) + headerLength
        return (length + pieceSize - 1) / pieceSize
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
        let frame = unsafe batch.frames[index]
        let length = unsafe Int(frame.length) + headerLength
        let needed = unsafe slotsNeeded(frame)
        guard needed <= Int(NETMAP_MAX_FRAGS), needed < slotCount else {
            counters.drop(.oversize)
            return 0
        }
        guard needed <= free else {
            counters.drop(.ringFull)
            return 0
        }
        var header = RawOffload.none
        if unsafe frame.offload { unsafe header = batch.headers[index] }
        var j = hwtail
        for fragment in 0..<needed {
            // SAFETY: as in `collect`; a buffer is written up to `bufferSize` bytes at most.
            let cell = unsafe slotBase + j * NM_SLOT_SIZE
            let buffer = unsafe nm_load32(cell)
            guard buffer < bufferCount else {
                counters.drop(.malformed)
                return 0
            }
            let piece = min(pieceSize, length - fragment * pieceSize)
            let room = unsafe buffers + Int(buffer) * bufferSize
            // The header lies in the first buffer, which is longer than it.
            let lead = fragment == 0 ? headerLength : 0
            for k in 0..<lead {
                let byte =
                    k < 8
                    ? UInt8(truncatingIfNeeded: header.low &>> UInt64(8 * k))
                    : k < 10 ? UInt8(truncatingIfNeeded: header.high &>> UInt16(8 * (k - 8))) : 0
                unsafe nm_store8(room + k, byte)
            }
            unsafe batch.copy(
                index,
                from: fragment * pieceSize - (headerLength - lead),
                length: piece - lead,
                to: room + lead
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
