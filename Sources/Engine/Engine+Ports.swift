// Ports and their switches: made, announced, taken away.

import CNetmap
import Control
import Glibc
import Logging
import Netmap
import Vale
import VhostUser
import Wire

extension Engine {
    /// Makes a port and, if it is the first, its switch.
    ///
    /// - Parameters:
    ///   - options: what to make.
    ///   - owner: the control connection whose end is the port's, for ephemeral ones.
    ///   - restored: the port as the engine before this one had it, if it had.
    /// - Throws: what a client is told when it cannot be made.
    func addPort(
        _ options: NetdevOptions,
        owner: UInt64?,
        restoring restored: EngineState.Port? = nil
    ) throws(QMPError) {
        if case .hubport(let hub) = options.backend, let netdev = hub.netdev {
            return try addHubPort(options, hub, netdev)
        }
        makeWay(for: options)
        try checkFree(id: options.id)
        if let other = ports.values.first(where: { $0.ifname == "\(options.port)" }) {
            throw QMPError(
                "Port '\(options.port)' exists already: it is netdev '\(other.id)'"
            )
        }
        // What an engine before this one noted of a port that is not restored is of no use; the name is
        // free here, so it is nobody's whose rings run.
        if restored == nil { _ = unsafe unlink(configuration.runtime.records(of: options.port)) }
        guard let number = restored?.number ?? freeNumber else {
            throw QMPError("No port number is free")
        }
        let socket = try socket(for: options)
        try checkRoom(for: "\(options.port)", on: switches[options.port.master])
        if let vale = switches[options.port.master] {
            try check(options.policy, for: "\(options.port)", on: vale)
        }
        let vale = switches[options.port.master] ?? makeSwitch(options.port.master)
        let place = unsafe PortPlace(
            number: number,
            vale: vale.plane,
            page: page.claim(number, name: "\(options.port)", keeping: restored != nil),
            owner: options.isEphemeral ? owner : nil,
            takeFile: { [unowned self] name throws(QMPError) in
                guard let server, let owner else {
                    throw QMPError(
                        "descriptor '\(name)' ended with the engine that it was passed to"
                    )
                }
                return try server.take(file: name, of: owner)
            },
            loop: loop,
            pool: pool,
            logger: logger
        )
        let port: Port
        do throws(QMPError) {
            port = unsafe try makePort(options, socket, place)
        } catch {
            page.release(number)
            if vale.ports.isEmpty, !vale.isKept { removeFiles(of: vale) }
            throw error
        }
        // Before the first frame.
        apply(options.policy, to: port, on: vale)
        do {
            try port.open(isRestored: restored != nil)
        } catch {
            port.close()
            dropRules(of: number)
            publishRules(of: vale)
            page.release(number)
            if vale.ports.isEmpty, !vale.isKept { removeFiles(of: vale) }
            throw QMPError("\(error)")
        }
        if let restored { port.isLinkUp = restored.isLinkUp }
        ports[number] = port
        enter(port, vale)
        save()
        reconsiderLingering()
        logger.info("port added", metadata: ["port": "\(options.port)", "type": "\(options.type)"])
    }

    /// The object of a kind of port, which is not open yet.
    private func makePort(
        _ options: NetdevOptions,
        _ socket: (path: String, role: VhostUserPort.Role),
        _ place: PortPlace
    ) throws(QMPError) -> Port {
        try checkStack(options)
        return switch options.backend {
        case .netmap, .vhostUser, .hubport: unsafe makeGuestPort(options, socket, place)
        case .tap(let tap): unsafe try TapPort(options, tap, place)
        case .stream(let stream): unsafe try makeStreamPort(options, stream.plan, place)
        case .dgram(let dgram): unsafe try DatagramPort(options, dgram.plan, place)
        case .socket(let socket): unsafe try makeSocketPort(options, socket.plan, place)
        case .user(let user): unsafe UserPort(options, user, place)
        case .l2tpv3(let tunnel): unsafe L2TPv3Port(options, tunnel, place)
        case .vde(let vde):
            vde.isServer
                ? unsafe makeVdeServer(options, vde, place) : unsafe VdePort(options, vde, place)
        case .pcap(let pcap): unsafe PcapPort(options, pcap, place)
        case .packet(let packet): unsafe PacketPort(options, packet, place)
        case .xdp(let xdp): unsafe try XDPPort(options, xdp, place)
        case .hostStack(let stack): unsafe HostStackPort(options, stack, place)
        }
    }

