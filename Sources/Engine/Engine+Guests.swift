// Guests that NICs can be plugged into while they run, and the commands whose answer is a guest's.

import CNetmap
import Control
import Glibc
import Logging
import Netmap

extension Engine {
    /// Performs a request and calls `reply` once, now or when a guest has answered.
    func perform(
        _ request: QMPRequest,
        client: UInt64,
        reply: @escaping (Result<JSONValue, QMPError>) -> Void
    ) {
        let arguments = request.arguments
        let empty = { (error: QMPError?) in
            reply(error.map { .failure($0) } ?? .success([:]))
        }
        do throws(QMPError) {
            switch request.command {
            case "netdev_add" where arguments["guest"] != nil:
                try plug(NetdevOptions(arguments), client: client, done: empty)
            case "netdev_del" where hubPorts[arguments["id"]?.stringValue ?? ""] == nil:
                let port = try port(arguments, "id")
                if let plugged = port as? VhostUserPort, let plug = plugged.options.plug,
                    let guest = guests[plug.guest]
                {
                    unplug(plugged, plug, guest, done: empty)
                } else {
                    reply(.success(try perform(request, client: client)))
                }
            case "dump-add":
                try addDump(DumpOptions(arguments), client: client, done: empty)
            case "object-add":
                try addDump(DumpOptions(object: arguments), client: client, done: empty)
            case "dump-del": remove(try dump(arguments)) { reply(.success($0)) }
            case "object-del": remove(try dump(arguments)) { _ in reply(.success([:])) }
            case "human-monitor-command":
                let line = arguments["command-line"]?.stringValue ?? ""
                monitor(line, client) { reply(.success(.string($0))) }
            default: reply(.success(try perform(request, client: client)))
            }
        } catch {
            reply(.failure(error))
        }
    }

    /// One line of the human monitor.
    func monitor(_ line: String, _ client: UInt64, print: @escaping (String) -> Void) {
        do throws(MonitorCommand.LineError) {
            let command = try MonitorCommand(line)
            guard let request = command.request else { return print(command.text(for: .null)) }
            perform(request, client: client) { result in
                switch result {
                case .success(let value): print(command.text(for: value))
                case .failure(let error): print("Error: \(error.description)\n")
                }
            }
        } catch {
            print(error.description + "\n")
        }
    }

    // MARK: Plugging

    private func plug(
        _ options: NetdevOptions,
        client: UInt64,
        done: @escaping (QMPError?) -> Void
    ) throws(QMPError) {
        guard let plug = options.plug else { throw .missing("guest") }
        guard !options.isEphemeral else {
            throw QMPError("Parameter 'ephemeral' is unexpected: the port goes with its guest")
        }
        let guest = try guest(plug.guest)
        try addPort(options, owner: nil)
        guard let port = guestPorts.first(where: { $0.options == options }) else {
            return done(nil)
        }
        let number = port.number
        let nic = GuestNIC(options, plug: plug, socket: port.path)
        guest.perform(.plug(nic)) { [unowned self] error in
            // The guest may have gone in the meantime, and the port with it.
            if error != nil, guestPort(number)?.options == options { removePort(number) }
            done(error)
        }
    }

    private func guestPort(_ number: UInt16) -> VhostUserPort? { ports[number] as? VhostUserPort }

    private func unplug(
        _ port: VhostUserPort,
        _ plug: PlugOptions,
        _ guest: GuestAgent,
        done: @escaping (QMPError?) -> Void
    ) {
        let number = port.number
        let options = port.options
        let nic = GuestNIC(options, plug: plug, socket: port.path)
        guest.perform(.unplug(nic)) { [unowned self] error in
            guard guestPort(number)?.options == options else { return done(nil) }
            // A guest that is gone has no NIC to take away.
            guard error == nil || !guest.isAlive else { return done(error) }
            removePort(number)
            done(nil)
        }
    }

    // MARK: Guests

    private func guest(_ name: String) throws(QMPError) -> GuestAgent {
        if let guest = guests[name] { return guest }
        let known = guests.keys.sorted().map { "'\($0)'" }.joined(separator: ", ")
        throw QMPError(
            .deviceNotFound,
            "Guest '\(name)' not found; "
                + (known.isEmpty
                    ? "there is none: start it with 'wirevale qemu', or use guest-add"
                    : "there are \(known)")
        )
    }

    /// Makes a guest known.
    func addGuest(_ options: GuestOptions, client: UInt64) throws(QMPError) {
        if let old = guests[options.name] {
            guard old.isOrphan, !old.isAlive else {
                throw .duplicate(options.name, for: "guest")
            }
            forget(old)
        }
        _ = unsafe mkdir(configuration.runtime.guests, 0o700)
        guests[options.name] = GuestAgent(
            options,
            owner: options.isEphemeral ? client : nil,
            isOrphan: false,
            loop: loop
        )
        save()
        logger.info("guest added", metadata: ["guest": "\(options.name)"])
    }

    /// Makes a guest known again that the engine before this one knew.
    func restore(_ options: GuestOptions) {
        let guest = GuestAgent(options, owner: nil, isOrphan: options.isEphemeral, loop: loop)
        guests[options.name] = guest
        guard options.isEphemeral else { return }
        // Its launcher's connection told us when it ended; now only its monitor does.
        guest.watch(every: configuration.absenceSeconds) { [unowned self] in forget(guest) }
    }

    /// Forgets a guest; the ports whose NICs were plugged into it go too.
    func removeGuest(_ name: String) throws(QMPError) { forget(try guest(name)) }

    /// Forgets a guest that is gone.
    func forget(_ guest: GuestAgent) {
        let name = guest.options.name
        guard guests[name] === guest else { return }
        guests[name] = nil
        guest.close()
        for port in guestPorts where port.options.plug?.guest == name { removePort(port.number) }
        if guest.options.isEphemeral, guest.options.monitor.hasPrefix(configuration.runtime.guests)
        {
            _ = unsafe unlink(guest.options.monitor)
            _ = unsafe rmdir(configuration.runtime.guests)
        }
        save()
        logger.info("guest removed", metadata: ["guest": "\(name)"])
        reconsiderLingering()
    }

    func queryGuests() -> JSONValue {
        .array(
            guests.values.sorted { $0.options.name < $1.options.name }.map { guest in
                let name = guest.options.name
                let plugged = guestPorts.filter { $0.options.plug?.guest == name }
                return [
                    "name": .string(name), "qmp": .string(guest.options.monitor),
                    "ephemeral": .bool(guest.options.isEphemeral),
                    "ports": .array(
                        plugged.map(\.ifname).sorted().map { .string($0) }
                    ),
                    "busy": .bool(guest.isBusy),
                ]
            }
        )
    }
}
