// The guest's receive queue: where frames go.

public import CNetmap
public import Netmap

extension SplitQueue {
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
        let start = nextUsed
        var k = 0
        while true {
            k = unsafe deliverRun(batch, list, from: k, to: listCount, counters, &scratch)
            if k == listCount { break }
            // SAFETY: `k` is below `listCount`.
            unsafe deliverFinished(batch, Int(list[k]), counters, &scratch, &finisher)
            k = k &+ 1
        }
        if nextUsed != start { publish() }
    }

    /// Delivers frames until one needs software.
    ///
    /// - Returns: the position in `list` of that frame, or `end`.
    @_noLocks @inlinable
    mutating func deliverRun(
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
        var k = begin
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

    /// Puts one frame with its header into the next buffers.
    ///
    /// - Returns: false if it was dropped, and counted.
    @_noLocks @inlinable @inline(__always)
    mutating func place(
        _ frame: Frame,
        _ batch: borrowing FrameBatch,
        _ request: RawOffload,
        _ counters: DirectionCounters,
        _ scratch: inout DeliveryScratch
    ) -> Bool {
        if seenAvailable == nextAvailable && (isFaulty || refreshAvailable() == 0) {
            counters.drop(.ringFull)
            return false
        }
        let head = head(at: nextAvailable)
        if head < size, unsafe frame.extraCount == 0 {
            // SAFETY: `head` is inside the table. The two words are this descriptor from now on.
            let cell = unsafe descriptors + Int(head) &* NM_VRING_DESC_SIZE
            let address = unsafe nm_load64(cell)
            let word = unsafe nm_load64(cell + 8)
            let room = Int(UInt32(truncatingIfNeeded: word))
            let length = unsafe Int(frame.length)
            let needed = headerLength &+ length
            // One writable descriptor that is large enough.
            if UInt16(truncatingIfNeeded: word &>> 32) & 7 == 2, room >= needed,
                let host = unsafe translate(address, needed)
            {
                unsafe nm_store64(host, request.low)
                if headerLength == 12 {
                    unsafe nm_store32(host + 8, UInt32(request.high) | 1 &<< 16)
                } else {
                    unsafe nm_store16(host + 8, request.high)
                }
                unsafe nm_copy(host + headerLength, frame.address, length)
                setUsed(at: nextUsed, head: head, length: UInt32(truncatingIfNeeded: needed))
                nextUsed = nextUsed &+ 1
                nextAvailable = nextAvailable &+ 1
                return true
            }
        }
        return unsafe placeInChains(frame, batch, request, counters, &scratch)
    }

    /// Puts one frame into as many descriptors, and if the guest merges buffers as many chains, as it
    /// needs; all of it or nothing.
    @usableFromInline @inline(never) @_noLocks
    mutating func placeInChains(
        _ frame: Frame,
        _ batch: borrowing FrameBatch,
        _ request: RawOffload,
        _ counters: DirectionCounters,
        _ scratch: inout DeliveryScratch
    ) -> Bool {
        let needed = unsafe headerLength + Int(frame.length)
        var chains = 0
        var segments = 0
        var room = 0
        while room < needed {
            let position = nextAvailable &+ UInt16(truncatingIfNeeded: chains)
            if position == seenAvailable {
                let pending = refreshAvailable()
                if isFaulty || Int(pending) <= chains {
                    counters.drop(.ringFull)
                    return false
                }
            }
            let head = head(at: position)
            // SAFETY: the scratch has `capacity` entries in each array.
            let chain = unsafe walk(
                head,
                writable: true,
                into: scratch.segments + segments,
                capacity: DeliveryScratch.capacity - segments
            )
            // A chain of no bytes could be had for ever; no driver makes one.
            guard chain.isValid, chain.bytes > 0 else {
                fail(.chainLength)
                counters.drop(.malformed)
                return false
            }
            unsafe scratch.heads[chains] = head
            unsafe scratch.rooms[chains] = UInt32(
                truncatingIfNeeded: min(chain.bytes, needed - room)
            )
            segments += chain.segments
            room += chain.bytes
            chains += 1
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
        for k in 0..<chains {
            unsafe setUsed(
                at: nextUsed &+ UInt16(truncatingIfNeeded: k),
                head: scratch.heads[k],
                length: scratch.rooms[k]
            )
        }
        nextUsed = nextUsed &+ UInt16(truncatingIfNeeded: chains)
        nextAvailable = nextAvailable &+ UInt16(truncatingIfNeeded: chains)
        return true
    }

    /// Computes the checksum, cuts the segments, and delivers the result.
    @usableFromInline @inline(never)
    mutating func deliverFinished(
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
