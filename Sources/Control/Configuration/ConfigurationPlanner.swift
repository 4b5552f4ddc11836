// The comparison, kind by kind. Sockets first, because ports go with them; then ports, because settings and
// addresses go with those.

struct ConfigurationPlanner {
    var plan = ConfigurationPlan()
    let wanted: Configuration
    let state: RunningState
    let former: AppliedObjects
    let prunes: Bool
    /// Ports that are removed or replaced, by the change that does it.
    var gone: [ValePortName: Int] = [:]
    /// Sockets that are removed to be made again.
    private var replacedChardevs: Set<String> = []
    var wantedPorts: Set<ValePortName> = []

    /// Members of `port-set` that ports of `netdev_add` have for life.
    private static let fixed: Set = ["lossless", "lossless-timeout"]

    init(
        _ wanted: Configuration,
        _ state: RunningState,
        _ former: AppliedObjects,
        prunes: Bool
    ) {
        self.wanted = wanted
        self.state = state
        self.former = former
        self.prunes = prunes
    }

    mutating func compare() {
        wantedPorts = Set(wanted.ports.map(\.name))
        for chardev in wanted.chardevs {
            if let old = state.chardevs[chardev.options.id], old != chardev.options {
                replacedChardevs.insert(old.id)
            }
        }
        comparePorts()
        compareChardevs()
        compareSwitches()
        compareLinks()
        compareStations()
    }

    func problem(_ origin: SourcePosition?, _ text: String) -> [ConfigurationError] {
        origin.map { [ConfigurationError($0, text)] } ?? []
    }

    // MARK: Ports

    private mutating func comparePorts() {
        for name in state.ports.keys.sorted(by: { "\($0)" < "\($1)" })
        where !wantedPorts.contains(name) {
            guard let port = state.ports[name], let netdev = port.netdev, !port.isBorrowed else {
                continue
            }
            let isFormer = former.ports["\(name)"] == netdev
            guard isFormer || prunes else { continue }
            let change = plan.add(.remove, "port", "\(name)")
            plan.step(change, .removePort, "netdev_del", ["id": .string(port.id)])
            gone[name] = change
        }
        for port in wanted.ports { compare(port) }
    }

    private mutating func compare(_ port: Configuration.Port) {
        let chardev = port.netdev["chardev"]?.stringValue
        if let chardev, state.chardevs[chardev] == nil,
            !wanted.chardevs.contains(where: { $0.options.id == chardev })
        {
            plan.problems += problem(port.origin, "there is no chardev '\(chardev)'")
            return
        }
        guard let old = state.ports[port.name] else {
            let type = port.netdev["type"]?.stringValue ?? ""
            let place = ConfigurationFormat.placeMembers(ofType: type)
            let details = Self.words(port.netdev, but: Set(["id"] + place))
            let change = plan.add(.add, "port", "\(port.name)", details)
            plan.step(change, .addPort, "netdev_add", port.netdev)
            return
        }
        guard let netdev = old.netdev, !old.isBorrowed || netdev == port.netdev else {
            plan.problems += problem(
                port.origin,
                "\(port.name) is there already, and belongs to a program or a guest that is running"
            )
            return
        }
        let difference = Self.difference(netdev, port.netdev)
        let isUnderneath = chardev.map(replacedChardevs.contains) ?? false
        guard !difference.isEmpty || isUnderneath else { return }
        var details = difference.map { Self.words($0, netdev[$0], port.netdev[$0]) }
        if !isUnderneath, let arguments = inPlace(difference, netdev, port) {
            let change = plan.add(.change, "port", "\(port.name)", details)
            plan.step(change, .setPort, "port-set", arguments)
            return
        }
        if let chardev, isUnderneath { details.append("chardev '\(chardev)' is replaced") }
        let change = plan.add(.replace, "port", "\(port.name)", details)
        plan.step(change, .removePort, "netdev_del", ["id": .string(old.id)])
        plan.step(
            change,
            .addPort,
            "netdev_add",
            port.netdev,
            undo: QMPRequest("netdev_add", netdev)
        )
        gone[port.name] = change
    }

    /// The arguments of `port-set` that change a port as wanted, if they can.
    private func inPlace(
        _ difference: [String],
        _ old: JSONObject,
        _ port: Configuration.Port
    ) -> JSONObject? {
        var arguments: JSONObject = ["name": .string("\(port.name)")]
        let members = Schema.wirevale.members(of: "port-set-arg", tag: nil).map(\.name)
        for name in difference {
            guard members.contains(name), !Self.fixed.contains(name) else { return nil }
            if let value = port.netdev[name] {
                arguments[name] = value
                continue
            }
            // An access port has neither, and a burst goes with its rate.
            if ["trunks", "native-vlan"].contains(name), port.netdev["vlan"] != nil { continue }
            if name.hasSuffix("-burst") {
                guard port.netdev[name.dropLast("burst".count) + "rate"] == nil else { return nil }
                continue
            }
            arguments[name] = Self.nothing(name, old[name])
        }
        return arguments
    }

    /// What takes a member of `port-set` back.
    private static func nothing(_ name: String, _ old: JSONValue?) -> JSONValue {
        switch old {
        case .bool: false
        case .integer: 0
        default: name == "trunks" ? "all" : "off"
        }
    }

    // MARK: Sockets

    private mutating func compareChardevs() {
        let ids = Set(wanted.chardevs.map(\.options.id))
        for (id, options) in state.chardevs.sorted(by: { $0.key < $1.key }) where !ids.contains(id)
        {
            let isFormer = former.chardevs[id] == options.arguments
            let isInUse = state.ports.contains {
                $0.value.netdev?["chardev"]?.stringValue == id && gone[$0.key] == nil
            }
            guard (isFormer || prunes) && !isInUse else { continue }
            let change = plan.add(.remove, "chardev", id)
            plan.step(change, .removeChardev, "chardev-remove", ["id": .string(id)])
        }
        for chardev in wanted.chardevs {
            let options = chardev.options
            let old = state.chardevs[options.id]
            guard old != options else { continue }
            let change = plan.add(
                old == nil ? .add : .replace,
                "chardev",
                options.id,
                [old.map { $0.text + " -> " + options.text } ?? options.text]
            )
            if let old {
                plan.step(change, .removeChardev, "chardev-remove", ["id": .string(old.id)])
            }
            plan.step(
                change,
                .addChardev,
                "chardev-add",
                options.arguments,
                undo: old.map { QMPRequest("chardev-add", $0.arguments) }
            )
        }
    }

    // MARK: Words

    static func difference(_ old: JSONObject, _ new: JSONObject) -> [String] {
        (old.keys + new.keys.filter { old[$0] == nil }).filter { old[$0] != new[$0] }
    }

    private static func words(_ object: JSONObject, but names: Set<String>) -> [String] {
        let names = object.keys.filter { !names.contains($0) && $0 != "type" }
        return (["type"] + names).map { words($0, nil, object[$0]) }
    }

    static func words(_ name: String, _ old: JSONValue?, _ new: JSONValue?) -> String {
        let text = { (value: JSONValue?) -> String in
            switch value {
            case nil: "default"
            case .bool(let flag): flag ? "on" : "off"
            case .string(let text): text
            case .some(let value): value.description
            }
        }
        return old == nil ? "\(name)=\(text(new))" : "\(name)=\(text(old)) -> \(text(new))"
    }
}

extension ChardevOptions {
    /// The socket in a few words.
    fileprivate var text: String {
        isServer ? "listens on \(path)" : "connects to \(path), reconnect=\(reconnect)"
    }
}
