// Ports on sockets: what they are given, and what operators hear of them.

import CNetmap
import Control
import Glibc
import Logging
import Netmap
import Vale

extension Engine {
    func makeSocketPort(
        _ options: NetdevOptions,
        _ plan: SocketOptions.Plan,
        _ place: PortPlace
    ) throws(QMPError) -> Port {
        switch plan {
        case .stream(let plan): return unsafe try makeStreamPort(options, plan, place)
        case .datagram(let plan): return unsafe try DatagramPort(options, plan, place)
        case .file(let name):
            let file = unsafe try place.takeFile(name)
            if nm_socket_kind(file.number) == Int32(SOCK_DGRAM.rawValue) {
                return unsafe DatagramPort(options, .file(name), given: file, place)
            }
            let plan = StreamPlan(.file(name), isServer: false)
            return unsafe reporting(StreamPort(options, plan, given: file, place))
        }
    }

    func makeStreamPort(
        _ options: NetdevOptions,
        _ plan: StreamPlan,
        _ place: PortPlace
    ) throws(QMPError) -> Port {
        var file: OwnedDescriptor?
        if case .file(let name) = plan.address { file = unsafe try place.takeFile(name) }
        return unsafe reporting(StreamPort(options, plan, given: file, place))
    }

    private func reporting(_ port: StreamPort) -> StreamPort {
        port.onPeer = { [unowned self, unowned port] isThere in note(isThere, of: port) }
        return port
    }

    private func note(_ isThere: Bool, of port: StreamPort) {
        var data: JSONObject = ["netdev-id": .string(port.id)]
        let isOrphan = orphans[port.number] != nil
        if isThere {
            if isOrphan { expectReturn(of: port, within: nil) }
            data["addr"] = port.peerAddress.json
            server?.broadcast("NETDEV_STREAM_CONNECTED", data)
        } else {
            if isOrphan { expectReturn(of: port, within: configuration.absenceSeconds) }
            // Whoever was there is gone; what comes next will be learned anew.
            if let vale = switches[port.master ?? ""] {
                unsafe vale.plane.pointee.vale.table.flush(dynamicOn: port.number)
            }
            server?.broadcast("NETDEV_STREAM_DISCONNECTED", data)
        }
    }
}
