// Delivering to a program that must not lose frames: what it has no room for yet stays with its sender.

import CNetmap

extension Kring {
    /// How far the ring had come when a frame last had no room.
    package var shortage: Shortage {
        Shortage(
            position: UInt32(truncatingIfNeeded: hwtail),
            end: UInt32(truncatingIfNeeded: hwcur == 0 ? slotCount - 1 : hwcur - 1)
        )
    }

    /// Whether a frame that had no room at `shortage` may have some now.
    package mutating func hasNews(since shortage: Shortage) -> Bool {
        takeBack()
        return self.shortage != shortage
    }

    /// Whether the program has given slots back.
    package mutating func hasGrown(since shortage: Shortage) -> Bool {
        takeBack()
        return !self.shortage.hasSameEnd(as: shortage)
    }

    /// Asks the program for a byte when it gives slots back, and looks once more.
    ///
    /// - Returns: whether there are more already, so that nobody may sleep.
    package mutating func armForRoom(since shortage: Shortage) -> Bool {
        hasNews(since: shortage) || arm() || hasNews(since: shortage)
    }

    /// As `deliver`, but stops at the first frame that has no room instead of dropping it.
    ///
    /// See `Virtqueue.deliverWhileRoom`, whose contract this is.
    package mutating func deliverWhileRoom(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ listCount: Int,
        segments: inout Int,
        counters: DirectionCounters,
        trial: DirectionCounters,
        finisher: inout OffloadFinisher
    ) -> Int {
        for k in 0..<listCount {
            // SAFETY: `list` holds `listCount` indices below `batch.count` (the caller's word).
            let index = unsafe Int(list[k])
            let frame = unsafe batch.frames[index]
            if unsafe !frame.offload || headerLength != 0 {
                if unsafe !placeIfRoom(batch, list + k, counters, trial) { return k }
                segments = 0
                continue
            }
            guard finisher.begin(batch, index) else {
                counters.drop(.badOffload)
                segments = 0
                continue
            }
            finisher.skip(segments)
            while finisher.finishNext(batch, index) {
                let zero: UInt16 = 0
                // SAFETY: a list of one index, that of the frame which `finishNext` has just made.
                unsafe finisher.batch.frames[0] = unsafe finisher.frame
                let isThrough = unsafe withUnsafePointer(to: zero) { one in
                    unsafe placeIfRoom(finisher.batch, one, counters, trial)
                }
                if !isThrough { return k }
                segments += 1
            }
            segments = 0
        }
        return listCount
    }

    /// Delivers one frame, or counts why it never can be.
    ///
    /// - Returns: false if it only lacks room now.
    private mutating func placeIfRoom(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ counters: DirectionCounters,
        _ trial: DirectionCounters
    ) -> Bool {
        _ = unsafe deliverRun(batch, list, from: 0, to: 1, trial)
        if trial.hasDropped(.ringFull) {
            trial.clear()
            return false
        }
        trial.move(to: counters)
        return true
    }
}
