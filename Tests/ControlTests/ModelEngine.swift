// An engine as far as configuration is concerned: what it has, what goes with what, and what it refuses.

import Control

struct ModelEngine {
    var ports: [String: JSONObject] = [:]
    var down: Set<String> = []
    var switches: [String: SwitchOptions] = [:]
    var persistent: Set<String> = []
    var chardevs: [String: ChardevOptions] = [:]
    var stations: [String: [String: String]] = [:]
    /// Ports of programs.
    var programs: Set<String> = []
    /// Commands that are refused whatever they say, each so many times.
    var refused: [String: Int] = [:]
    /// Everything that was asked for.
    var log: [String] = []

    private func master(_ port: String) -> String { String(port.prefix { $0 != ":" }) }

    private func members(of name: String) -> [String] {
        (Array(ports.keys) + programs).filter { master($0) == name }
    }

    private mutating func set(_ name: String, _ arguments: JSONObject) throws(QMPError) {
        let new = try SwitchOptions(arguments, changing: switches[name] ?? SwitchOptions())
        if new.mode == .wire, members(of: name).count > 2 { throw QMPError("too many for a wire") }
        for port in members(of: name) {
            guard let netdev = ports[port] else { continue }
            if let why = new.objection(to: try NetdevOptions(netdev).policy) { throw QMPError(why) }
        }
        switches[name] = new
    }

    mutating func perform(_ request: QMPRequest) throws(QMPError) {
        let arguments = request.arguments
        try SchemaValidator().validate(command: request.command, arguments: arguments)
        log.append(request.command)
        if let count = refused[request.command], count > 0 {
            refused[request.command] = count - 1
            throw QMPError("no")
        }
        switch request.command {
        case "netdev_add":
            let options = try NetdevOptions(arguments)
            let name = "\(options.port)"
            guard ports[name] == nil, !ports.values.contains(where: { $0["id"] == arguments["id"] })
            else { throw .duplicate(options.id) }
            if let chardev = arguments["chardev"]?.stringValue {
                guard chardevs[chardev] != nil else { throw QMPError("chardev not found") }
                guard !ports.values.contains(where: { $0["chardev"] == arguments["chardev"] })
                else {
                    throw QMPError("chardev in use")
                }
            }
            ports[name] = options.arguments
            let master = master(name)
            if switches[master]?.mode == .wire, members(of: master).count > 2 {
                ports[name] = nil
                throw QMPError("a wire has no room")
            }
            if let why = switches[master]?.objection(to: options.policy) {
                ports[name] = nil
                throw QMPError(why)
            }
            switches[master] = switches[master] ?? SwitchOptions()
        case "port-set":
            let name = arguments["name"]?.stringValue ?? ""
            guard let old = ports[name] else { throw .deviceNotFound(name) }
            var options = try NetdevOptions(old)
            guard arguments["lossless"] == nil else { throw QMPError("for life") }
            options.policy = try PortPolicy(arguments, changing: options.policy)
            if let why = switches[master(name)]?.objection(to: options.policy) {
                throw QMPError(why)
            }
            ports[name] = options.arguments
        case "switch-add":
            let name = arguments["switch"]?.stringValue ?? ""
            guard persistent.insert(name).inserted else { throw QMPError("exists already") }
            try set(name, arguments)
        case "switch-del":
            let name = arguments["switch"]?.stringValue ?? ""
            guard members(of: name).isEmpty else { throw QMPError("has ports") }
            guard switches.removeValue(forKey: name) != nil else { throw .deviceNotFound(name) }
            persistent.remove(name)
        case "netdev_del":
            guard let name = ports.first(where: { $0.value["id"] == arguments["id"] })?.key else {
                throw .deviceNotFound(arguments["id"]?.stringValue ?? "")
            }
            ports[name] = nil
            down.remove(name)
            let master = master(name)
            stations[master] = stations[master]?.filter { $0.value != name }
            if members(of: master).isEmpty, !persistent.contains(master) {
                switches[master] = nil
                stations[master] = nil
            }
        case "chardev-add":
            let options = try ChardevOptions(arguments)
            guard chardevs[options.id] == nil else { throw .duplicate(options.id) }
            chardevs[options.id] = options
        case "chardev-remove":
            let id = arguments["id"]?.stringValue ?? ""
            guard !ports.values.contains(where: { $0["chardev"]?.stringValue == id }) else {
                throw QMPError("busy")
            }
            guard chardevs.removeValue(forKey: id) != nil else { throw .deviceNotFound(id) }
        case "switch-set":
            let name = arguments["switch"]?.stringValue ?? ""
            guard switches[name] != nil else { throw .deviceNotFound(name) }
            try set(name, arguments)
        case "set_link":
            let name = arguments["name"]?.stringValue ?? ""
            guard ports[name] != nil else { throw .deviceNotFound(name) }
            if arguments["up"] == true { down.remove(name) } else { down.insert(name) }
        case "fdb-add":
            let name = arguments["ifname"]?.stringValue ?? ""
            guard ports[name] != nil else { throw .deviceNotFound(name) }
            stations[master(name), default: [:]][arguments["mac"]?.stringValue ?? ""] = name
        case "fdb-del":
            let name = arguments["switch"]?.stringValue ?? ""
            let mac = arguments["mac"]?.stringValue ?? ""
            guard stations[name]?.removeValue(forKey: mac) != nil else {
                throw .deviceNotFound(mac)
            }
        default: throw .commandNotFound(request.command)
        }
    }

    /// What its queries answer.
    var state: RunningState {
        let own = ports.map { name, netdev -> JSONValue in
            [
                "ifname": .string(name), "master": .string(master(name)), "id": netdev["id"] ?? "",
                "netdev": .object(netdev), "link": .bool(!down.contains(name)), "ephemeral": false,
            ]
        }
        let others = programs.map { name -> JSONValue in
            ["ifname": .string(name), "master": .string(master(name)), "ephemeral": false]
        }
        return RunningState([
            .array(own + others),
            .array(
                switches.map { name, options in
                    [
                        "ifname": .string(name), "mode": .string(options.mode.rawValue),
                        "group-forward": .bool(options.forwardsGroups),
                        "persistent": .bool(persistent.contains(name)),
                        "fdb": ["ageing": .integer(options.ageing)],
                    ]
                }
            ),
            .array(
                chardevs.values.map {
                    ["label": .string($0.id), "backend": $0.arguments["backend"] ?? .null]
                }
            ),
            .array(
                stations.flatMap { _, table in
                    table.map {
                        ["mac": .string($0.key), "ifname": .string($0.value), "state": "static"]
                    }
                }
            ),
        ])
    }

    /// Carries out a plan.
    mutating func carryOut(_ plan: ConfigurationPlan) -> ConfigurationRun {
        var run = ConfigurationRun(plan)
        while let request = run.next() {
            do throws(QMPError) {
                try perform(request)
                run.finish(nil)
            } catch {
                run.finish(error)
            }
        }
        return run
    }

    /// Applies a file.
    @discardableResult
    mutating func apply(
        _ text: String,
        after before: String? = nil,
        prunes: Bool = false
    ) -> ConfigurationRun {
        let wanted = ConfigurationFile(Array(text.utf8), path: "f").configuration
        let former = before.map {
            AppliedObjects(ConfigurationFile(Array($0.utf8), path: "f").configuration)
        }
        let plan = ConfigurationPlan(
            wanted,
            from: state,
            former: former ?? AppliedObjects(),
            prunes: prunes
        )
        return carryOut(plan)
    }
}
