// Classification on a switch that is told more than to learn: its mode, VLANs, what its ports may send.
//
// Slower than `classify`, and only where it is needed: `isPlain` says so, once a batch.

import CNetmap
public import Netmap

extension Switch {
    /// Whether `classify` does all that the switch has to do.
    public var isPlain: Bool {
        @_noLocks get { unsafe nm_load32(settings + 1) == 0 }
    }

    private static var filtersGroups: UInt32 { @_noLocks get { 4 } }
    private static var hasRules: UInt32 { @_noLocks get { 8 } }
    private static var hasVLANs: UInt32 { @_noLocks get { 16 } }

    private func flag(_ bit: UInt32) -> Bool { unsafe nm_load32(settings + 1) & bit != 0 }
    private func set(_ bits: UInt32, _ value: UInt32) {
        let word = unsafe nm_load32(settings + 1)
        unsafe nm_store32(settings + 1, word & ~bits | value & bits)
    }

    /// What the switch does with frames.
    public var mode: SwitchMode {
        get { unsafe SwitchMode(rawValue: UInt8(nm_load32(settings + 1) & 3)) ?? .learning }
        nonmutating set { set(3, UInt32(newValue.rawValue)) }
    }

    /// Whether frames to 01:80:c2:00:00:00 to 0f go to all like those to any group.
    public var forwardsGroups: Bool {
        get { !flag(Switch.filtersGroups) }
        nonmutating set { set(Switch.filtersGroups, newValue ? 0 : .max) }
    }

    /// Says whether any port of the switch has rules, and whether any has VLANs.
    public func setRules(any: Bool, vlans: Bool) {
        set(
            Switch.hasRules | Switch.hasVLANs,
            (any ? Switch.hasRules : 0) | (vlans ? Switch.hasVLANs : 0)
        )
    }

    /// As `classify`, for any switch.
    ///
    /// Of a plan that is a trial, the ports' limits are charged by `PolicyPass.commit` only.
    ///
    /// - Parameters:
    ///   - batch: frames from one port.
    ///   - source: that port.
    ///   - gate: its gate, locked by the caller.
    ///   - gates: those of all ports.
    ///   - clock: the time.
    ///   - counters: of the direction from that port.
    ///   - pass: what the ports' rules make of the batch.
    ///   - plan: where the frames go.
    @_noLocks public func classifyWithPolicies(
        _ batch: borrowing FrameBatch,
        from source: UInt16,
        _ gate: UnsafeMutablePointer<PortGate>?,
        _ gates: GateTable,
        _ clock: PolicyClock,
        counters: DirectionCounters,
        _ pass: inout PolicyPass,
        into plan: inout ForwardingPlan
    ) {
        plan.reset()
        pass.flooded = 0
        pass.reached = 0
        // SAFETY (whole extension): `gate` is locked by the caller and lives as long as the worker's turn; frames are
        // named by indices below the batch's count.
        if let gate = unsafe gate {
            unsafe pass.rx = gate.pointee.rx
            unsafe pass.storm = gate.pointee.storm
            pass.rx.fill(now: clock.nanoseconds)
            pass.storm.fill(now: clock.nanoseconds)
        } else {
            pass.rx = .unlimited
            pass.storm = .unlimited
        }
        let flags = unsafe nm_load32(settings + 1)
        let admitted = unsafe admit(batch, gate, flags, counters, &pass, &plan)
        unsafe decide(batch, admitted, source, gate, gates, flags, clock, counters, &pass, &plan)
        plan.frameCount = batch.count
        plan.flooded = pass.flooded.nonzeroBitCount
        if !plan.isTrial { unsafe pass.commit(gate) }
        if plan.flooded != 0, !plan.isTrial { add(floods: plan.flooded) }
    }

    /// First pass: what each frame says about itself, and whether its port may send it.
    ///
    /// - Returns: the frames that it may, a bit each.
    @_noLocks private func admit(
        _ batch: borrowing FrameBatch,
        _ gate: UnsafeMutablePointer<PortGate>?,
        _ flags: UInt32,
        _ counters: DirectionCounters,
        _ pass: inout PolicyPass,
        _ plan: inout ForwardingPlan
    ) -> UInt64 {
        let hasVLANs = flags & Switch.hasVLANs != 0
        let checksSource = unsafe gate?.pointee.checksSource ?? false
        pass.rewrites = hasVLANs || checksSource
        pass.views.extraSegments = 0
        var admitted: UInt64 = 0
        var multicast = 0
        for i in 0..<batch.count {
            let length = unsafe Int(batch.frames[i].length)
            unsafe plan.destinations[i] = ForwardingPlan.nowhere
            unsafe pass.vlans[i] = 0
            guard length >= 14 else {
                pass.refuse(i, .malformed, counters)
                continue
            }
            let head = unsafe pass.load(batch, i)
            let destination = unsafe nm_load64(head) & 0xffff_ffff_ffff
            let from = unsafe nm_load64(head) &>> 48 | UInt64(nm_load32(head + 8)) &<< 16
            let type = unsafe nm_load16(head + 12).bigEndian
            multicast = multicast &+ Int(truncatingIfNeeded: destination & 1)
            if Switch.isKept(destination, type, flags) {
                pass.refuse(i, .filtered, counters)
                continue
            }
            let isTagged = hasVLANs && type == 0x8100
            if isTagged, length < 18 {
                pass.refuse(i, .malformed, counters)
                continue
            }
            var control: UInt16 = 0
            if hasVLANs {
                if isTagged { control = unsafe nm_load16(head + 14).bigEndian }
                var vlan = control & 0x0fff
                if vlan == 0 { vlan = unsafe gate?.pointee.untagged ?? 0 }
                guard vlan < 4095, unsafe gate?.pointee.contains(vlan) ?? true else {
                    pass.refuse(i, .vlan, counters)
                    continue
                }
                unsafe pass.vlans[i] = vlan
                control = control & 0xf000 | vlan
            }
            if checksSource, let gate = unsafe gate, unsafe !gate.pointee.allows(from) {
                pass.refuse(i, .sourceCheck, counters)
                continue
            }
            if pass.rewrites {
                // A checksum over the head that is exchanged would be no protocol's.
                if unsafe batch.frames[i].offload, unsafe batch.headers[i].flags & 1 != 0,
                    unsafe batch.headers[i].checksumStart < (isTagged ? 18 : 14)
                        || batch.headers[i].checksumStart > 0xfffb
                {
                    pass.refuse(i, .badOffload, counters)
                    continue
                }
            }
            guard pass.rx.take(length) else {
                pass.refuse(i, .rateLimit, counters)
                continue
            }
            if pass.rewrites { pass.prepare(batch, i, control: control, wasTagged: isTagged) }
            admitted |= 1 &<< UInt64(i)
        }
        if multicast != 0 { counters.count(packets: 0, bytes: 0, multicast: multicast) }
        return admitted
    }

