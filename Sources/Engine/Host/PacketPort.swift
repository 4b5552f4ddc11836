// A port on an interface of the host, by a packet socket.

import Control
import Netmap
import Ports

/// A packet socket; the host's own stack hears the interface's frames, too.
@safe final class PacketPort: InterfacePort {
    private let packet: PacketOptions
    private var socket: PacketSocket?

    init(_ options: NetdevOptions, _ packet: PacketOptions, _ place: PortPlace) {
        self.packet = packet
        unsafe super.init(options, interface: packet.ifname, pairs: 1, place)
    }

    override func connect(_ interface: NetworkInterface) throws {
        let socket = try PacketSocket(
            interface,
            hasRing: packet.hasRing,
            bypassesQdisc: packet.bypassesQdisc,
            isPromiscuous: packet.isPromiscuous
        )
        self.socket = socket
        unsafe start(
            0,
            source: socket.makeSource(counters: rx),
            sink: HostQueue.make(socket.makeSink()),
            files: [socket.file]
        )
    }

    override func disconnect() { socket = nil }
}
