// A port whose other end is on another host: a static L2TPv3 tunnel.

import CNetmap
import Control
import Glibc
import Logging
import Netmap
import Ports

/// A tunnel over UDP or IP, whose other end is a kernel, a QEMU or an engine.
@safe final class L2TPv3Port: SocketPort {
    private let tunnel: L2TPv3Options
    private var file: OwnedDescriptor?

    init(_ options: NetdevOptions, _ tunnel: L2TPv3Options, _ place: PortPlace) {
        self.tunnel = tunnel
        unsafe super.init(options, place)
    }

    /// The number of L2TP over IP.
    private static let protocolNumber: Int32 = 115

    override func attach() throws {
        let number = unsafe nm_inet_datagram(
            tunnel.isIPv6 ? 1 : 0,
            tunnel.ports == nil ? L2TPv3Port.protocolNumber : 0,
            tunnel.source,
            tunnel.ports.map { "\($0.source)" } ?? "0",
            tunnel.destination,
            tunnel.ports.map { "\($0.destination)" } ?? "0"
        )
        if number == -EPERM {
            throw QMPError(
                "L2TP over IP needs a raw socket, which this user may not open; run the engine with "
                    + "CAP_NET_RAW, or use udp=on"
            )
        }
        let what = "l2tpv3 from \(tunnel.source) to \(tunnel.destination)"
        let file = OwnedDescriptor(try SystemError.check(number, what))
        let framing = DatagramFraming.l2tpv3(
            L2TPv3Header(
                isUDP: tunnel.ports != nil,
                isIPv6: tunnel.isIPv6,
                cookieSize: L2TPv3Header.CookieSize(rawValue: tunnel.cookieSize) ?? .none,
                hasCounter: tunnel.counter.exists,
                isCounterPinned: tunnel.counter.isPinned,
                sessions: (tunnel.transmit.session, tunnel.receive.session),
                cookies: (tunnel.transmit.cookie, tunnel.receive.cookie),
                padding: tunnel.padding
            )
        )
        self.file = file
        unsafe begin(
            source: HostQueue.make(DatagramSource(file: file.number, framing: framing)),
            sink: HostQueue.make(
                SocketSink(file: file.number, isDatagrams: true, framing: framing, counters: tx)
            ),
            files: [file]
        )
    }

    override func detach() { file = nil }

    override func roomFile() -> OwnedDescriptor? { file }

    override func describe(_ object: inout JSONObject) {
        object["peer"] = .string(
            tunnel.ports.map { "udp:\(tunnel.destination):\($0.destination)" }
                ?? "ip:\(tunnel.destination)"
        )
    }
}
