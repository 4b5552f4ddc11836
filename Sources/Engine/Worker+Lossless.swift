// Serving a source that may send to lossless ports: a batch is cut at the first frame that such a
// port has no room for. That frame and those behind it stay in the sender's ring, so nothing is
// copied or reordered, and only this source waits.

import CNetmap
import Netmap
import Vale
import VhostUser

extension WorkerState {
    // SAFETY (whole extension): as in Worker.swift; addresses live for the turn in which they were
    // loaded, and a sink is touched under its lock.

    /// Whether a source that waits has any reason to try again.
    func mayGoOn(
        _ pair: UnsafeMutablePointer<QueuePair>,
        _ source: PortQueue
    ) -> Bool {
        if unsafe pair.pointee.hold.generation != nm_load64(&shared.pointee.seen) { return true }
        if unsafe pair.pointee.hold.position != source.place { return true }
        guard let other = unsafe receiver(of: pair) else { return true }
        let deadline = unsafe pair.pointee.hold.deadline
        let isLate = deadline != .max && nm_monotonic_ns() >= deadline
        // Its return is another generation.
        if unsafe isAway(other) { return isLate }
        guard let sink = unsafe sink(of: other) else { return true }
        // Whoever has the lock changes what the answer would be.
        guard unsafe nm_try_lock(&other.pointee.sinkLock) != 0 else { return false }
        let hasNews = unsafe sink.hasNews(since: pair.pointee.hold.shortage)
        unsafe nm_unlock(&other.pointee.sinkLock)
        return hasNews || isLate
    }

    /// Whether a receive queue is not there, but may come back.
    private func isAway(_ pair: UnsafeMutablePointer<QueuePair>) -> Bool {
        guard unsafe nm_load32(&pair.pointee.awaited) != 0 else { return false }
        return unsafe nm_load64_acquire(&pair.pointee.sink) == 0
            || nm_load32(&pair.pointee.sinkEnabled) == 0
    }

    /// Asks the receiver that a source waits for to kick when it adds buffers.
    ///
    /// - Returns: whether there is a reason to try again at once.
    func armReceiver(
        _ pair: UnsafeMutablePointer<QueuePair>,
        _ source: PortQueue
    ) -> Bool {
        let hold = unsafe pair.pointee.hold
        if unsafe hold.generation != nm_load64_acquire(generation) { return true }
        if unsafe hold.position != source.place { return true }
        guard let other = unsafe receiver(of: pair) else { return true }
        if unsafe isAway(other) { return false }
        guard let sink = unsafe sink(of: other) else { return true }
        while unsafe nm_try_lock(&other.pointee.sinkLock) == 0 { nm_pause() }
        let mustTry = unsafe sink.armForRoom(since: hold.shortage)
        if !mustTry {
            unsafe other.pointee.stall.isArmed = true
            unsafe other.pointee.stall.armedAt = hold.shortage
            unsafe other.pointee.stall.arms &+= 1
        }
        unsafe nm_unlock(&other.pointee.sinkLock)
        return mustTry
    }

    private func receiver(
        of pair: UnsafeMutablePointer<QueuePair>
    ) -> UnsafeMutablePointer<QueuePair>? {
        let port = unsafe Int(pair.pointee.hold.port)
        let address = unsafe nm_load64_acquire(planes + port)
        guard let plane = unsafe UnsafeMutablePointer<PortPlane>(bitPattern: UInt(address)) else {
            return nil
        }
        return unsafe plane.pointee.pairs + Int(pair.pointee.hold.pair)
    }

    private func sink(
        of pair: UnsafeMutablePointer<QueuePair>
    ) -> PortQueue? {
        let sink = unsafe PortQueue(word: nm_load64_acquire(&pair.pointee.sink))
        return unsafe sink.exists ? unsafe sink : nil
    }

