// Frames to the guest that need more than a copy into one buffer.

public import Netmap

extension Virtqueue where Format: ~Copyable {
    /// Puts one frame into as many descriptors, and if the guest merges buffers as many chains, as it
    /// needs; all of it or nothing.
    @inlinable @inline(never)
    mutating func placeInChains(
        _ frame: Frame,
        _ batch: borrowing FrameBatch,
        _ request: RawOffload,
        _ counters: DirectionCounters,
        _ scratch: inout DeliveryScratch
    ) -> Bool {
        let needed = unsafe headerLength + Int(frame.length)
        // Whoever cuts its memory into crumbs gets fewer frames, not more of a worker.
        guard work <= VisitBudget.work else {
            missing = position
            counters.drop(.ringFull)
            return false
        }
        var chains = 0
        var segments = 0
        var room = 0
        var at = position
        while room < needed {
            let available = ring.availability(at)
            guard available > 0 else {
                if available < 0 { fail(.availableIndex) }
                missing = at
                counters.drop(.ringFull)
                return false
            }
            // SAFETY: the scratch has `capacity` entries in each array.
            let chain = unsafe walk(
                at,
                writable: true,
                into: scratch.segments + segments,
                capacity: DeliveryScratch.capacity - segments
            )
            // A chain of no bytes could be had for ever; no driver makes one.
            guard chain.isValid, chain.bytes > 0 else {
                if isTranslationMissing {
                    missing = at
                    counters.drop(.ringFull)
                    return false
                }
                fail(.chainLength)
                counters.drop(.malformed)
                return false
            }
            unsafe scratch.chains[chains] =
                UInt32(chain.id)
                | UInt32(truncatingIfNeeded: chain.descriptors) &<< 16
            unsafe scratch.rooms[chains] = UInt32(
                truncatingIfNeeded: min(chain.bytes, needed - room)
            )
            segments += chain.segments
            work = work &+ VisitBudget.descriptorWork &* max(chain.segments, chain.descriptors)
            room += chain.bytes
            chains += 1
            at = ring.advance(at, by: chain.descriptors)
            if room < needed && (!mergeable || chains == DeliveryScratch.capacity) {
                counters.drop(.oversize)
                return false
            }
        }
        let high = UInt32(request.high) | UInt32(truncatingIfNeeded: chains) &<< 16
        unsafe batch.scatter(
            frame,
            header: (request.low, high),
            headerLength: headerLength,
            into: scratch.segments,
            segments
        )
        if dirty != nil {
            // Only what was written: a chain can name far more memory than a frame fills.
            var left = needed
            for k in 0..<segments where left > 0 {
                let written = unsafe min(left, scratch.segments[k].length)
                unsafe markWritten(scratch.segments[k].address, written)
                left -= written
            }
        }
        for k in 0..<chains {
            let word = unsafe scratch.chains[k]
            let descriptors = Int(word &>> 16)
            unsafe ring.setUsed(
                position,
                id: UInt16(truncatingIfNeeded: word),
                length: scratch.rooms[k],
                descriptors: descriptors
            )
            position = ring.advance(position, by: descriptors)
        }
        return true
    }

    /// Computes the checksum or cuts the segments of one frame, and delivers the result.
    ///
    /// - Parameters:
    ///   - batch: where the frame is.
    ///   - index: which it is.
    ///   - counters: those of the direction to the guest.
    ///   - scratch: memory to lend.
    ///   - finisher: does it.
    @inlinable @inline(never)
    public mutating func deliverFinished(
        _ batch: borrowing FrameBatch,
        _ index: Int,
        _ counters: DirectionCounters,
        _ scratch: inout DeliveryScratch,
        _ finisher: inout OffloadFinisher
    ) {
        guard finisher.begin(batch, index) else {
            counters.drop(.badOffload)
            return
        }
        var delivered = 0
        var bytes = 0
        while finisher.finishNext(batch, index) {
            // SAFETY: `finishNext` has just written `frame` and its segments.
            let frame = unsafe finisher.frame
            if unsafe place(frame, finisher.batch, .none, counters, &scratch) {
                delivered += 1
                bytes += unsafe Int(frame.length)
            }
        }
        if delivered != 0 { counters.count(packets: delivered, bytes: bytes) }
    }
}
