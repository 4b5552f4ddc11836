// Frames that are not one good slot: several slots, a virtio-net header in front, or nonsense.

import CNetmap

extension Kring {
    /// As `collect`, frame by frame.
    @usableFromInline @inline(never) @_noLocks
    mutating func collectFramed(
        _ available: Int,
        into batch: inout FrameBatch,
        _ counters: DirectionCounters
    ) {
        var j = hwcur
        var taken = 0
        var bytes = 0
        var packets = 0
        while taken < available && batch.count < FrameBatch.frameCapacity {
            let index = batch.count
            let used = collectFragments(from: j, available - taken, into: &batch, counters)
            if used == 0 { break }
            taken += used
            j += used
            if j >= slotCount { j -= slotCount }
            if batch.count != index {
                // SAFETY: `index` is below the capacity.
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
    ///   - available: how many slots may be used; `reachesHead` says whether there are no more.
    ///   - batch: what it is appended to.
    ///   - counters: of the direction from the owner.
    /// - Returns: how many slots are used up, 0 if the frame is not complete or the batch is full.
    @usableFromInline @inline(never) @_noLocks
    mutating func collectFragments(
        from start: Int,
        _ available: Int,
        into batch: inout FrameBatch,
        _ counters: DirectionCounters
    ) -> Int {
        let before = batch.count
        let used = takeFragments(from: start, available, into: &batch, counters)
        if used == 0 || (used == 1 && batch.count != before) { return used }
        if !isUneven {
            isUneven = true
            // SAFETY: all of the array; a loop, as a call that fills it may not be made here.
            for k in 0...FrameBatch.frameCapacity { unsafe extras[k] = 0 }
        }
        noteUneven(used, isFrame: batch.count != before, before: batch.count)
        return used
    }

    @_noLocks
    private mutating func takeFragments(
        from start: Int,
        _ available: Int,
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
        while used < available {
            // SAFETY: `j` is below `slotCount`; an address is made of a buffer index and a length that
            // were loaded once and checked; `pieces` stays below the room made sure of above.
            let word = unsafe nm_load64(slotBase + j &* NM_SLOT_SIZE)
            let index = UInt32(truncatingIfNeeded: word)
            let length = Int((word &>> 32) & 0xffff)
            if used == 0, !isSkipping {
                // A batch is learned or not as a whole; a frame of the other kind begins the next one.
                let isUnlearned = (word &>> 48) & UInt64(NS_NO_LEARN) != 0
                if batch.count == 0 { batch.isUnlearned = isUnlearned }
                if isUnlearned != batch.isUnlearned { return 0 }
                // Beside NS_NO_LEARN only: in a slot that was received, and its flags copied, there is the
                // number of the frame's slots instead (NS_RFRAGS).
                if isUnlearned {
                    unsafe batch.ports[batch.count] = UInt8(truncatingIfNeeded: word &>> 56)
                }
            }
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
                    append(isGood ? pieces : 0, total, &batch, counters)
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
        guard reachesHead else { return 0 }
        append(isGood ? pieces : 0, total, &batch, counters)
        return used
    }

    /// Appends the frame whose pieces lie behind the batch's extra segments; of one without pieces, an
    /// empty frame, which the switch drops as malformed.
    @_noLocks
    private func append(
        _ pieces: Int,
        _ total: Int,
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
        unsafe batch.frames[index] = unsafe Frame(
            address: first.address,
            headLength: UInt32(first.length),
            length: UInt32(total - headerLength),
            firstExtra: UInt32(base + piece + 1),
            extraCount: UInt16(pieces - piece - 1)
        )
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
