// QEMU's `-netdev dgram`: each frame is a datagram.

/// Where datagrams come from and go to.
public enum DatagramPlan: Sendable, Hashable {
    /// Between two sockets.
    case pair(local: SocketAddress, remote: SocketAddress)
    /// To and from a group; `interface` is an address of the interface, empty for the kernel's choice.
    case group(InetAddress, interface: String)
    /// A socket that is connected already, or a group's that somebody has joined.
    case file(String)

    var losslessObjection: String? {
        if case .pair(.unix, .unix) = self { return nil }
        return "datagrams get lost on their way; take stream, or unix sockets"
    }
}

/// The options of a `dgram` port.
public struct DgramOptions: BackendOptions {
    /// The name of the kind.
    public static let type = "dgram"
    /// Where datagrams come from and go to.
    public let plan: DatagramPlan

    init(_ arguments: JSONObject) throws(QMPError) {
        var local: SocketAddress?
        var remote: SocketAddress?
        if let value = arguments["local"] { local = try SocketAddress(value, "local") }
        if let value = arguments["remote"] { remote = try SocketAddress(value, "remote") }
        switch (local, remote) {
        case (.file(let name), nil): plan = .file(name)
        case (.file, _): throw QMPError("Parameter 'remote' is unexpected with local.type=fd")
        case (_, .file):
            throw QMPError("Parameter 'remote.type' cannot be fd; a descriptor is local.type=fd")
        case (nil, .inet(let group)) where group.isMulticast: plan = .group(group, interface: "")
        case (.inet(let interface), .inet(let group)) where group.isMulticast:
            plan = .group(group, interface: interface.host)
        case (.unix, .unix), (.inet, .inet):
            guard let local, let remote else { throw .missing("local") }
            guard local != remote else {
                throw QMPError("Parameters 'local' and 'remote' are the same: \(local)")
            }
            plan = .pair(local: local, remote: remote)
        case (_, nil): throw .missing("remote")
        case (nil, _):
            throw QMPError("Parameter 'local' is missing; only a multicast group needs none")
        default: throw QMPError("Parameters 'local.type' and 'remote.type' have to be the same")
        }
    }

    /// Whether the port needs no descriptor that somebody has to pass.
    public var isRestorable: Bool {
        if case .file = plan { false } else { true }
    }

    /// Only a unix socket says when its receiver has room.
    public var losslessObjection: String? { plan.losslessObjection }

    /// The arguments that are not at their defaults.
    public var members: JSONObject {
        switch plan {
        case .pair(let local, let remote): return ["local": local.json, "remote": remote.json]
        case .file(let name): return ["local": SocketAddress.file(name).json]
        case .group(let group, let interface):
            var object: JSONObject = ["remote": SocketAddress.inet(group).json]
            if !interface.isEmpty {
                // The port says nothing, but an address has one.
                let local = InetAddress(host: interface, port: group.port)
                object["local"] = SocketAddress.inet(local).json
            }
            return object
        }
    }
}
