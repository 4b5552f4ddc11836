// Forwarding on a switch that has rules: who may send what, who gets it, and in which form.

import CNetmap
import Netmap
import Vale

extension WorkerState {
    // SAFETY (whole extension): as in Worker.swift; a gate is freed like a plane.

    /// The time, as policies need it.
    static var policyClock: PolicyClock {
        PolicyClock(seconds: nm_monotonic_seconds(), nanoseconds: nm_monotonic_ns())
    }

    /// As `forward`, on a switch with rules.
    mutating func forwardChecked(_ plane: UnsafeMutablePointer<PortPlane>, _ pair: Int) {
        let rx = unsafe plane.pointee.rx
        let number = unsafe plane.pointee.number
        let clock = unsafe WorkerState.policyClock
        let gate = unsafe gates.lock(number)
        unsafe plane.pointee.vale.pointee.vale.classifyWithPolicies(
            batch,
            from: number,
            gate,
            gates,
            clock,
            counters: rx,
            &policies,
            into: &plan
        )
        unsafe gates.unlock(gate)
        if unsafe plane.pointee.taps != 0 { unsafe showReceived(plane, isChecked: true) }
        if unsafe plan.floodCount == 0 {
            unsafe forwardTargetsChecked(pair, rx, from: gate, clock)
            return
        }
        let address = unsafe nm_load64_acquire(&plane.pointee.vale.pointee.members)
        guard let members = unsafe UnsafePointer<UInt16>(bitPattern: UInt(address)) else { return }
        let count = unsafe batch.count
        for k in unsafe 0..<Int(members[0]) {
            let port = unsafe members[1 + k]
            if port == number { continue }
            let target = unsafe checked(port, 0..<count, from: gate, clock)
            if target.count > 0 {
                _ = unsafe deliver(target, pair, isFlood: true, areViews: policies.rewrites)
            }
        }
        let lost = unsafe policies.unreached(0..<count)
        if lost != 0 { rx.drop(.noDestination, lost) }
    }

    /// Hands all frames of a plan without floods to their ports.
    mutating func forwardTargetsChecked(
        _ pair: Int,
        _ rx: DirectionCounters,
        from gate: UnsafeMutablePointer<PortGate>?,
        _ clock: PolicyClock
    ) {
        let count = unsafe batch.count
        for k in unsafe 0..<plan.targetCount {
            let port = unsafe plan.target(k).port
            let target = unsafe checked(port, 0..<count, from: gate, clock)
            guard target.count > 0 else { continue }
            if unsafe !deliver(target, pair, areViews: policies.rewrites) {
                rx.drop(.noDestination, target.count)
            }
        }
    }

    /// What a port gets of some frames.
    mutating func checked(
        _ port: UInt16,
        _ range: Range<Int>,
        from gate: UnsafeMutablePointer<PortGate>?,
        _ clock: PolicyClock
    ) -> ForwardingPlan.Target {
        let address = unsafe nm_load64_acquire(planes + Int(port))
        // A port that has just gone counts nothing; `deliver` says so.
        let plane = unsafe UnsafeMutablePointer<PortPlane>(bitPattern: UInt(address))
        let tx = unsafe plane?.pointee.tx ?? trial.tx
        let target = unsafe policies.target(
            port,
            range,
            of: plan,
            batch,
            from: gate,
            to: gates.gate(port),
            clock,
            tx
        )
        if unsafe plane == nil { unsafe trial.tx.clear() }
        return target
    }

    /// Has a queue, whose lock is held, deliver frames as long as it has room.
    ///
    /// - Returns: how many are through.
    mutating func handWhileRoom(
        _ sink: PortQueue,
        _ list: UnsafePointer<UInt16>,
        _ count: Int,
        _ segments: inout Int,
        _ tx: DirectionCounters,
        _ areViews: Bool
    ) -> Int {
        if areViews {
            return unsafe sink.deliverWhileRoom(
                policies.views,
                list,
                count,
                segments: &segments,
                counters: tx,
                trial: trial.tx,
                scratch: &scratch,
                finisher: &finisher
            )
        }
        return unsafe sink.deliverWhileRoom(
            batch,
            list,
            count,
            segments: &segments,
            counters: tx,
            trial: trial.tx,
            scratch: &scratch,
            finisher: &finisher
        )
    }
}
