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
            throw NetmapError(
                EOPNOTSUPP,
                "'\(name)' can be attached without its host stack only (vale-ctl -a); for the host, put a tap "
                    + "on the switch: netdev_add tap,id=host,port=\(vale):host,ifname=host0"
            )
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

    private func add(
        _ port: ValePortName,
        _ backend: NetdevOptions.Backend
    ) throws(QMPError) {
        let options = NetdevOptions(id: port.identifier, port: port, backend: backend)
        try engine.addPort(options, owner: nil)
    }

    func detachInterface(_ name: String, switch vale: String) -> Bool {
        let port = engine.ports.values.first {
            $0.ifname == "\(vale):\(name)" && $0 is InterfacePort
        }
        guard let port else { return false }
        engine.removePort(port.number)
        return true
    }
}
