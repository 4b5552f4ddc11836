// Delivering to a guest that must not lose frames: what it has no room for yet stays with its sender.

public import Netmap

/// What became of a frame.
private enum Placement { case placed, dropped, held }

extension Virtqueue where Format: ~Copyable {
    /// How far the queue had come when a frame last had no room.
    @inlinable public var shortage: Shortage { Shortage(position: position, end: missing) }

    /// Whether a frame that had no room at `shortage` may have some now.
    @inlinable public func hasNews(since shortage: Shortage) -> Bool {
        position != shortage.position || hasGrown(since: shortage)
    }

    /// Whether the guest has added buffers.
    @inlinable public func hasGrown(since shortage: Shortage) -> Bool {
        isFaulty || ring.hasEntry(shortage.end)
    }

    /// Asks the guest for a kick when it adds buffers to those of `shortage`, and looks once more.
    ///
    /// Several may wait for one queue: what this overwrites is never ahead of what it writes, so nobody
    /// else's kick is lost.
    ///
    /// - Returns: whether there are more already, so that nobody may sleep.
    @inlinable
    public func armForRoom(since shortage: Shortage) -> Bool {
        hasNews(since: shortage) || ring.arm(shortage.end)
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
        var k = 0
        var delivered = 0
        var bytes = 0
        var offloaded = 0
        beginVisit()
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
        publish()
        return k
    }

    private mutating func placeIfRoom(
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

extension Virtqueue where Format: ~Copyable {
    /// How many chains of the collected batch come before its frame `index`.
    public func chains(before index: Int) -> Int {
        var chain = 0
        var frame = 0
        while true {
            while chain < 64, withoutFrame &>> UInt64(chain) & 1 != 0 { chain += 1 }
            if frame == index || chain >= collectedCount { return chain }
            frame += 1
            chain += 1
        }
    }

    /// Leaves the collected chains where they are, to be collected again.
    @inlinable public mutating func forgetCollected() {
        collectedCount = 0
        withoutFrame = 0
    }
}
