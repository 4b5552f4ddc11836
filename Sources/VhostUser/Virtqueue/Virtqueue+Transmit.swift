// The guest's transmit queue: where frames come from.

public import CNetmap
public import Netmap

extension Virtqueue where Format: ~Copyable {
    /// Appends the guest's next frames to `batch`, in place in its memory.
    ///
    /// Work is bounded by the batch. Frames that cannot be are counted and returned to the guest
    /// like the others; a fault in the ring's structure stops the queue (`fault`).
    ///
    /// - Parameters:
    ///   - batch: where to append.
    ///   - counters: those of the direction from the guest.
    ///   - limit: the most chains to take, at most `FrameBatch.frameCapacity`.
    @inlinable
    public mutating func collect(
        into batch: inout FrameBatch,
        counters: DirectionCounters,
        limit: Int = FrameBatch.frameCapacity
    ) {
        collectedCount = 0
        withoutFrame = 0
        if isFaulty { return }
        beginVisit()
        warm(limit, writing: false)
        let headerLength = self.headerLength
        let shortest = headerLength &+ 14
        let span = UInt(bitPattern: VisitBudget.largeLength &- shortest)
        let frames = unsafe batch.frames
        let collected = unsafe self.collected
        let first = batch.count
        var at = position
        var taken = 0
        var index = first
        var bytes = 0
        var offloaded = 0
        var work = 0
        // How many more plain frames fit before anything else has to be asked.
        var room = batch.hasRoom ? min(limit, FrameBatch.frameCapacity &- first) : 0
        while room > 0 {
            let available = ring.availability(at)
            guard available > 0 else {
                if available < 0 { fail(.availableIndex) }
                break
            }
            let head = ring.head(at)
            guard head < ring.size else {
                fail(.descriptorIndex)
                break
            }
            let descriptor = ring.descriptor(Int(head))
            let length = descriptor.length
            // One readable descriptor with header and frame: what drivers do with linear frames. A
            // large one takes the longer way, where the work of a visit is added up.
            if Format.flags(descriptor) & 7 == 0, UInt(bitPattern: length &- shortest) <= span,
                let host = unsafe translate(descriptor.address, length, isWrite: false)
            {
                // SAFETY: `length` bytes at `host` are the guest's.
                let low = unsafe nm_load64(host)
                let frameLength = length &- headerLength
                unsafe frames[index] = unsafe Frame(
                    address: host + headerLength,
                    length: UInt32(truncatingIfNeeded: frameLength)
                )
                // SAFETY: `taken` is below the capacity.
                let id = Format.identifier(head: head, lastTag: Format.tag(descriptor))
                unsafe collected[taken] = UInt32(id) | 1 &<< 16
                taken = taken &+ 1
                at = ring.advance(at, by: 1)
                if low & 0xff01 == 0 {
                    index = index &+ 1
                    room = room &- 1
                    bytes = bytes &+ frameLength
                    continue
                }
                batch.count = index
                let request = RawOffload(low: low, high: unsafe nm_load16(host + 8))
                if batch.appendLast(request, counters) { offloaded = offloaded &+ 1 }
            } else {
                batch.count = index
                let before = batch.extraSegments
                let chain = collectChain(at, into: &batch, counters, &offloaded)
                guard chain.isValid else { break }
                // A guest gets as much of a worker as its neighbours, whatever its frames are made of.
                work =
                    work &+ VisitBudget.descriptorWork &* (batch.extraSegments &- before)
                    &+ (batch.count == index
                        ? VisitBudget.vainWork : Int(unsafe frames[index].length))
                unsafe collected[taken] =
                    UInt32(chain.id)
                    | UInt32(truncatingIfNeeded: chain.descriptors) &<< 16
                taken = taken &+ 1
                at = ring.advance(at, by: chain.descriptors)
            }
            if batch.count == index {
                withoutFrame |= 1 &<< UInt64(taken &- 1)
            } else {
                bytes = bytes &+ Int(unsafe frames[index].length)
            }
            index = batch.count
            room =
                batch.hasRoom && work <= VisitBudget.work
                ? min(limit &- taken, FrameBatch.frameCapacity &- index) : 0
        }
        batch.count = index
        collectedCount = taken
        let count = index &- first
        if count != 0 { counters.count(packets: count, bytes: bytes, offloaded: offloaded) }
    }

