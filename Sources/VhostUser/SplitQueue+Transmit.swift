// The guest's transmit queue: where frames come from.

public import CNetmap
public import Netmap
import Wire

extension SplitQueue {
    /// Appends the guest's next frames to `batch`, in place in its memory.
    ///
    /// Work is bounded by the batch. Frames that cannot be are counted and returned to the guest
    /// like the others; a fault in the ring's structure stops the queue (`fault`).
    ///
    /// - Parameters:
    ///   - batch: where to append.
    ///   - counters: those of the direction from the guest.
    ///   - limit: the most chains to take, at most `FrameBatch.frameCapacity`.
    @_noLocks @inlinable
    public mutating func collect(
        into batch: inout FrameBatch,
        counters: DirectionCounters,
        limit: Int = FrameBatch.frameCapacity
    ) {
        collectedChains = 0
        withoutFrame = 0
        if isFaulty { return }
        var pending = seenAvailable &- nextAvailable
        if pending == 0 {
            pending = refreshAvailable()
            if pending == 0 { return }
        }
        // Chains without a frame count too, or a guest could have a whole ring of them in one visit.
        pending = min(pending, UInt16(truncatingIfNeeded: limit))
        let headerLength = self.headerLength
        let frames = unsafe batch.frames
        var taken: UInt16 = 0
        var bytes = 0
        let first = batch.count
        var offloaded = 0
        var work = 0
        while taken < pending && batch.hasRoom {
            let position = nextAvailable &+ taken
            let head = head(at: position)
            guard head < size else {
                fail(.descriptorIndex)
                break
            }
            // SAFETY: `head` is inside the table. The two words are this descriptor from now on.
            let cell = unsafe descriptors + Int(head) &* NM_VRING_DESC_SIZE
            let address = unsafe nm_load64(cell)
            let word = unsafe nm_load64(cell + 8)
            let length = Int(UInt32(truncatingIfNeeded: word))
            let index = batch.count
            // One readable descriptor with header and frame: what drivers do with linear frames. A
            // large one takes the longer way, where the work of a visit is added up.
            if UInt16(truncatingIfNeeded: word &>> 32) & 7 == 0,
                length > headerLength &+ 14,
                length <= SplitQueue.largeLength,
                let host = unsafe translate(address, length)
            {
                let low = unsafe nm_load64(host)
                let start = unsafe host + headerLength
                unsafe nm_prefetch(start)
                let frameLength = UInt32(truncatingIfNeeded: length &- headerLength)
                unsafe frames[index] = unsafe Frame(
                    address: start,
                    length: frameLength
                )
                if low & 0xff01 != 0 {
                    let request = RawOffload(low: low, high: unsafe nm_load16(host + 8))
                    if noteOffload(request, in: &batch, counters) { offloaded = offloaded &+ 1 }
                } else {
                    batch.count = index &+ 1
                }
            } else {
                let before = batch.extraSegments
                if !collectChain(head, into: &batch, counters, &offloaded) { break }
                // A guest gets as much of a worker as its neighbours, whatever its frames are made of.
                work =
                    work &+ SplitQueue.descriptorWork &* (batch.extraSegments &- before)
                    &+ (batch.count == index
                        ? SplitQueue.vainWork : Int(unsafe frames[index].length))
                if work > SplitQueue.visitWork { pending = taken &+ 1 }
            }
            if batch.count != index {
                bytes = bytes &+ Int(unsafe frames[index].length)
            } else {
                withoutFrame |= 1 &<< UInt64(taken)
            }
            setUsed(at: nextUsed &+ taken, head: head, length: 0)
            taken = taken &+ 1
        }
        collectedChains = taken
        let count = batch.count &- first
        if count != 0 { counters.count(packets: count, bytes: bytes, offloaded: offloaded) }
    }

    /// Bytes, or what takes as long, after which a visit ends though more frames would fit: 64 of full size.
    @inlinable static var visitWork: Int { @_noLocks get { 98_304 } }
    /// Bytes that could be copied while a descriptor of a chain is looked at.
    @inlinable static var descriptorWork: Int { @_noLocks get { 64 } }
    /// The same for a chain without a frame, which can be as long as the ring.
    @inlinable static var vainWork: Int { @_noLocks get { 16_384 } }
    /// A frame in one buffer of up to so many bytes is not added up: 64 of them are little work.
    @inlinable static var largeLength: Int { @_noLocks get { 2048 } }

    /// Returns the collected chains to the guest; their memory must not be touched afterwards.
    @_noLocks @inlinable
    public mutating func completeCollected() {
        guard collectedChains != 0 else { return }
        withoutFrame = 0
        nextAvailable = nextAvailable &+ collectedChains
        nextUsed = nextUsed &+ collectedChains
        collectedChains = 0
        publish()
    }

    /// Takes what waits and drops it, for a queue that is started but not enabled.
    @_noLocks
    public mutating func discard(counters: DirectionCounters) {
        let pending = isFaulty ? 0 : refreshAvailable()
        guard pending > 0 else { return }
        for offset in 0..<pending {
            setUsed(
                at: nextUsed &+ offset,
                head: head(at: nextAvailable &+ offset),
                length: 0
            )
        }
        nextAvailable = nextAvailable &+ pending
        nextUsed = nextUsed &+ pending
        publish()
        counters.drop(.queueDisabled, Int(pending))
    }

    /// Adds a frame that consists of more than one plain descriptor.
    ///
    /// - Returns: false if the queue has stopped itself.
    @usableFromInline @inline(never) @_noLocks
    mutating func collectChain(
        _ head: UInt16,
        into batch: inout FrameBatch,
        _ counters: DirectionCounters,
        _ offloaded: inout Int
    ) -> Bool {
        let base = batch.extraSegments
        // SAFETY: `hasRoom` promised room for `segmentsPerFrame` more segments.
        let pieces = unsafe batch.segments + base
        let chain = unsafe walk(
            head,
            writable: false,
            into: pieces,
            capacity: FrameBatch.segmentsPerFrame
        )
        guard chain.isValid else { return false }
        guard chain.bytes >= headerLength + 14 else {
            counters.drop(.malformed)
            return true
        }
        guard chain.bytes <= headerLength + FrameBatch.maximumFrameLength else {
            counters.drop(.oversize)
            return true
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
            if noteOffload(RawOffload(low: low, high: high), in: &batch, counters) {
                offloaded += 1
            }
        } else {
            batch.count = index + 1
        }
        return true
    }

    /// Accepts the frame at `batch.count` with its offload request, or drops it for a request that
    /// contradicts itself.
    @usableFromInline @inline(never) @_noLocks
    mutating func noteOffload(
        _ request: RawOffload,
        in batch: inout FrameBatch,
        _ counters: DirectionCounters
    ) -> Bool {
        let index = batch.count
        // SAFETY: the frame at `index` was just written.
        let length = unsafe Int(batch.frames[index].length)
        if case .malformed = request.header.check(frameLength: length) {
            counters.drop(.badOffload)
            return false
        }
        // Of the flags only NEEDS_CSUM is the sender's to say; no other reaches a receiver.
        unsafe batch.headers[index] = RawOffload(low: request.low & ~0xfe, high: request.high)
        unsafe batch.frames[index].offload = true
        batch.count = index + 1
        return true
    }
}
