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
        let clock = unsafe WorkerState.policyClock
        // Nothing is charged to the port's limits until it is known how much of the batch goes.
        let isPlain = unsafe plane.pointee.vale.pointee.vale.isPlain
        let gate = unsafe isPlain ? nil : gates.lock(number)
        unsafe source.collect(into: &batch, counters: trial.rx)
        let count = unsafe batch.count
        var whole = count
        if count != 0 {
            unsafe plan.isTrial = true
            if isLinkUp {
                unsafe classify(plane, isPlain, gate, clock, trial.rx)
                let checks = unsafe isPlain ? nil : Checks(gate: gate, clock: clock)
                whole = unsafe distribute(plane, pairIndex, source, checks)
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
            if count != 0, isLinkUp {
                if !isPlain { unsafe policies.commit(gate) }
                if unsafe plan.floodCount != 0 {
                    unsafe plane.pointee.vale.pointee.vale.add(floods: plan.floodCount)
                }
            }
            if count != 0, unsafe plane.pointee.taps != 0 {
                unsafe showReceived(plane, dropped: isLinkUp ? nil : .linkDown, isChecked: !isPlain)
            }
        } else {
            // Once more, only as far as the batch went, so that nothing is counted twice.
            let chains = unsafe source.chains(before: whole)
            unsafe trial.rx.clear()
            unsafe source.forgetCollected()
            unsafe batch.removeAll()
            if chains != 0 {
                unsafe source.collect(into: &batch, counters: rx, limit: chains)
                unsafe classify(plane, isPlain, gate, clock, rx)
                if unsafe plane.pointee.taps != 0 {
                    unsafe showReceived(plane, isChecked: !isPlain)
                }
            }
        }
        unsafe gates.unlock(gate)
        let before = unsafe source.place
        unsafe source.completeCollected()
        let after = unsafe source.place
        if whole != count { unsafe pair.pointee.hold.position = after }
        unsafe nm_count(&counters.pointee.frames, UInt64(whole))
        unsafe nm_count(&pair.pointee.frames, UInt64(whole))
        return after != before
    }

    /// What a batch on a switch with rules is checked against.
    @unsafe struct Checks {
        let gate: UnsafeMutablePointer<PortGate>?
        let clock: PolicyClock
    }

    private mutating func classify(
        _ plane: UnsafeMutablePointer<PortPlane>,
        _ isPlain: Bool,
        _ gate: UnsafeMutablePointer<PortGate>?,
        _ clock: PolicyClock,
        _ counters: DirectionCounters
    ) {
        let vale = unsafe plane.pointee.vale
        let number = unsafe plane.pointee.number
        if isPlain {
            unsafe vale.pointee.vale.classify(
                batch,
                from: number,
                now: clock.seconds,
                counters: counters,
                into: &plan
            )
        } else {
            unsafe vale.pointee.vale.classifyWithPolicies(
                batch,
                from: number,
                gate,
                gates,
                clock,
                counters: counters,
                &policies,
                into: &plan
            )
        }
    }

    /// Delivers the batch in the order in which it came, until a lossless port has no room.
    ///
    /// - Returns: how many of its frames are through; if not all, `hold` says what the next waits for.
    private mutating func distribute(
        _ plane: UnsafeMutablePointer<PortPlane>,
        _ pairIndex: Int,
        _ source: PortQueue,
        _ checks: Checks?
    ) -> Int {
        let pair = unsafe plane.pointee.pairs + pairIndex
        let number = unsafe plane.pointee.number
        let rx = unsafe plane.pointee.rx
        let isContinued =
            unsafe pair.pointee.hold.position == source.place
        var reached: UInt16 = unsafe isContinued ? pair.pointee.hold.reached : 0
        var segments = unsafe isContinued ? pair.pointee.hold.segments : 0
        if unsafe plan.floodCount == 0, unsafe !goesToLossless() {
            if let checks = unsafe checks {
                unsafe forwardTargetsChecked(pairIndex, rx, from: checks.gate, checks.clock)
            } else {
                unsafe forwardTargets(pairIndex, rx)
            }
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
                        checks
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
                let isNew = reached == 0
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
                        checks
                    )
                    if done == 0 {
                        unsafe pair.pointee.hold.reached = reached
                        return index
                    }
                    reached = port
                }
                if isNew, count > 1, unsafe checks != nil,
                    unsafe policies.unreached(index..<index + 1) != 0
                {
                    rx.drop(.noDestination)
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
        _ checks: Checks?
    ) -> Int {
        // Of a frame to all nobody counts who is not there.
        let isFlood = rx == nil
        let address = unsafe nm_load64_acquire(planes + Int(port))
        var list = unsafe UnsafePointer(trial.everyFrame + index)
        var target = unsafe ForwardingPlan.Target(port: port, count: count, list: list)
        var areViews = false
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
                checks,
                plane
            )
        }
        if let checks = unsafe checks {
            target = unsafe checked(port, index..<index + count, from: checks.gate, checks.clock)
            // A lossless port has no limit, so that this is all of the frames or, for one to all, none.
            if target.count == 0 { return count }
            unsafe list = target.list
            areViews = unsafe policies.rewrites
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
            if unsafe !deliver(target, sourcePair, isFlood: isFlood, areViews: areViews) {
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
                let rest = unsafe ForwardingPlan.Target(
                    port: port,
                    count: count - done,
                    list: list + done
                )
                unsafe hand(rest, to: sink, tx, areViews: areViews)
                done = count
                break
            }
            done += unsafe handWhileRoom(sink, list + done, count - done, &segments, tx, areViews)
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
}
