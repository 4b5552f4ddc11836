// Frames that are not one good slot: several slots, a virtio-net header in front, or nonsense.

import CNetmap

extension Kring {
    /// As `collect`, frame by frame.
    @usableFromInline @inline(never) @_noLocks
    mutating func collectFramed(
        _ available: Int,
        isAll: Bool,
        into batch: inout FrameBatch,
        _ counters: DirectionCounters
    ) {
        var j = hwcur
        var taken = 0
        var bytes = 0
        var packets = 0
        while taken < available && batch.count < FrameBatch.frameCapacity {
            let index = batch.count
            let used = collectFragments(
                from: j,
                available - taken,
                isAll: isAll,
                into: &batch,
                counters
            )
            if used == 0 { break }
            taken += used
            j += used
            if j >= slotCount { j -= slotCount }
            if batch.count != index {
                // SAFETY: `index` is below the capacity of both.
                unsafe ends[index] = UInt16(truncatingIfNeeded: taken)
                bytes += unsafe Int(batch.frames[index].length)
                packets += 1
            }
        }
        collected = taken
        if packets != 0 { counters.count(packets: packets, bytes: bytes) }
    }

    /// Collects one frame that is not a single good slot.
    ///
    /// A frame without an end that reaches the owner's head ends there, as in VALE. One that is longer
    /// than any frame may be is dropped, with all that still comes of it.
    ///
    /// - Parameters:
    ///   - start: where it begins.
    ///   - available: how many slots may be used.
    ///   - isAll: whether these reach the owner's head.
    ///   - batch: what it is appended to.
    ///   - counters: of the direction from the owner.
    /// - Returns: how many slots are used up, 0 if the frame is not complete or the batch is full.
    @usableFromInline @inline(never) @_noLocks
    mutating func collectFragments(
        from start: Int,
        _ available: Int,
        isAll: Bool,
        into batch: inout FrameBatch,
        _ counters: DirectionCounters
    ) -> Int {
        let limit = Int(NETMAP_MAX_FRAGS)
        if batch.extraSegments + limit > batch.segmentCapacity { return 0 }
        let base = batch.extraSegments
        var j = start
        var used = 0
        var pieces = 0
        var total = 0
        var isGood = true
        var flags: UInt64 = 0
        while used < available {
            // SAFETY: `j` is below `slotCount`; an address is made of a buffer index and a length that
            // were loaded once and checked; `pieces` stays below the room made sure of above.
            let word = unsafe nm_load64(slotBase + j &* NM_SLOT_SIZE)
            let index = UInt32(truncatingIfNeeded: word)
            let length = Int((word &>> 32) & 0xffff)
            if used == 0 { flags = word &>> 48 }
            used += 1
            j = j + 1 == slotCount ? 0 : j + 1
            if index >= bufferCount || length > bufferSize || pieces == limit {
                isGood = false
            } else if isGood {
                unsafe batch.segments[base + pieces] = unsafe Segment(
                    address: buffers + Int(index) &* bufferSize,
                    length: length
                )
                pieces += 1
                total += length
            }
            if (word &>> 48) & UInt64(NS_MOREFRAG) == 0 {
                if isSkipping {
                    isSkipping = false
                } else {
                    append(isGood ? pieces : 0, total, flags, &batch, counters)
                }
                return used
            }
        }
        if isSkipping { return used }
        if used > limit {
            counters.drop(.malformed)
            isSkipping = true
            return used
        }
        guard isAll else { return 0 }
        append(isGood ? pieces : 0, total, flags, &batch, counters)
        return used
    }

    /// Appends the frame whose pieces lie behind the batch's extra segments; of one without pieces, an
    /// empty frame, which the switch drops as malformed.
    @_noLocks
    private func append(
        _ pieces: Int,
        _ total: Int,
        _ flags: UInt64,
        _ batch: inout FrameBatch,
        _ counters: DirectionCounters
    ) {
        let most = FrameBatch.maximumFrameLength + headerLength
        let pieces = total <= most ? pieces : 0
        let base = batch.extraSegments
        let segments = unsafe batch.segments
        var low: UInt64 = 0
        var high: UInt16 = 0
        var piece = 0
        var taken = 0
        // SAFETY: `pieces` segments from `base` on were written just now; each byte of the header is
        // loaded once.
        while taken < headerLength && piece < pieces {
            if unsafe segments[base + piece].length == 0 {
                piece += 1
                continue
            }
            let byte = unsafe nm_load8(segments[base + piece].address)
            if taken < 8 {
                low |= UInt64(byte) &<< UInt64(8 * taken)
            } else if taken < 10 {
                high |= UInt16(byte) &<< UInt16(8 * (taken - 8))
            }
            unsafe segments[base + piece].address += 1
            unsafe segments[base + piece].length -= 1
            taken += 1
        }
        while unsafe piece + 1 < pieces && segments[base + piece].length == 0 { piece += 1 }
        let index = batch.count
        guard piece < pieces, taken == headerLength else {
            unsafe batch.frames[index] = unsafe Frame(address: buffers, length: 0)
            batch.count = index + 1
            return
        }
        let first = unsafe segments[base + piece]
        unsafe nm_prefetch(first.address)
        var frame = unsafe Frame(
            address: first.address,
            headLength: UInt32(first.length),
            length: UInt32(total - headerLength),
            firstExtra: UInt32(base + piece + 1),
            extraCount: UInt16(pieces - piece - 1)
        )
        if flags & UInt64(NS_NO_LEARN) != 0 { unsafe frame.isUnlearned = true }
        unsafe batch.frames[index] = unsafe frame
        if piece + 1 < pieces { batch.extraSegments = base + pieces }
        let request = RawOffload(low: low, high: high)
        if request.isRequest {
            // What contradicts itself is counted there, and there is no frame.
            _ = batch.appendLast(request, counters)
        } else {
            batch.count = index + 1
        }
    }
}
