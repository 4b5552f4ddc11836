// The guest's receive queue: where frames go.

public import CNetmap
public import Netmap

extension Virtqueue where Format: ~Copyable {
    /// Copies the frames of `batch` that `list` names into the guest's buffers, in order.
    ///
    /// A frame whose offload request the guest does not take is finished in software first, by
    /// `finisher`. What cannot be delivered is counted in `counters` with its reason.
    ///
    /// - Parameters:
    ///   - batch: where the frames are.
    ///   - list: indices of frames in `batch`.
    ///   - listCount: how many.
    ///   - counters: those of the direction to the guest.
    ///   - scratch: memory to lend.
    ///   - finisher: for frames whose offload request the guest does not take.
    @inlinable
    public mutating func deliver(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ listCount: Int,
        counters: DirectionCounters,
        scratch: inout DeliveryScratch,
        finisher: inout OffloadFinisher
    ) {
        var k = 0
        while true {
            k = unsafe deliverRun(batch, list, from: k, to: listCount, counters, &scratch)
            if k == listCount { break }
            // SAFETY: `k` is below `listCount`.
            unsafe deliverFinished(batch, Int(list[k]), counters, &scratch, &finisher)
            k = k &+ 1
        }
        publish()
    }

    /// Lets the guest see what was delivered since the last call; then ask `needsInterrupt`.
    @inlinable
    public mutating func publish() {
        work = 0
        if position != published {
            published = position
            publishRing()
        }
    }

    /// Delivers frames until one needs software.
    ///
    /// - Parameters:
    ///   - batch: where the frames are.
    ///   - list: indices of frames in `batch`.
    ///   - begin: where in `list` to begin.
    ///   - end: where to end.
    ///   - counters: those of the direction to the guest.
    ///   - scratch: memory to lend.
    /// - Returns: the position in `list` of that frame, or `end`.
    @inlinable
    public mutating func deliverRun(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        from begin: Int,
        to end: Int,
        _ counters: DirectionCounters,
        _ scratch: inout DeliveryScratch
    ) -> Int {
        var delivered = 0
        var bytes = 0
        var offloaded = 0
        beginVisit()
        warm(end &- begin, writing: true)
        var k = unsafe placePlain(batch, list, from: begin, to: end, &bytes)
        delivered = k &- begin
        // SAFETY: `list` holds `end` indices below `batch.count` (the forwarding plan's word).
        let frames = unsafe batch.frames
        while k < end {
            let index = unsafe Int(list[k])
            let frame = unsafe frames[index]
            var request = RawOffload.none
            if unsafe frame.offload {
                request = unsafe batch.headers[index]
                if !request.isAccepted(by: acceptedOffloads) { break }
            }
            if unsafe place(frame, batch, request, counters, &scratch) {
                delivered = delivered &+ 1
                bytes = bytes &+ Int(unsafe frame.length)
                if unsafe frame.offload { offloaded = offloaded &+ 1 }
            }
            k = k &+ 1
        }
        if delivered != 0 {
            counters.count(packets: delivered, bytes: bytes, offloaded: offloaded)
        }
        return k
    }

    /// Delivers frames as long as nothing is special.
    ///
    /// One segment, no offload, one large enough buffer, in the region of the last one; everything else
    /// is `place`'s business.
    ///
    /// - Returns: the position in `list` of the first frame that was not delivered.
    @inlinable @inline(__always)
    mutating func placePlain(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        from begin: Int,
        to end: Int,
        _ bytes: inout Int
    ) -> Int {
        guard headerLength == 12, !isFaulty, dirty == nil else { return begin }
        // SAFETY: as in `deliverRun` and `translate`.
        let frames = unsafe batch.frames
        let region = unsafe regions[lastRegion]
        var at = position
        var k = begin
        while k < end {
            let frame = unsafe frames[Int(list[k])]
            guard unsafe frame.isPlain, ring.availability(at) > 0 else { break }
            let head = ring.head(at)
            guard head < ring.size else { break }
            let descriptor = ring.descriptor(Int(head))
            let length = unsafe Int(frame.length)
            let needed = 12 &+ length
            let offset = unsafe descriptor.address &- region.guest
            guard Format.flags(descriptor) & 7 == 2, descriptor.length >= needed,
                unsafe offset < region.size,
                unsafe UInt64(truncatingIfNeeded: needed) <= region.size &- offset
            else { break }
            let host = unsafe region.host + Int(truncatingIfNeeded: offset)
            unsafe nm_store64(host, 0)
            unsafe nm_store32(host + 8, 1 &<< 16)
            unsafe nm_copy(host + 12, frame.address, length)
            ring.setUsed(
                at,
                id: Format.identifier(head: head, lastTag: Format.tag(descriptor)),
                length: UInt32(truncatingIfNeeded: needed),
                descriptors: 1
            )
            at = ring.advance(at, by: 1)
            bytes = bytes &+ length
            k = k &+ 1
        }
        position = at
        return k
    }

    /// Puts one frame with its header into the next buffers.
    ///
    /// - Returns: false if it was dropped, and counted.
    @inlinable @inline(__always)
    mutating func place(
        _ frame: Frame,
        _ batch: borrowing FrameBatch,
        _ request: RawOffload,
        _ counters: DirectionCounters,
        _ scratch: inout DeliveryScratch
    ) -> Bool {
        let available = isFaulty ? 0 : ring.availability(position)
        guard available > 0 else {
            if available < 0 { fail(.availableIndex) }
            missing = position
            counters.drop(.ringFull)
            return false
        }
        let head = ring.head(position)
        if head < ring.size, unsafe frame.extraCount == 0 {
            let descriptor = ring.descriptor(Int(head))
            let length = unsafe Int(frame.length)
            let needed = headerLength &+ length
            // One writable descriptor that is large enough.
            if Format.flags(descriptor) & 7 == 2, descriptor.length >= needed,
                let host = unsafe translate(descriptor.address, needed, isWrite: true)
            {
                // SAFETY: `needed` bytes at `host` are the guest's.
                unsafe nm_store64(host, request.low)
                if headerLength == 12 {
                    unsafe nm_store32(host + 8, UInt32(request.high) | 1 &<< 16)
                } else {
                    unsafe nm_store16(host + 8, request.high)
                }
                unsafe nm_copy(host + headerLength, frame.address, length)
                // After the data: whoever sees the bit copies the page (vhost-user-spec 2.6).
                if dirty != nil { unsafe markWritten(host, needed) }
                ring.setUsed(
                    position,
                    id: Format.identifier(head: head, lastTag: Format.tag(descriptor)),
                    length: UInt32(truncatingIfNeeded: needed),
                    descriptors: 1
                )
                position = ring.advance(position, by: 1)
                return true
            }
        }
        return unsafe placeInChains(frame, batch, request, counters, &scratch)
    }

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