    /// Refuses an interface's host stack beside a packet socket on it, which would hear what the stack is sent and
    /// send it again, for ever.
    private func checkStack(_ options: NetdevOptions) throws(QMPError) {
        for port in ports.values {
            switch (options.backend, port.netdev?.backend) {
            case (.packet(let socket), .hostStack(let stack)),
                (.hostStack(let stack), .packet(let socket)):
                guard socket.ifname == stack.ifname else { continue }
                throw QMPError(
                    "Port '\(port.ifname)' is on \(stack.ifname), too: a host-stack goes beside an af-xdp "
                        + "port only, not beside a packet one"
                )
            default: continue
            }
        }
    }

    private func makeVdeServer(
        _ options: NetdevOptions,
        _ vde: VdeOptions,
        _ place: PortPlace
    ) -> Port {
        let port = unsafe VdeServerPort(options, vde, place)
        unsafe port.add = { [unowned self] options, make in
            try unsafe addPlugged(options, make)
        }
        port.remove = { [unowned self] in removePort($0) }
        port.isTaken = { [unowned self] name in ports.values.contains { $0.ifname == name } }
        return port
    }

    /// Makes a port of somebody who has plugged into another one.
    private func addPlugged(
        _ options: NetdevOptions,
        _ make: (PortPlace) -> Port
    ) throws -> Port {
        guard let number = freeNumber, let vale = switches[options.port.master] else {
            throw QMPError("No port number is free")
        }
        let port = unsafe make(
            PortPlace(
                number: number,
                vale: vale.plane,
                page: page.claim(number, name: "\(options.port)", keeping: false),
                owner: nil,
                takeFile: { name throws(QMPError) in throw .deviceNotFound(name) },
                loop: loop,
                pool: pool,
                logger: logger
            )
        )
        do {
            try port.open(isRestored: false)
        } catch {
            port.close()
            page.release(number)
            throw error
        }
        ports[number] = port
        enter(port, vale)
        logger.info("port added", metadata: ["port": "\(options.port)", "type": "\(options.type)"])
        return port
    }

    private func makeGuestPort(
        _ options: NetdevOptions,
        _ socket: (path: String, role: VhostUserPort.Role),
        _ place: PortPlace
    ) -> Port {
        let records = configuration.runtime.records(of: options.port)
        let port = unsafe VhostUserPort(
            options,
            path: socket.path,
            role: socket.role,
            recordPath: records,
            place
        )
        port.onChange = { [unowned self, unowned port] change in note(change, of: port) }
        port.onAnnounce = { [unowned self, number = port.number] mac in
            announce(mac, from: number)
        }
        return port
    }

    /// Where the front-end of a vhost-user port is found; of no meaning for other ports.
    private func socket(
        for options: NetdevOptions
    ) throws(QMPError) -> (path: String, role: VhostUserPort.Role) {
        switch options.backend {
        case .netmap, .hubport:
            let path = configuration.runtime.socket(of: options.port)
            do throws(RuntimeDirectory.AccessError) {
                try RuntimeDirectory.check(socketPath: path)
            } catch {
                throw QMPError(error.description)
            }
            return (path, .server)
        case .vhostUser(let vhost):
            guard let chardev = chardevs[vhost.chardev] else {
                throw QMPError(
                    "chardev \"\(vhost.chardev)\" not found; make it with chardev-add first"
                )
            }
            if let user = guestPort(at: chardev.path) {
                throw QMPError(
                    "chardev \"\(vhost.chardev)\" is in use by netdev '\(user.options.id)'"
                )
            }
            return (
                chardev.path,
                chardev.isServer ? .server : .client(retry: max(1, chardev.reconnect))
            )
        default: return ("", .server)
        }
    }

