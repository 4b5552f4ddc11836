// Showing frames to dumps. Only ports that have one come here: their frames are delivered one by one, so
// that it is known of each what became of it.

import CNetmap
import Netmap
import Ports
import Vale

extension WorkerState {
    // SAFETY (whole extension): as in Worker.swift.

    /// Shows the frames of the batch, which has just been classified, to dumps of the port that they came from.
    ///
    /// - Parameters:
    ///   - plane: the port.
    ///   - reason: why all of them are dropped, if they are.
    ///   - isChecked: whether the switch has rules, which have noted why a frame goes nowhere.
    func showReceived(
        _ plane: UnsafeMutablePointer<PortPlane>,
        dropped reason: DropReason? = nil,
        isChecked: Bool = false
    ) {
        let taps = unsafe nm_load64_acquire(&plane.pointee.taps)
        let time = nm_realtime_ns()
        if let reason {
            for index in unsafe 0..<batch.count {
                let sight = FrameSight(time: time, isInbound: true, reason: reason.rawValue)
                unsafe DumpTaps.show(taps, batch, index, sight)
            }
            return
        }
        let address = unsafe nm_load64_acquire(&plane.pointee.vale.pointee.members)
        let members = unsafe UnsafePointer<UInt16>(bitPattern: UInt(address))
        let isAlone = unsafe (members.map { unsafe Int($0[0]) } ?? 0) <= 1
        var index = 0
        while unsafe index < batch.count {
            let run = unsafe plan.run(from: index)
            var lost: DropReason?
            switch run.way {
            case .nowhere: lost = .sameSegment
            case .flood: lost = isAlone ? .noDestination : nil
            case .unicast:
                lost = unsafe nm_load64(planes + Int(run.port)) == 0 ? .noDestination : nil
            }
            for frame in index..<index + run.count {
                var sight = FrameSight(time: time, isInbound: true)
                if isChecked, run.way == .nowhere {
                    sight.reason = unsafe policies.refusal(frame)
                } else if let lost {
                    let isShort = unsafe run.way == .nowhere && batch.frames[frame].length < 14
                    sight.reason = isShort ? DropReason.malformed.rawValue : lost.rawValue
                }
                unsafe DumpTaps.show(taps, batch, frame, sight)
            }
            index += run.count
        }
    }

    /// `PortQueue.discard` for a port with dumps.
    mutating func discardShown(_ plane: UnsafeMutablePointer<PortPlane>, _ source: PortQueue) {
        unsafe source.collect(into: &batch, counters: trial.rx)
        // Those that were flawed besides were to be discarded, too.
        let flawed = unsafe Int(trial.rx.dropped)
        unsafe trial.rx.clear()
        unsafe plane.pointee.rx.drop(.queueDisabled, batch.count + flawed)
        unsafe showReceived(plane, dropped: .queueDisabled)
        unsafe source.completeCollected()
        unsafe batch.removeAll()
    }

    /// `deliver` for a port with dumps.
    mutating func deliverShown(
        _ target: ForwardingPlan.Target,
        _ sourcePair: Int,
        isFlood: Bool,
        areViews: Bool,
        _ plane: UnsafeMutablePointer<PortPlane>
    ) -> Bool {
        let tx = unsafe plane.pointee.tx
        let taps = unsafe nm_load64_acquire(&plane.pointee.taps)
        let time = nm_realtime_ns()
        unsafe isShowing = true
        for k in 0..<target.count {
            let one = unsafe ForwardingPlan.Target(
                port: target.port,
                count: 1,
                list: target.list + k
            )
            // What grows while one frame is delivered is that frame's only if no other worker delivers.
            while unsafe nm_try_lock(&plane.pointee.showLock) == 0 { nm_pause() }
            defer { unsafe nm_unlock(&plane.pointee.showLock) }
            unsafe watch.begin(tx)
            guard unsafe deliver(one, sourcePair, isFlood: isFlood, areViews: areViews) else {
                unsafe isShowing = false
                if k == 0 { return false }
                // The port has gone meanwhile, and its counters still have to say so.
                tx.drop(.noDestination, target.count - k)
                return true
            }
            let sight = unsafe watch.end(tx, time: time)
            // As the port gets it, with its tag or without.
            if areViews {
                unsafe DumpTaps.show(taps, policies.views, Int(target.list[k]), sight)
            } else {
                unsafe DumpTaps.show(taps, batch, Int(target.list[k]), sight)
            }
        }
        unsafe isShowing = false
        return true
    }

    /// `deliverWaiting` for a port with dumps.
    mutating func deliverWaitingShown(
        _ port: UInt16,
        from index: Int,
        count: Int,
        _ sourcePair: Int,
        _ segments: inout Int,
        _ source: UnsafeMutablePointer<QueuePair>,
        _ rx: DirectionCounters?,
        _ checks: Checks?,
        _ plane: UnsafeMutablePointer<PortPlane>
    ) -> Int {
        let tx = unsafe plane.pointee.tx
        let taps = unsafe nm_load64_acquire(&plane.pointee.taps)
        let time = nm_realtime_ns()
        unsafe isShowing = true
        var done = 0
        while done < count {
            while unsafe nm_try_lock(&plane.pointee.showLock) == 0 { nm_pause() }
            defer { unsafe nm_unlock(&plane.pointee.showLock) }
            unsafe watch.begin(tx)
            let n = unsafe deliverWaiting(
                port,
                from: index + done,
                count: 1,
                sourcePair,
                &segments,
                source,
                rx,
                checks
            )
            // What waits is shown when it is through.
            if n == 0 { break }
            let sight = unsafe watch.end(tx, time: time)
            unsafe DumpTaps.show(taps, batch, index + done, sight)
            done += 1
        }
        unsafe isShowing = false
        return done
    }
}
