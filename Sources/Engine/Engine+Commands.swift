// What each command of the control protocol does. The schema has checked members and types before.

import CNetmap
import Control
import Glibc
import Netmap
import Vale
import VhostUser
import Wire

extension Engine {
    /// Performs a request that the schema has accepted and that no guest has to be asked for.
    ///
    /// - Parameters:
    ///   - request: the command and its arguments.
    ///   - client: the connection that asked, which becomes the owner of ephemeral ports.
    /// - Returns: what the client gets as `return`.
    /// - Throws: what the client gets as `error`.
    func perform(_ request: QMPRequest, client: UInt64) throws(QMPError) -> JSONValue {
        let arguments = request.arguments
        switch request.command {
        case "query-version": return EngineVersion.current.json
        case "query-commands": return Schema.wirevale.commandList
        case "query-qmp-schema": return Schema.wirevale.introspection
        case "quit": quit()
        case "getfd":
            try server?.name(file: arguments["fdname"]?.stringValue ?? "", of: client)
        case "closefd":
            _ = try server?.take(file: arguments["fdname"]?.stringValue ?? "", of: client)
        case "netdev_add": try addPort(NetdevOptions(arguments), owner: client)
        case "netdev_del":
            if try removeHubPort(arguments["id"]?.stringValue ?? "") { break }
            let port = try port(arguments, "id")
            guard port.netdev != nil else {
                throw QMPError("Port '\(port.ifname)' is a program's, and goes when that closes it")
            }
            removePort(port.number)
        case "set_link":
            // Down: what the guest has queued stays queued, and what is sent to it is dropped.
            try port(arguments, "name").isLinkUp = arguments["up"]?.boolValue ?? true
            save()
        case "port-set": try setPort(arguments)
        case "query-ports": return try queryPorts(arguments)
        case "chardev-add": try addChardev(ChardevOptions(arguments))
        case "chardev-remove": try removeChardev(arguments["id"]?.stringValue ?? "")
        case "query-chardev": return queryChardevs()
        case "query-switches": return querySwitches()
        case "switch-add": try addSwitch(arguments)
        case "switch-del": try removeSwitch(arguments["switch"]?.stringValue ?? "")
        case "switch-set":
            try set(try vale(arguments["switch"]?.stringValue ?? ""), arguments)
            save()
        case "query-fdb": return try queryTable(arguments)
        case "fdb-add":
            let target = try port(arguments, "ifname")
            let mac = try address(arguments)
            let state = try vale(target.master ?? "")
            let vlan = try vlan(arguments)
            guard
                unsafe state.plane.pointee.vale.table.addStatic(
                    mac.rawValue,
                    vlan: vlan,
                    on: target.number
                )
            else { throw QMPError("The forwarding table has no room for \(mac)") }
            save()
        case "fdb-del":
            let mac = try address(arguments)
            let state = try vale(arguments["switch"]?.stringValue ?? "")
            let vlan = try vlan(arguments)
            guard unsafe state.plane.pointee.vale.table.remove(mac.rawValue, vlan: vlan) else {
                let place = vlan == 0 ? "" : " in VLAN \(vlan)"
                throw QMPError(
                    .deviceNotFound,
                    "\(mac) is not in the table of '\(state.name)'\(place)"
                )
            }
            save()
        case "fdb-flush":
            let state = try vale(arguments["switch"]?.stringValue ?? "")
            if arguments["ifname"] != nil {
                let number = try port(arguments, "ifname").number
                unsafe state.plane.pointee.vale.table.flush(dynamicOn: number)
            } else {
                unsafe state.plane.pointee.vale.table.flush(dynamicOn: nil)
            }
        case "dump-stop": end(try dump(arguments), "it was stopped")
        case "query-dumps": return queryDumps()
        case "query-workers": return queryWorkers()
        case "worker-move": try moveWorker(try port(arguments, "name"), arguments)
        case "guest-add": try addGuest(GuestOptions(arguments), client: client)
        case "guest-del": try removeGuest(arguments["name"]?.stringValue ?? "")
        case "query-guests": return queryGuests()
        default: throw .commandNotFound(request.command)
        }
        return .object([:])
    }

