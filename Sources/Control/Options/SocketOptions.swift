// QEMU's `-netdev socket`, which was there before stream and dgram: the same in fewer words, IPv4 only.

/// The options of a `socket` port.
public struct SocketOptions: BackendOptions {
    /// The name of the kind.
    public static let type = "socket"

    /// What the options ask for, in terms of the two kinds that came later.
    public enum Plan: Sendable, Hashable {
        /// `listen` or `connect`.
        case stream(StreamPlan)
        /// `mcast` or `udp`.
        case datagram(DatagramPlan)
        /// `fd`: the descriptor knows.
        case file(String)
    }

    /// What the options ask for.
    public let plan: Plan
    /// The arguments that are not at their defaults.
    public let members: JSONObject

    /// Whether the port needs no descriptor that somebody has to pass.
    public var isRestorable: Bool {
        if case .file = plan { false } else { true }
    }

    /// As for the two kinds.
    public var losslessObjection: String? {
        switch plan {
        case .stream: nil
        case .datagram(let plan): plan.losslessObjection
        case .file: "of a descriptor it is not known beforehand; take stream with addr.type=fd"
        }
    }

    init(_ arguments: JSONObject) throws(QMPError) {
        let names = ["fd", "listen", "connect", "mcast", "udp"]
        let given = names.filter { arguments[$0] != nil }
        guard given.count == 1, let name = given.first, let text = arguments[name]?.stringValue
        else {
            throw QMPError("exactly one of fd=, listen=, connect=, mcast= or udp= is required")
        }
        let local = arguments["localaddr"]?.stringValue
        guard local == nil || name == "mcast" || name == "udp" else {
            throw QMPError("localaddr= is only valid with mcast= or udp=")
        }
        switch name {
        case "fd": plan = .file(text)
        case "udp":
            guard let local else { throw QMPError("localaddr= is mandatory with udp=") }
            let here = SocketAddress.inet(try InetAddress(text: local, "localaddr"))
            let there = SocketAddress.inet(try InetAddress(text: text, name))
            plan = .datagram(.pair(local: here, remote: there))
        case "mcast":
            let group = try InetAddress(text: text, name)
            guard group.isMulticast else {
                throw .expects(name, "a group of 224.0.0.0 to 239.255.255.255; not '\(group.host)'")
            }
            plan = .datagram(.group(group, interface: local ?? ""))
        default:
            let address = SocketAddress.inet(try InetAddress(text: text, name))
            plan = .stream(StreamPlan(address, isServer: name == "listen"))
        }
        var members: JSONObject = [name: .string(text)]
        if let local { members["localaddr"] = .string(local) }
        self.members = members
    }
}