    /// Moves at most one batch from one source, and no more of it than lossless ports have room for.
    ///
    /// - Returns: whether anything moved.
    mutating func serveHolding(
        _ plane: UnsafeMutablePointer<PortPlane>,
        _ pairIndex: Int,
        _ source: PortQueue
    ) -> Bool {
        let pair = unsafe plane.pointee.pairs + pairIndex
        let rx = unsafe plane.pointee.rx
        let isLinkUp = unsafe nm_load32(&plane.pointee.linkUp) != 0
        let number = unsafe plane.pointee.number
        let now = nm_monotonic_seconds()
        unsafe source.collect(into: &batch, counters: trial.rx)
        let count = unsafe batch.count
        var whole = count
        if count != 0 {
            unsafe plan.isTrial = true
            if isLinkUp {
                unsafe plane.pointee.vale.pointee.vale.classify(
                    batch,
                    from: number,
                    now: now,
                    counters: trial.rx,
                    into: &plan
                )
                whole = unsafe distribute(plane, pairIndex, source)
            } else {
                rx.drop(.linkDown, count)
            }
            unsafe plan.isTrial = false
        }
        if whole == count {
            // Nothing is held: the port is 0 since this source was served.
            unsafe pair.pointee.hold.reached = 0
            unsafe pair.pointee.hold.position = 0
            unsafe pair.pointee.hold.segments = 0
            unsafe trial.rx.move(to: rx)
            if count != 0, isLinkUp, unsafe plan.floodCount != 0 {
                unsafe plane.pointee.vale.pointee.vale.add(floods: plan.floodCount)
            }
            if count != 0, unsafe plane.pointee.taps != 0 {
                unsafe showReceived(plane, dropped: isLinkUp ? nil : .linkDown)
            }
        } else {
            // Once more, only as far as the batch went, so that nothing is counted twice.
            let chains = unsafe source.chains(before: whole)
            unsafe trial.rx.clear()
            unsafe source.forgetCollected()
            unsafe batch.removeAll()
            if chains != 0 {
                unsafe source.collect(into: &batch, counters: rx, limit: chains)
                unsafe plane.pointee.vale.pointee.vale.classify(
                    batch,
                    from: number,
                    now: now,
                    counters: rx,
                    into: &plan
                )
                if unsafe plane.pointee.taps != 0 { unsafe showReceived(plane) }
            }
        }
        let before = unsafe source.place
        unsafe source.completeCollected()
        let after = unsafe source.place
        if whole != count { unsafe pair.pointee.hold.position = after }
        unsafe nm_count(&counters.pointee.frames, UInt64(whole))
        unsafe nm_count(&pair.pointee.frames, UInt64(whole))
        return after != before
    }

    /// Delivers the batch in the order in which it came, until a lossless port has no room.
    ///
    /// - Returns: how many of its frames are through; if not all, `hold` says what the next waits for.
    private mutating func distribute(
        _ plane: UnsafeMutablePointer<PortPlane>,
        _ pairIndex: Int,
        _ source: PortQueue
    ) -> Int {
        let pair = unsafe plane.pointee.pairs + pairIndex
        let number = unsafe plane.pointee.number
        let rx = unsafe plane.pointee.rx
        let isContinued =
            unsafe pair.pointee.hold.position == source.place
        var reached: UInt16 = unsafe isContinued ? pair.pointee.hold.reached : 0
        var segments = unsafe isContinued ? pair.pointee.hold.segments : 0
        if unsafe plan.floodCount == 0, unsafe !goesToLossless() {
            unsafe forwardTargets(pairIndex, rx)
            return unsafe batch.count
        }
        let address = unsafe nm_load64_acquire(&plane.pointee.vale.pointee.members)
        let members = unsafe UnsafePointer<UInt16>(bitPattern: UInt(address))
        var index = 0
        while unsafe index < batch.count {
            let run = unsafe plan.run(from: index)
            switch run.way {
            case .nowhere: index += run.count
            case .unicast:
                // A frame that went to all before its destination was known may have been there.
                if reached != 0, run.port <= reached {
                    index += 1
                } else {
                    let done = unsafe deliverWaiting(
                        run.port,
                        from: index,
                        count: run.count,
                        pairIndex,
                        &segments,
                        pair,
                        rx,
                        isFlood: false
                    )
                    index += done
                    if done < run.count {
                        unsafe pair.pointee.hold.reached = done == 0 ? reached : 0
                        return index
                    }
                }
            case .flood:
                let count = unsafe members.map { unsafe Int($0[0]) } ?? 0
                if count <= 1 { rx.drop(.noDestination) }
                for k in 0..<count {
                    let port = unsafe members.map { unsafe $0[1 + k] } ?? 0
                    if port == number || port <= reached { continue }
                    let done = unsafe deliverWaiting(
                        port,
                        from: index,
                        count: 1,
                        pairIndex,
                        &segments,
                        pair,
                        nil,
                        isFlood: true
                    )
                    if done == 0 {
                        unsafe pair.pointee.hold.reached = reached
                        return index
                    }
                    reached = port
                }
                index += 1
            }
            reached = 0
            segments = 0
        }
        return index
    }