    // MARK: Finding things

    /// The port that a member names, by its id or its ifname.
    func port(_ arguments: JSONObject, _ member: String) throws(QMPError) -> Port {
        let name = arguments[member]?.stringValue ?? ""
        guard
            let port = ports.values.first(where: {
                $0.id == name || $0.ifname == name
            })
        else { throw .deviceNotFound(name) }
        return port
    }

    /// The port whose front-end is found at a socket.
    func guestPort(at path: String) -> VhostUserPort? {
        for case let port as VhostUserPort in ports.values where port.path == path { return port }
        return nil
    }

    func vale(_ name: String) throws(QMPError) -> SwitchState {
        guard let state = switches[name] else {
            throw QMPError(.deviceNotFound, "Switch '\(name)' not found")
        }
        return state
    }

    private func vlan(_ arguments: JSONObject) throws(QMPError) -> UInt16 {
        let vlan = arguments["vlan"]?.integerValue ?? 0
        guard (0...4094).contains(vlan) else {
            throw .expects("vlan", "a number from 0 (none) to 4094, not \(vlan)")
        }
        return UInt16(vlan)
    }

    private func address(_ arguments: JSONObject) throws(QMPError) -> MACAddress {
        let text = arguments["mac"]?.stringValue ?? ""
        guard let mac = MACAddress(text), !mac.isMulticast else {
            throw .expects("mac", "the address of one station, like '52:54:00:12:34:56'")
        }
        return mac
    }

    // MARK: Sockets

    private func addChardev(_ options: ChardevOptions) throws(QMPError) {
        guard chardevs[options.id] == nil else { throw .duplicate(options.id, for: "chardev") }
        if let other = chardevs.values.first(where: { $0.path == options.path }) {
            throw QMPError("The socket '\(options.path)' belongs to chardev '\(other.id)'")
        }
        chardevs[options.id] = options
        save()
    }

    private func removeChardev(_ id: String) throws(QMPError) {
        guard let chardev = chardevs[id] else {
            throw QMPError(.deviceNotFound, "Chardev '\(id)' not found")
        }
        guard guestPort(at: chardev.path) == nil else {
            throw QMPError("Chardev '\(id)' is busy; remove its netdev first")
        }
        chardevs[id] = nil
        save()
    }

    private func queryChardevs() -> JSONValue {
        .array(
            chardevs.values.sorted { $0.id < $1.id }.map { chardev in
                let port = guestPort(at: chardev.path)
                return [
                    "label": .string(chardev.id), "filename": .string(chardev.filename),
                    "backend": chardev.arguments["backend"] ?? .null,
                    "frontend-open": .bool(port?.isConnected ?? false),
                ]
            }
        )
    }

    // MARK: Queries

    private func queryPorts(_ arguments: JSONObject) throws(QMPError) -> JSONValue {
        if arguments["name"] != nil { return .array([describe(try port(arguments, "name"))]) }
        let sorted = ports.values.sorted {
            ($0.master ?? "~", $0.number) < ($1.master ?? "~", $1.number)
        }
        return .array(sorted.map(describe))
    }

