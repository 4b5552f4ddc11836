// The comparison of what ports bring along or take with them: switches, links and addresses.

extension ConfigurationPlanner {
    mutating func compareSwitches() {
        let wishes = Dictionary(wanted.switches.map { ($0.name, $0.settings) }) { first, _ in first
        }
        let names = wanted.switches.map(\.name)
        let masters = Set(wantedPorts.map(\.master))
        for name in state.persistent.subtracting(names).subtracting(masters).sorted()
        where (former.switches.contains(name) || prunes) && !hasPorts(name) {
            let change = plan.add(.remove, "switch", name)
            plan.step(change, .removeSwitch, "switch-del", ["switch": .string(name)])
        }
        let others = Set(gone.keys.map(\.master)).intersection(masters).subtracting(names)
        for name in names + others.sorted() {
            let running = state.switches[name]
            let stays = running != nil && (state.persistent.contains(name) || hasPorts(name))
            // One that goes with its last port comes back without its settings.
            let before = stays ? running ?? [:] : ConfigurationFormat.defaults(ofSwitch: name)
            var after = running ?? before
            for (member, value) in wishes[name] ?? [:] { after[member] = value }
            let difference = Self.difference(before, after)
            let isMade =
                !stays && wishes[name] != nil && !(masters.contains(name) && difference.isEmpty)
            guard isMade || !difference.isEmpty else { continue }
            let change = plan.add(
                running == nil ? .add : .change,
                "switch",
                name,
                difference.map { Self.words($0, stays ? before[$0] : nil, after[$0]) }
            )
            var arguments: JSONObject = ["switch": .string(name)]
            for member in difference { arguments[member] = after[member] }
            let phase: ConfigurationPlan.Phase =
                if isMade {
                    .addSwitch
                } else if !stays {
                    .settleSwitch
                } else if after["mode"] == "learning" {
                    .openSwitch
                } else {
                    .setSwitch
                }
            plan.step(change, phase, isMade ? "switch-add" : "switch-set", arguments)
        }
    }

    /// Whether a switch has ports that are not removed.
    private func hasPorts(_ name: String) -> Bool {
        state.ports.keys.contains { $0.master == name && gone[$0] == nil }
    }

    // MARK: Links and addresses

    mutating func compareLinks() {
        for port in wanted.ports {
            let old = state.ports[port.name]
            let isUp = gone[port.name] == nil ? old?.isLinkUp ?? true : true
            guard let wish = port.isLinkUp ?? old?.isLinkUp, wish != isUp else { continue }
            let arguments: JSONObject = ["name": .string("\(port.name)"), "up": .bool(wish)]
            let change =
                gone[port.name]
                ?? plan.add(.change, "port", "\(port.name)", ["link=" + (wish ? "on" : "off")])
            plan.step(change, .setLink, "set_link", arguments)
        }
    }

    mutating func compareStations() {
        var names: Set<String> = []
        for station in wanted.stations {
            let master = station.port.master
            names.insert("\(master) \(station.key)")
            guard wantedPorts.contains(station.port) || state.ports[station.port] != nil else {
                plan.problems += problem(station.origin, "there is no port \(station.port)")
                continue
            }
            let old = state.stations[master]?[station.key]?.port
            let isLost = gone[station.port] != nil
            guard old != station.port || isLost else { continue }
            let change =
                isLost && old == station.port
                ? gone[station.port] ?? 0
                : plan.add(
                    old == nil ? .add : .change,
                    "address",
                    "\(station.key) on \(station.port)",
                    old.map { ["was on \($0)"] } ?? []
                )
            add(station, change)
        }
        for (master, table) in state.stations.sorted(by: { $0.key < $1.key }) {
            for (key, station) in table.sorted(by: { $0.key < $1.key })
            where !names.contains("\(master) \(key)") {
                if former.stations["\(master) \(key)"] == "\(station.port)" || prunes {
                    guard gone[station.port] == nil else { continue }
                    let change = plan.add(.remove, "address", "\(key) on \(station.port)")
                    plan.step(
                        change,
                        .removeAddress,
                        "fdb-del",
                        station.arguments("switch", master)
                    )
                } else if let change = gone[station.port], wantedPorts.contains(station.port) {
                    // Nobody's file has it, but the port that it was tied to is made again.
                    add(station, change)
                }
            }
        }
    }

    private mutating func add(_ station: Configuration.Station, _ change: Int) {
        let arguments = station.arguments("ifname", "\(station.port)")
        plan.step(change, .addAddress, "fdb-add", arguments)
    }
}

extension Configuration.Station {
    /// The arguments of `fdb-add` or `fdb-del`.
    fileprivate func arguments(_ member: String, _ value: String) -> JSONObject {
        var object: JSONObject = ["mac": .string(mac), member: .string(value)]
        if vlan != 0 { object["vlan"] = .integer(vlan) }
        return object
    }
}