    /// A number that no port has.
    var freeNumber: UInt16? {
        (1..<UInt16(PortTable.capacity)).first { ports[$0] == nil }
    }

    /// Makes a port reachable for the others on its switch.
    func enter(_ port: Port, _ vale: SwitchState) {
        vale.add(port.number)
        switches[vale.name] = vale
        publishRules(of: vale, with: port)
        unsafe table.set(port.number, port.plane)
        publishMembers(of: vale)
        dumpsGain(port)
    }

    /// Takes a port off its switch, which goes if it was the last.
    ///
    /// - Parameters:
    ///   - port: the port.
    ///   - vale: the switch that it is on.
    ///   - lastly: what to do when nobody can reach the port any more, but the switch is there.
    func exit(_ port: Port, _ vale: SwitchState, lastly: () -> Void) {
        vale.remove(port.number)
        unsafe table.set(port.number, nil)
        publishMembers(of: vale)
        unsafe vale.plane.pointee.vale.table.flush(port: port.number)
        dumpsLose(port, lastly: lastly)
        publishRules(of: vale)
        dropIfUnused(vale)
    }

    /// Removes a port, and its switch if it was the last.
    func removePort(_ number: UInt16) {
        guard let port = ports[number], let vale = switches[port.master ?? ""] else { return }
        ports[number] = nil
        for (id, hubPort) in hubPorts where hubPort.port == number { hubPorts[id] = nil }
        if case .some(.some(let timer)) = orphans.removeValue(forKey: number) { loop.cancel(timer) }
        exit(port, vale) {
            port.close()
            dropRules(of: number)
            if let guest = port as? VhostUserPort {
                _ = unsafe unlink(configuration.runtime.records(of: guest.options.port))
            }
            page.release(number)
        }
        save()
        logger.info("port removed", metadata: ["port": "\(port.ifname)"])
        reconsiderLingering()
    }

    func publishMembers(of vale: SwitchState) {
        let old = unsafe vale.plane.pointee.members
        // Rising, because a frame that is held on its way to all remembers how far it came.
        unsafe nm_store64_release(
            &vale.plane.pointee.members,
            PortList.make(vale.ports.filter { ports[$0]?.carriesFrames ?? true }.sorted())
        )
        let lossless = vale.ports.count { ports[$0]?.lossless != nil }
        unsafe nm_store32(&vale.plane.pointee.lossless, UInt32(lossless))
        pool.synchronize()
        PortList.free(old)
    }

    private func note(_ change: VhostUserPort.Change, of port: VhostUserPort) {
        var data: JSONObject = ["netdev-id": .string(port.options.id)]
        switch change {
        case .connected:
            if orphans[port.number] != nil { expectReturn(of: port, within: nil) }
            if case .vhostUser(let vhost) = port.options.backend {
                data["chardev-id"] = .string(vhost.chardev)
            }
            server?.broadcast("NETDEV_VHOST_USER_CONNECTED", data)
        case .disconnected:
            if orphans[port.number] != nil {
                expectReturn(of: port, within: configuration.absenceSeconds)
            }
            // Whoever was there is gone; what comes next will be learned anew.
            let gate = unsafe table.gates.lock(port.number)
            unsafe gate?.pointee.forgetFirst()
            unsafe table.gates.unlock(gate)
            if let vale = switches[port.master ?? ""] {
                unsafe vale.plane.pointee.vale.table.flush(dynamicOn: port.number)
            }
            server?.broadcast("NETDEV_VHOST_USER_DISCONNECTED", data)
        case .faulted(let reason):
            data["reason"] = .string(reason)
            server?.broadcast("NETDEV_ERROR", data)
        }
    }

    /// Announces a guest's address on its behalf (SEND_RARP, vhost-user-spec 2.6 rule 10): this
    /// switch and those behind other ports learn where it is now.
    private func announce(_ mac: UInt64, from number: UInt16) {
        guard let port = ports[number] else { return }
        let frame = RARPFrame(MACAddress(rawValue: mac)).bytes
        unsafe pool.inject(frame.indices.map { frame[$0] }, from: port.plane)
    }
}