    private func describe(_ port: Port) -> JSONValue {
        var object: JSONObject = [
            "id": .string(port.id),
            "ifname": .string(port.ifname),
            "type": .string(port.type),
            "operstate": .string(
                !port.isLinkUp ? "DOWN" : port.isRunning ? "UP" : "LOWERLAYERDOWN"
            ),
            "link": .bool(port.isLinkUp),
            "connected": .bool(port.isConnected),
            "mtu": .integer(port.mtu),
            "queues": .integer(port.queues),
            "ephemeral": .bool(port.isEphemeral),
            "lossless": .bool(port.lossless != nil),
        ]
        if let master = port.master { object["master"] = .string(master) }
        if var netdev = port.netdev {
            netdev.policy = port.policy
            object["netdev"] = .object(netdev.arguments)
        }
        describeLossless(port, &object)
        for (name, value) in port.policy.members { object[name] = value }
        if let first = unsafe table.gates.gate(port.number)?.pointee.firstSource() {
            object["source"] = .string(MACAddress(rawValue: first).description)
        }
        if let hubPort = hubPorts.first(where: { $0.value.port == port.number }) {
            object["hubport"] = .string(hubPort.key)
        }
        port.describe(&object)
        if let reason = port.reason { object["reason"] = .string(reason) }
        object["stats64"] = ["rx": statistics(port.rx, isRx: true), "tx": statistics(port.tx)]
        object["drops"] = ["rx": reasons(port.rx), "tx": reasons(port.tx)]
        return .object(object)
    }

    private func statistics(_ counters: DirectionCounters, isRx: Bool = false) -> JSONValue {
        let errors = counters.dropped(.malformed) + counters.dropped(.badOffload)
        var object: JSONObject = [
            "packets": .count(counters.packets), "bytes": .count(counters.bytes),
            "errors": .count(errors), "dropped": .count(counters.dropped - errors),
            "offloaded": .count(counters.offloaded),
        ]
        if isRx { object["multicast"] = .count(counters.multicast) }
        return .object(object)
    }

    private func reasons(_ counters: DirectionCounters) -> JSONValue {
        var object: JSONObject = [:]
        for reason in DropReason.allCases { object[reason.name] = .count(counters.dropped(reason)) }
        return .object(object)
    }

    private func querySwitches() -> JSONValue {
        let now = nm_monotonic_seconds()
        return .array(
            switches.values.sorted { $0.name < $1.name }.map { state in
                let vale = unsafe state.plane
                let ageing = unsafe vale.pointee.vale.ageing
                let entries = unsafe vale.pointee.vale.table.contents(now: now, ageing: ageing)
                return [
                    "ifname": .string(state.name),
                    "ports": .integer(state.ports.count),
                    "mode": .string(state.options.mode.rawValue),
                    "group-forward": .bool(state.options.forwardsGroups),
                    "persistent": .bool(state.isKept),
                    "fdb": [
                        "entries": .integer(entries.count),
                        "size": .integer(unsafe vale.pointee.vale.table.capacity),
                        "ageing": .integer(Int(ageing)),
                        "moves": .count(unsafe vale.pointee.vale.table.moves),
                        "evictions": .count(unsafe vale.pointee.vale.table.evictions),
                        "floods": .count(unsafe vale.pointee.vale.floods),
                    ],
                ]
            }
        )
    }

    private func queryTable(_ arguments: JSONObject) throws(QMPError) -> JSONValue {
        var states = switches.values.sorted { $0.name < $1.name }
        if let name = arguments["switch"]?.stringValue { states = [try vale(name)] }
        let now = nm_monotonic_seconds()
        var rows: [JSONValue] = []
        for state in states {
            let ageing = unsafe state.plane.pointee.vale.ageing
            let entries = unsafe state.plane.pointee.vale.table.contents(now: now, ageing: ageing)
            for entry in entries.sorted(by: {
                ($0.port, $0.vlan, $0.mac) < ($1.port, $1.vlan, $1.mac)
            }) {
                guard let port = ports[entry.port] else { continue }
                var row: JSONObject = [
                    "mac": .string(MACAddress(rawValue: entry.mac).description),
                    "ifname": .string(port.ifname),
                    "master": .string(state.name),
                    "state": entry.isStatic ? "static" : "reachable",
                    "age": .integer(Int(entry.age)),
                ]
                if entry.vlan != 0 { row["vlan"] = .integer(Int(entry.vlan)) }
                rows.append(.object(row))
            }
        }
        return .array(rows)
    }
}
