// Delivering to a guest that must not lose frames: what it has no room for yet stays with its sender.

public import CNetmap
public import Netmap

/// How far a receive queue reached when it had no room for a frame.
public struct Shortage: BitwiseCopyable, Sendable, Equatable {
    /// The entry that would have been filled next.
    @usableFromInline var position: UInt16
    /// The first entry that the guest had not made available.
    @usableFromInline var end: UInt16

    /// Nothing of any queue.
    @inlinable public init() {
        position = 0
        end = 0
    }

    @_noLocks @inlinable init(position: UInt16, end: UInt16) {
        self.position = position
        self.end = end
    }

    /// Whether there was no buffer at all, rather than too few for one frame.
    @inlinable public var isEmpty: Bool { @_noLocks get { position == end } }

    /// Whether the guest had made the same buffers available.
    @_noLocks @inlinable public func hasSameEnd(as other: Shortage) -> Bool { end == other.end }
}

extension SplitQueue {
    /// What the queue has now.
    @inlinable public var shortage: Shortage {
        @_noLocks get { Shortage(position: nextAvailable, end: seenAvailable) }
    }

    /// Whether a frame that had no room at `shortage` may have some now.
    @_noLocks @inlinable public func hasNews(since shortage: Shortage) -> Bool {
        nextAvailable != shortage.position || hasGrown(since: shortage)
    }

    /// Whether the guest has added buffers.
    @_noLocks @inlinable public func hasGrown(since shortage: Shortage) -> Bool {
        if isFaulty { return true }
        // SAFETY: a fixed offset in the available ring.
        return unsafe nm_load16_acquire(available + NM_VRING_AVAIL_IDX) != shortage.end
    }

    /// Asks the guest for a kick when it adds buffers to those of `shortage`, and looks once more.
    ///
    /// Several may wait for one queue: what this overwrites is never ahead of what it writes, so nobody
    /// else's kick is lost.
    ///
    /// - Returns: whether there are more already, so that nobody may sleep.
    @_noLocks @inlinable
    public func armForRoom(since shortage: Shortage) -> Bool {
        if hasNews(since: shortage) { return true }
        // SAFETY: fixed offsets in the used ring; avail_event follows its entries.
        if eventIndex {
            unsafe nm_store16(
                used + NM_VRING_USED_RING + NM_VRING_USED_ELEM_SIZE &* Int(size),
                shortage.end
            )
        } else {
            unsafe nm_store16(used + NM_VRING_USED_FLAGS, 0)
        }
        nm_fence()
        return hasGrown(since: shortage)
    }

    /// As `deliver`, but stops at the first frame that has no room instead of dropping it.
    ///
    /// A frame is delivered whole or not at all, except one that is cut into segments here: of that,
    /// `segments` says how many are through, and the next call goes on there.
    ///
    /// - Parameters:
    ///   - batch: where the frames are.
    ///   - list: indices of frames in `batch`.
    ///   - listCount: how many.
    ///   - segments: how many segments of the first frame are delivered already; afterwards the same of
    ///     the frame that had no room.
    ///   - counters: those of the direction to the guest.
    ///   - trial: counters of the caller's own, all zero before and after.
    ///   - scratch: memory to lend.
    ///   - finisher: for frames whose offload request the guest does not take.
    /// - Returns: how many frames were delivered, or dropped for a reason that waiting cannot mend.
    public mutating func deliverWhileRoom(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ listCount: Int,
        segments: inout Int,
        counters: DirectionCounters,
        trial: DirectionCounters,
        scratch: inout DeliveryScratch,
        finisher: inout OffloadFinisher
    ) -> Int {
        let start = nextUsed
        var k = 0
        var delivered = 0
        var bytes = 0
        var offloaded = 0
        loop: while k < listCount {
            // SAFETY: `list` holds `listCount` indices below `batch.count` (the caller's word).
            let index = unsafe Int(list[k])
            let frame = unsafe batch.frames[index]
            var request = RawOffload.none
            if unsafe frame.offload {
                request = unsafe batch.headers[index]
                if !request.isAccepted(by: acceptedOffloads) {
                    let isThrough = finishWhileRoom(
                        batch,
                        index,
                        &segments,
                        counters,
                        trial,
                        &scratch,
                        &finisher
                    )
                    if !isThrough { break loop }
                    k += 1
                    continue
                }
            }
            switch unsafe placeIfRoom(frame, batch, request, counters, trial, &scratch) {
            case .held: break loop
            case .dropped: break
            case .placed:
                delivered += 1
                bytes += unsafe Int(frame.length)
                if unsafe frame.offload { offloaded += 1 }
            }
            segments = 0
            k += 1
        }
        if delivered != 0 {
            counters.count(packets: delivered, bytes: bytes, offloaded: offloaded)
        }
        if nextUsed != start { publish() }
        return k
    }

    @usableFromInline enum Placement { case placed, dropped, held }

    @usableFromInline @inline(never) @_noLocks
    mutating func placeIfRoom(
        _ frame: Frame,
        _ batch: borrowing FrameBatch,
        _ request: RawOffload,
        _ counters: DirectionCounters,
        _ trial: DirectionCounters,
        _ scratch: inout DeliveryScratch
    ) -> Placement {
        if unsafe place(frame, batch, request, trial, &scratch) { return .placed }
        // A queue that has stopped itself will never have room.
        if trial.hasDropped(.ringFull), !isFaulty {
            trial.clear()
            return .held
        }
        trial.move(to: counters)
        return .dropped
    }

    /// Delivers the segments that have room.
    ///
    /// - Returns: whether the frame is through.
    private mutating func finishWhileRoom(
        _ batch: borrowing FrameBatch,
        _ index: Int,
        _ segments: inout Int,
        _ counters: DirectionCounters,
        _ trial: DirectionCounters,
        _ scratch: inout DeliveryScratch,
        _ finisher: inout OffloadFinisher
    ) -> Bool {
        var isThrough = true
        var number = segments
        var delivered = 0
        var bytes = 0
        if finisher.begin(batch, index) {
            finisher.skip(segments)
            loop: while finisher.finishNext(batch, index) {
                // SAFETY: `finishNext` has just written `frame` and its segments.
                let frame = unsafe finisher.frame
                switch unsafe placeIfRoom(
                    frame,
                    finisher.batch,
                    .none,
                    counters,
                    trial,
                    &scratch
                ) {
                case .held:
                    isThrough = false
                    break loop
                case .dropped: break
                case .placed:
                    delivered += 1
                    bytes += unsafe Int(frame.length)
                }
                number += 1
            }
        } else {
            counters.drop(.badOffload)
        }
        if delivered != 0 { counters.count(packets: delivered, bytes: bytes) }
        segments = isThrough ? 0 : number
        return isThrough
    }
}

extension SplitQueue {
    /// How many chains of the collected batch come before its frame `index`.
    @_noLocks public func chains(before index: Int) -> Int {
        var chain = 0
        var frame = 0
        while true {
            while chain < 64, withoutFrame &>> UInt64(chain) & 1 != 0 { chain += 1 }
            if frame == index || chain >= Int(collectedChains) { return chain }
            frame += 1
            chain += 1
        }
    }

    /// Leaves the collected chains where they are, to be collected again.
    @_noLocks public mutating func forgetCollected() {
        collectedChains = 0
        withoutFrame = 0
    }
}