    /// Whether a frame goes no further than the switch: flow control of one link (IEEE 802.3 31B) on a
    /// wire, what IEEE 802.1Q 8.6.3 reserves on a switch that was told to keep it.
    @_noLocks private static func isKept(
        _ destination: UInt64,
        _ type: UInt16,
        _ flags: UInt32
    ) -> Bool {
        guard destination & 0xf0ff_ffff_ffff == 0xc2_8001 else { return false }
        switch flags & 3 {
        case 0: return flags & filtersGroups != 0
        case 1: return destination &>> 40 == 1 && type == 0x8808
        default: return false
        }
    }

    /// Second pass: where each frame goes.
    @_noLocks private func decide(
        _ batch: borrowing FrameBatch,
        _ admitted: UInt64,
        _ source: UInt16,
        _ gate: UnsafeMutablePointer<PortGate>?,
        _ gates: GateTable,
        _ flags: UInt32,
        _ clock: PolicyClock,
        _ counters: DirectionCounters,
        _ pass: inout PolicyPass,
        _ plan: inout ForwardingPlan
    ) {
        let ageing = self.ageing
        let unlearned: UInt64 = batch.isUnlearned ? .max : 1
        let isIsolated = unsafe gate?.pointee.isIsolated ?? false
        var left = admitted
        while left != 0 {
            let i = left.trailingZeroBitCount
            left &= left &- 1
            let head = unsafe pass.heads + i &* PolicyPass.headStride
            let vlan = unsafe UInt64(pass.vlans[i]) &<< 48
            let destination = unsafe nm_load64(head) & 0xffff_ffff_ffff
            var port = ForwardingPlan.flood
            if flags & 3 == 0 {
                let from = unsafe nm_load64(head) &>> 48 | UInt64(nm_load32(head + 8)) &<< 16
                if from & 1 == 0, from != 0 {
                    let station = from | vlan
                    if let gate = unsafe gate, unsafe gate.pointee.macLimit != 0,
                        unsafe !hasRoom(for: station, from: source, gate, clock.seconds, ageing)
                    {
                        pass.refuse(i, .macLimit, counters)
                        continue
                    }
                    if from & unlearned == 0 {
                        let learned = table.learn(
                            station,
                            on: source,
                            now: clock.seconds,
                            ageing: ageing
                        )
                        if learned.changedTable, let gate = unsafe gate {
                            unsafe gate.pointee.learned = gate.pointee.learned &+ 1
                        }
                    }
                }
                if destination & 1 == 0 {
                    port =
                        table.lookup(destination | vlan, now: clock.seconds, ageing: ageing)
                        ?? ForwardingPlan.flood
                }
                if port == source {
                    pass.refuse(i, .sameSegment, counters)
                    continue
                }
            }
            if port == ForwardingPlan.flood {
                if flags & 3 == 0 || destination & 1 != 0, !pass.storm.take(1) {
                    pass.refuse(i, .stormLimit, counters)
                    continue
                }
                pass.flooded |= 1 &<< UInt64(i)
            } else {
                if let other = unsafe gates.gate(port) {
                    if isIsolated, unsafe other.pointee.isIsolated {
                        pass.refuse(i, .isolated, counters)
                        continue
                    }
                    if unsafe !other.pointee.contains(pass.vlans[i]) {
                        pass.refuse(i, .vlan, counters)
                        continue
                    }
                }
                plan.append(i, to: plan.group(of: port))
            }
            unsafe plan.destinations[i] = port
        }
    }

    /// Whether a station may be learned at a port with a limit: it is known there, or one more may be.
    @_noLocks private func hasRoom(
        for station: UInt64,
        from source: UInt16,
        _ gate: UnsafeMutablePointer<PortGate>,
        _ now: UInt32,
        _ ageing: UInt32
    ) -> Bool {
        if table.lookup(station, now: now, ageing: ageing) == source { return true }
        if unsafe gate.pointee.learned < gate.pointee.macLimit { return true }
        // Some may have been forgotten, or have moved; looked at once a second.
        guard unsafe gate.pointee.countedAt != now else { return false }
        unsafe gate.pointee.countedAt = now
        unsafe gate.pointee.learned = table.count(learnedOn: source, now: now, ageing: ageing)
        return unsafe gate.pointee.learned < gate.pointee.macLimit
    }
}
