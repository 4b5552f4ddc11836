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
        case "switch-set":
            let state = try vale(arguments["switch"]?.stringValue ?? "")
            if let seconds = arguments["ageing"]?.integerValue {
                guard (0...Int(Int32.max)).contains(seconds) else {
                    throw .expects("ageing", "a number of seconds, 0 for never")
                }
                unsafe state.plane.pointee.vale.ageing = UInt32(seconds)
                save()
            }
        case "query-fdb": return try queryTable(arguments)
        case "fdb-add":
            let target = try port(arguments, "ifname")
            let mac = try address(arguments)
            let state = try vale(target.master ?? "")
            guard unsafe state.plane.pointee.vale.table.addStatic(mac.rawValue, on: target.number)
            else { throw QMPError("The forwarding table has no room for \(mac)") }
            save()
        case "fdb-del":
            let mac = try address(arguments)
            let state = try vale(arguments["switch"]?.stringValue ?? "")
            guard unsafe state.plane.pointee.vale.table.remove(mac.rawValue) else {
                throw QMPError(.deviceNotFound, "\(mac) is not in the table of '\(state.name)'")
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

    private func setPort(_ arguments: JSONObject) throws(QMPError) {
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
        guard let port = port as? NetmapPort else {
            throw QMPError(
                "Port '\(port.ifname)' is a guest's, which is lossless or not when it is added: "
                    + "netdev_add with lossless=on"
            )
        }
        let options = try LosslessOptions(arguments)
        if options != nil, let why = port.isNeverLossless {
            throw QMPError("Port '\(port.ifname)' \(why)")
        }
        port.setLossless(options)
        if let state = switches[port.master ?? ""] { publishMembers(of: state) }
        pool.recall()
    }

    /// The port whose front-end is found at a socket.
    func guestPort(at path: String) -> VhostUserPort? {
        for case let port as VhostUserPort in ports.values where port.path == path { return port }
        return nil
    }

    private func vale(_ name: String) throws(QMPError) -> SwitchState {
        guard let state = switches[name] else {
            throw QMPError(.deviceNotFound, "Switch '\(name)' not found")
        }
        return state
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
        describeLossless(port, &object)
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
            for entry in entries.sorted(by: { ($0.port, $0.mac) < ($1.port, $1.mac) }) {
                guard let port = ports[entry.port] else { continue }
                rows.append([
                    "mac": .string(MACAddress(rawValue: entry.mac).description),
                    "ifname": .string(port.ifname),
                    "master": .string(state.name),
                    "state": entry.isStatic ? "static" : "reachable",
                    "age": .integer(Int(entry.age)),
                ])
            }
        }
        return .array(rows)
    }
}
