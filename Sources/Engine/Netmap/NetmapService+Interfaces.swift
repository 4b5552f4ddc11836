// VALE_ATTACH of an interface of the host: what netdev_add does, asked for in netmap's way.

import Control
import Glibc
import Logging
import Netmap
import Ports

extension NetmapService {
    func attachInterface(
        _ name: String,
        switch vale: String,
        withHost: Bool
    ) throws(NetmapError) -> Bool {
        guard let interface = try? NetworkInterface(name),
            let port = try? ValePortName("\(vale):\(name)")
        else { return false }
        guard !withHost else {
            try attachWithHost(interface, port)
            return true
        }
        do throws(QMPError) {
            try add(port, .xdp(XDPOptions(ifname: name, queues: interface.queues)))
        } catch {
            let why = error.description
            engine.logger.notice("\(port): a packet socket instead of AF_XDP: \(why)")
            do throws(QMPError) {
                try add(port, .packet(PacketOptions(ifname: name)))
            } catch {
                throw NetmapError(
                    EINVAL,
                    "'\(name)' cannot be attached: \(error.description); nor by AF_XDP: \(why)"
                )
            }
        }
        return true
    }

    /// The interface and its host stack, both or neither.
    ///
    /// A packet socket would not do: what it sends and what the stack sends look the same.
    private func attachWithHost(
        _ interface: NetworkInterface,
        _ port: ValePortName
    ) throws(NetmapError) {
        do throws(QMPError) {
            guard let host = try? ValePortName("\(port)^") else {
                throw QMPError("the name of its host stack, '\(interface.name)^', is too long")
            }
            let options = XDPOptions(
                ifname: interface.name,
                queues: interface.queues,
                mode: .native
            )
            try add(port, .xdp(options))
            do throws(QMPError) {
                try add(host, .hostStack(HostStackOptions(ifname: interface.name)))
            } catch {
                _ = detachInterface(interface.name, switch: port.master)
                throw error
            }
        } catch {
            throw NetmapError(
                EINVAL,
                "'\(interface.name)' cannot be attached with its host stack: \(error.description)"
            )
        }
    }

    private func add(
        _ port: ValePortName,
        _ backend: NetdevOptions.Backend
    ) throws(QMPError) {
        let options = NetdevOptions(id: port.identifier, port: port, backend: backend)
        try engine.addPort(options, owner: nil)
    }

    func detachInterface(_ name: String, switch vale: String) -> Bool {
        guard !name.hasSuffix("^") else { return false }
        let names = ["\(vale):\(name)^", "\(vale):\(name)"]
        let ports = names.compactMap { name in
            engine.ports.values.first { $0.ifname == name && $0 is InterfacePort }
        }
        // The stack goes with its interface, not without.
        guard ports.last?.ifname == names[1] else { return false }
        for port in ports { engine.removePort(port.number) }
        return true
    }
}