    /// Whether any frame of the plan, none of which goes to all, goes to a lossless port.
    private func goesToLossless() -> Bool {
        for k in unsafe 0..<plan.targetCount {
            let address = unsafe nm_load64_acquire(planes + Int(plan.target(k).port))
            if let plane = unsafe UnsafePointer<PortPlane>(bitPattern: UInt(address)),
                unsafe plane.pointee.isLossless
            {
                return true
            }
        }
        return false
    }

    /// Hands frames in a row to one port.
    ///
    /// - Returns: how many are through: delivered, or dropped for a reason that waiting cannot mend.
    mutating func deliverWaiting(
        _ port: UInt16,
        from index: Int,
        count: Int,
        _ sourcePair: Int,
        _ segments: inout Int,
        _ source: UnsafeMutablePointer<QueuePair>,
        _ rx: DirectionCounters?,
        isFlood: Bool
    ) -> Int {
        let address = unsafe nm_load64_acquire(planes + Int(port))
        let list = unsafe UnsafePointer(trial.everyFrame + index)
        let target = unsafe ForwardingPlan.Target(port: port, count: count, list: list)
        guard let plane = unsafe UnsafeMutablePointer<PortPlane>(bitPattern: UInt(address)) else {
            rx?.drop(.noDestination, count)
            return count
        }
        if unsafe plane.pointee.taps != 0, unsafe !isShowing {
            return unsafe deliverWaitingShown(
                port,
                from: index,
                count: count,
                sourcePair,
                &segments,
                source,
                rx,
                isFlood: isFlood,
                plane
            )
        }
        let sinkIndex = unsafe sinkIndex(plane, sourcePair, isFlood: isFlood)
        let pair = unsafe plane.pointee.pairs + sinkIndex
        let isLossless = unsafe plane.pointee.isLossless && nm_load32(&plane.pointee.linkUp) != 0
        if isLossless, unsafe isAway(pair) {
            while unsafe nm_try_lock(&pair.pointee.sinkLock) == 0 { nm_pause() }
            let waits =
                unsafe pair.pointee.stall.isOver == 0
                && hold(source, for: port, UInt16(sinkIndex), Shortage(), segments, plane)
            if !waits { unsafe giveUp(pair, Shortage()) }
            unsafe nm_unlock(&pair.pointee.sinkLock)
            if waits { return 0 }
        }
        guard isLossless,
            unsafe nm_load32(&pair.pointee.sinkEnabled) != 0,
            let sink = unsafe sink(of: pair)
        else {
            if unsafe !deliver(target, sourcePair, isFlood: isFlood) {
                rx?.drop(.noDestination, count)
            }
            return count
        }
        let tx = unsafe plane.pointee.tx
        while unsafe nm_try_lock(&pair.pointee.sinkLock) == 0 { nm_pause() }
        unsafe noteGrowth(pair, sink)
        var done = 0
        while done < count {
            if unsafe pair.pointee.stall.isOver != 0 {
                unsafe sink.deliver(
                    batch,
                    list + done,
                    count - done,
                    counters: tx,
                    scratch: &scratch,
                    finisher: &finisher
                )
                done = count
                break
            }
            let n = unsafe sink.deliverWhileRoom(
                batch,
                list + done,
                count - done,
                segments: &segments,
                counters: tx,
                trial: trial.tx,
                scratch: &scratch,
                finisher: &finisher
            )
            done += n
            if done == count { break }
            let shortage = unsafe sink.shortage
            if unsafe hold(source, for: port, UInt16(sinkIndex), shortage, segments, plane) {
                break
            }
            segments = 0
            if shortage.isEmpty {
                unsafe giveUp(pair, shortage)
            } else {
                unsafe pair.pointee.stall.since = 0
                // It has room, and this frame never fits.
                tx.drop(.ringFull)
                done += 1
            }
        }
        if done == count { unsafe pair.pointee.stall.since = 0 }
        let interrupt = unsafe sink.needsInterrupt()
        let report = unsafe sink.needsAttention
        unsafe nm_unlock(&pair.pointee.sinkLock)
        if interrupt { unsafe self.interrupt(sink, &pair.pointee.sinkCall, plane) }
        if report { unsafe self.report(pair) }
        return done
    }