    /// Returns the collected chains to the guest; their memory must not be touched afterwards.
    @inlinable
    public mutating func completeCollected() {
        guard collectedCount != 0 else { return }
        for k in 0..<collectedCount {
            // SAFETY: `collectedCount` is at most the capacity.
            let word = unsafe collected[k]
            let descriptors = Int(word &>> 16)
            ring.setUsed(
                position,
                id: UInt16(truncatingIfNeeded: word),
                length: 0,
                descriptors: descriptors
            )
            position = ring.advance(position, by: descriptors)
        }
        forgetCollected()
        publishRing()
    }

    /// Takes what waits and drops it, for a queue that is started but not enabled.
    ///
    /// - Parameters:
    ///   - batch: scratch; empty before and after.
    ///   - counters: those of the direction from the guest.
    public mutating func discard(_ batch: inout FrameBatch, counters: DirectionCounters) {
        var ignored = nm_direction_counters()
        // SAFETY: the handle does not outlive the call.
        unsafe withUnsafeMutablePointer(to: &ignored) { page in
            unsafe collect(into: &batch, counters: DirectionCounters(unsafePage: page))
        }
        counters.drop(.queueDisabled, collectedCount)
        completeCollected()
        batch.removeAll()
    }

    /// Adds a frame that consists of more than one plain descriptor.
    ///
    /// - Returns: the chain; not valid if the queue has stopped itself.
    @inlinable @inline(never)
    mutating func collectChain(
        _ at: RingPosition,
        into batch: inout FrameBatch,
        _ counters: DirectionCounters,
        _ offloaded: inout Int
    ) -> Chain {
        let base = batch.extraSegments
        // SAFETY: `hasRoom` promised room for `segmentsPerFrame` more segments.
        let pieces = unsafe batch.segments + base
        let chain = unsafe walk(
            at,
            writable: false,
            into: pieces,
            capacity: FrameBatch.segmentsPerFrame
        )
        guard chain.isValid else { return chain }
        guard chain.bytes >= headerLength + 14 else {
            counters.drop(.malformed)
            return chain
        }
        guard chain.bytes <= headerLength + FrameBatch.maximumFrameLength else {
            counters.drop(.oversize)
            return chain
        }
        // Take the header off the front, piece by piece, each byte loaded once.
        var low: UInt64 = 0
        var high: UInt16 = 0
        var taken = 0
        var piece = 0
        while taken < headerLength {
            let segment = unsafe pieces[piece]
            let n = unsafe min(segment.length, headerLength - taken)
            for i in 0..<n {
                let byte = unsafe nm_load8(segment.address + i)
                if taken < 8 {
                    low |= UInt64(byte) &<< UInt64(8 * taken)
                } else if taken < 10 {
                    high |= UInt16(byte) &<< UInt16(8 * (taken - 8))
                }
                taken += 1
            }
            if unsafe n == segment.length {
                piece += 1
            } else {
                unsafe pieces[piece] = unsafe Segment(
                    address: segment.address + n,
                    length: segment.length - n
                )
            }
        }
        let index = batch.count
        let first = unsafe pieces[piece]
        unsafe nm_prefetch(first.address)
        unsafe batch.frames[index] = unsafe Frame(
            address: first.address,
            headLength: UInt32(first.length),
            length: UInt32(chain.bytes - headerLength),
            firstExtra: UInt32(base + piece + 1),
            extraCount: UInt16(chain.segments - piece - 1)
        )
        batch.extraSegments = base + chain.segments
        if low & 0xff01 != 0 {
            if batch.appendLast(RawOffload(low: low, high: high), counters) {
                offloaded += 1
            }
        } else {
            batch.count = index + 1
        }
        return chain
    }
}
