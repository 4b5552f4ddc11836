// What ports may do, from the operator's words to what workers check.

import CNetmap
import Control
import Netmap
import Vale
import Wire

extension PortPolicy {
    /// The rules as the switch has them.
    var rules: PortRules {
        var rules = PortRules()
        if let vlan {
            rules.vlan = .access(UInt16(vlan))
        } else if trunks != nil || nativeVLAN != nil {
            var set = trunks == nil ? VLANSet.all : VLANSet()
            for range in trunks ?? [] { for vlan in range { set.insert(UInt16(vlan)) } }
            rules.vlan = .trunk(set, native: nativeVLAN.map { UInt16($0) })
        }
        rules.isIsolated = isIsolated
        rules.macLimit = macLimit
        switch sources {
        case .off: break
        case .first: rules.sources = .first
        case .only(let list): rules.sources = .only(list.compactMap { MACAddress($0)?.rawValue })
        }
        rules.stormLimit = UInt64(stormLimit)
        let limit = { (rate: Rate) in
            RateRule(bitsPerSecond: rate.bitsPerSecond, burst: Int64(rate.bytes))
        }
        rules.rx = rx.map(limit)
        rules.tx = tx.map(limit)
        return rules
    }
}

extension Engine {
    /// Has a port follow rules from now on.
    ///
    /// - Parameters:
    ///   - policy: the rules.
    ///   - port: the port, on its switch already or about to come to it.
    ///   - vale: that switch; nil for a port on none.
    func apply(_ policy: PortPolicy, to port: Port, on vale: SwitchState?) {
        let hadVLAN = port.policy.hasVLAN
        let before = port.policy
        port.policy = policy
        let old = unsafe table.gates.gate(port.number)
        var learned: [ForwardingTable.Entry] = []
        if let vale {
            let ageing = unsafe vale.plane.pointee.vale.ageing
            learned = unsafe vale.plane.pointee.vale.table.contents(
                now: nm_monotonic_seconds(),
                ageing: ageing
            ).filter { $0.port == port.number && !$0.isStatic }
        }
        let gate = unsafe PortGate.make(
            policy.rules,
            replacing: old,
            learned: learned.count,
            now: nm_monotonic_ns()
        )
        // Of an engine that came back: the only station that the port had is the first.
        if policy.sources == .first, unsafe old == nil, learned.count == 1 {
            unsafe gate?.pointee.remember(first: learned[0].mac)
        }
        unsafe table.gates.set(port.number, gate)
        if let vale { publishRules(of: vale, with: port) }
        pool.synchronize()
        unsafe PortGate.free(old)
        // What was learned at the port was learned in other VLANs.
        let isSame =
            hadVLAN == policy.hasVLAN && before.vlan == policy.vlan
            && before.trunks == policy.trunks && before.nativeVLAN == policy.nativeVLAN
        if !isSame, let vale { unsafe vale.plane.pointee.vale.table.flush(dynamicOn: port.number) }
    }

    /// Takes the rules of a port away that no worker serves any more.
    func dropRules(of number: UInt16) {
        guard let gate = unsafe table.gates.gate(number) else { return }
        unsafe table.gates.set(number, nil)
        pool.synchronize()
        unsafe PortGate.free(gate)
    }

    /// Says whether workers have to look at rules at all.
    func publishRules(of vale: SwitchState, with port: Port? = nil) {
        let all = vale.ports.compactMap { ports[$0]?.policy } + (port.map { [$0.policy] } ?? [])
        unsafe vale.plane.pointee.vale.setRules(
            any: all.contains { !$0.isEmpty },
            vlans: all.contains { $0.hasVLAN }
        )
    }

    /// Changes what a port may do and whether its senders wait.
    func setPort(_ arguments: JSONObject) throws(QMPError) {
        let port = try port(arguments, "name")
        if let isRunning = arguments["run"]?.boolValue {
            guard arguments.count == 2 else {
                throw QMPError("Parameter 'run' goes with no other than 'name'")
            }
            guard let replay = port as? PcapPort else {
                throw QMPError("Port '\(port.ifname)' is no replay; 'run' is for those")
            }
            return try replay.setRunning(isRunning)
        }
        let policy = try PortPolicy(arguments, changing: port.policy)
        let isAboutLossless = ["lossless", "lossless-timeout"].contains { arguments[$0] != nil }
        let lossless = isAboutLossless ? try LosslessOptions(arguments) : port.lossless
        if isAboutLossless {
            guard let port = port as? NetmapPort else {
                throw QMPError(
                    "Port '\(port.ifname)' is lossless or not when it is added: "
                        + "netdev_add with lossless=on"
                )
            }
            if lossless != nil, let why = port.isNeverLossless {
                throw QMPError("Port '\(port.ifname)' \(why)")
            }
        }
        try policy.check(lossless: lossless)
        let vale = switches[port.master ?? ""]
        if !policy.isEmpty {
            guard let vale else {
                throw QMPError("Port '\(port.ifname)' is on no switch, which is where rules apply")
            }
            try check(policy, for: port.ifname, on: vale)
        }
        if isAboutLossless {
            port.setLossless(lossless)
            if let vale { publishMembers(of: vale) }
        }
        if policy != port.policy {
            apply(policy, to: port, on: vale)
            save()
        }
        pool.recall()
    }

    /// Refuses rules that the kind of switch cannot follow.
    func check(
        _ policy: PortPolicy,
        for name: String,
        on vale: SwitchState
    ) throws(QMPError) {
        guard let why = vale.options.objection(to: policy) else { return }
        throw QMPError(
            "Port '\(name)' cannot have such rules on '\(vale.name)': \(why); "
                + "switch-set with mode=learning makes it a switch that does"
        )
    }
}