    /// Has a source wait for a receive queue whose lock is held, unless that has taken nothing for too long.
    private func hold(
        _ source: UnsafeMutablePointer<QueuePair>,
        for port: UInt16,
        _ index: UInt16,
        _ shortage: Shortage,
        _ segments: Int,
        _ plane: UnsafeMutablePointer<PortPlane>
    ) -> Bool {
        let patience = unsafe plane.pointee.patience
        let since = unsafe stallBegan(plane.pointee.pairs + Int(index), shortage)
        guard patience == 0 || nm_monotonic_ns() &- since < patience else { return false }
        unsafe nm_store16(&source.pointee.hold.port, port)
        unsafe source.pointee.hold.pair = index
        unsafe source.pointee.hold.segments = segments
        unsafe source.pointee.hold.shortage = shortage
        unsafe source.pointee.hold.generation = nm_load64(&shared.pointee.seen)
        unsafe source.pointee.hold.deadline = patience == 0 ? .max : since &+ patience
        return true
    }

    /// Ends the right of a queue to keep others waiting: nothing was taken for so long that from now on it
    /// loses frames like any other.
    private func giveUp(_ pair: UnsafeMutablePointer<QueuePair>, _ shortage: Shortage) {
        guard unsafe pair.pointee.stall.isOver == 0 else { return }
        unsafe pair.pointee.stall.since = 0
        unsafe pair.pointee.stall.shortage = shortage
        unsafe nm_store32(&pair.pointee.stall.isOver, 1)
        unsafe nm_store32(&pair.pointee.stall.unsaid, 1)
        _ = unsafe nm_eventfd_ring(attention)
    }

    /// Gives a receiver that takes frames again its rights, and ends its kicks if it gave one.
    private func noteGrowth(
        _ pair: UnsafeMutablePointer<QueuePair>,
        _ sink: PortQueue
    ) {
        if unsafe pair.pointee.stall.isOver != 0,
            unsafe sink.hasGrown(since: pair.pointee.stall.shortage)
        {
            unsafe nm_store32(&pair.pointee.stall.isOver, 0)
        }
        // Everybody who waits is kicked by the same buffers, so nobody needs another kick. But a guest that has
        // added them and not kicked yet finds that nobody wants it to: then the others are woken here.
        if unsafe pair.pointee.stall.isArmed,
            unsafe sink.hasGrown(since: pair.pointee.stall.armedAt)
        {
            unsafe pair.pointee.stall.isArmed = false
            unsafe sink.disarmForRoom()
            if unsafe pair.pointee.stall.arms > 1 {
                unsafe nm_store32(&pair.pointee.stall.isRecall, 1)
                _ = unsafe nm_eventfd_ring(attention)
            }
            unsafe pair.pointee.stall.arms = 0
        }
    }

    /// Since when the receiver has taken nothing.
    private func stallBegan(
        _ pair: UnsafeMutablePointer<QueuePair>,
        _ shortage: Shortage
    ) -> UInt64 {
        if unsafe pair.pointee.stall.since == 0
            || !shortage.hasSameEnd(as: pair.pointee.stall.shortage)
        {
            unsafe pair.pointee.stall.since = nm_monotonic_ns()
            unsafe pair.pointee.stall.shortage = shortage
        }
        return unsafe pair.pointee.stall.since
    }
}
