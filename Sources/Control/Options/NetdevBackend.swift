// What can be behind a port: one case for each type of `netdev_add`.

extension NetdevOptions {
    /// What is behind a port, with the options that only this kind has.
    public enum Backend: Sendable, Hashable {
        /// A socket that the engine listens on by itself: `-netdev netmap`.
        case netmap(NetmapOptions)
        /// A socket that `chardev-add` made.
        case vhostUser(VhostUserOptions)
        /// An interface of the host whose other end is the port.
        case tap(TapOptions)
        /// A connection that carries frames behind their lengths.
        case stream(StreamOptions)
        /// Datagrams that are frames.
        case dgram(DgramOptions)
        /// Either of them, as QEMU wrote it before.
        case socket(SocketOptions)
        /// The outside, as the engine's user reaches it.
        case user(UserOptions)
        /// A switch or clients of VDE.
        case vde(VdeOptions)
        /// A static tunnel to another host.
        case l2tpv3(L2TPv3Options)
        /// A capture file, sent or written.
        case pcap(PcapOptions)
        /// An interface of the host, by a packet socket.
        case packet(PacketOptions)
        /// An interface of the host, by AF_XDP.
        case xdp(XDPOptions)
        /// The host's stack beside an interface that is a port.
        case hostStack(HostStackOptions)

        init(_ arguments: JSONObject, fileExists: (String) -> Bool) throws(QMPError) {
            // The schema has let no other type through.
            switch arguments["type"]?.stringValue {
            case VhostUserOptions.type: self = .vhostUser(try VhostUserOptions(arguments))
            case TapOptions.type, TapOptions.bridgeType: self = .tap(try TapOptions(arguments))
            case StreamOptions.type: self = .stream(try StreamOptions(arguments))
            case DgramOptions.type: self = .dgram(try DgramOptions(arguments))
            case SocketOptions.type: self = .socket(try SocketOptions(arguments))
            case UserOptions.type: self = .user(try UserOptions(arguments))
            case VdeOptions.type: self = .vde(try VdeOptions(arguments))
            case L2TPv3Options.type: self = .l2tpv3(try L2TPv3Options(arguments))
            case PcapOptions.type: self = .pcap(try PcapOptions(arguments))
            case PacketOptions.type: self = .packet(try PacketOptions(arguments))
            case XDPOptions.type: self = .xdp(try XDPOptions(arguments))
            case HostStackOptions.type: self = .hostStack(try HostStackOptions(arguments))
            default: self = .netmap(try NetmapOptions(arguments, fileExists: fileExists))
            }
        }

        /// The options of the kind, whichever it is.
        public var options: any BackendOptions {
            switch self {
            case .netmap(let options): options
            case .vhostUser(let options): options
            case .tap(let options): options
            case .stream(let options): options
            case .dgram(let options): options
            case .socket(let options): options
            case .user(let options): options
            case .vde(let options): options
            case .l2tpv3(let options): options
            case .pcap(let options): options
            case .packet(let options): options
            case .xdp(let options): options
            case .hostStack(let options): options
            }
        }

        /// The member that names the switch port.
        var portMember: String { NetdevOptions.portMember(of: options.type) }
    }

    /// The member that names the switch port: where QEMU's `ifname` is an interface, it cannot be that, and
    /// where its `port` is something else, not that.
    public static func portMember(of type: String) -> String {
        switch type {
        case NetmapOptions.type, VhostUserOptions.type, VdeOptions.type: "ifname"
        default: "port"
        }
    }
}

/// The options of one kind of backend.
public protocol BackendOptions: Sendable, Hashable {
    /// The name of the kind, as `netdev_add` has it.
    static var type: String { get }
    /// The name of the kind, as the port was asked for.
    var type: String { get }
    /// Whether an engine can make the port again that is told these options only.
    var isRestorable: Bool { get }
    /// How many queue pairs the port offers.
    var queues: Int { get }
    /// The arguments of `netdev_add` that only this kind has, without those at their defaults.
    var members: JSONObject { get }
    /// Why senders cannot wait for such a port, if they cannot.
    var losslessObjection: String? { get }
}

extension BackendOptions {
    /// The name of the kind, as `netdev_add` has it.
    public var type: String { Self.type }
    /// Whether an engine can make the port again that is told these options only.
    public var isRestorable: Bool { true }
    /// How many queue pairs the port offers.
    public var queues: Int { 1 }
    /// Nothing is in the way.
    public var losslessObjection: String? { nil }
}

/// The options of a `netmap` port.
public struct NetmapOptions: BackendOptions {
    /// The name of the kind.
    public static let type = "netmap"
    /// How many queue pairs the port offers.
    public let queues: Int
    /// The guest to plug a NIC into, if any.
    public let plug: PlugOptions?

    /// Makes options that are known to be good.
    public init(queues: Int = 1, plug: PlugOptions? = nil) {
        self.queues = queues
        self.plug = plug
    }

    init(_ arguments: JSONObject, fileExists: (String) -> Bool) throws(QMPError) {
        queues = try NetdevOptions.queues(arguments)
        try Self.check(devname: arguments["devname"]?.stringValue, fileExists)
        plug = try PlugOptions(arguments)
    }

    /// The arguments that are not at their defaults.
    public var members: JSONObject {
        var object: JSONObject = queues == 1 ? [:] : ["queues": .integer(queues)]
        for (name, value) in plug?.members ?? [:] { object[name] = value }
        return object
    }

    private static func check(
        devname: String?,
        _ fileExists: (String) -> Bool
    ) throws(QMPError) {
        guard let devname, devname != "/dev/netmap" else { return }
        guard fileExists(devname) else {
            throw .expects(
                "devname",
                "a netmap device, and '\(devname)' does not exist; leave devname out: "
                    + "this engine is its own netmap"
            )
        }
        throw .expects(
            "devname",
            "'/dev/netmap', not '\(devname)'; leave devname out: this engine is its own netmap"
        )
    }
}

/// The options of a `vhost-user` port.
public struct VhostUserOptions: BackendOptions {
    /// The name of the kind.
    public static let type = "vhost-user"
    /// The id of the socket.
    public let chardev: String
    /// How many queue pairs the port offers.
    public let queues: Int

    init(_ arguments: JSONObject) throws(QMPError) {
        chardev = arguments["chardev"]?.stringValue ?? ""
        queues = try NetdevOptions.queues(arguments)
    }

    /// The arguments that are not at their defaults.
    public var members: JSONObject {
        var object: JSONObject = ["chardev": .string(chardev)]
        if queues != 1 { object["queues"] = .integer(queues) }
        return object
    }
}
