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
}
