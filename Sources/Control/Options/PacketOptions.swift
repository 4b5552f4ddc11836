// An interface of the host by a packet socket: works with any interface and any kernel.

/// The options of a `packet` port.
public struct PacketOptions: BackendOptions {
    /// The name of the kind.
    public static let type = "packet"
    /// The interface.
    public let ifname: String
    /// Whether the kernel fills a ring: fewer system calls, but frames come up to a millisecond later.
    public let hasRing: Bool
    /// Whether frames go to the driver past the interface's queueing discipline.
    public let bypassesQdisc: Bool
    /// Whether the interface hears frames to all addresses.
    public let isPromiscuous: Bool

    /// An interface, with everything else as it is by default.
    public init(ifname: String) {
        self.ifname = ifname
        hasRing = false
        bypassesQdisc = false
        isPromiscuous = true
    }

    init(_ arguments: JSONObject) throws(QMPError) {
        ifname = arguments["ifname"]?.stringValue ?? ""
        try TapOptions.check(interface: ifname, "ifname")
        hasRing = arguments["ring"]?.boolValue ?? false
        bypassesQdisc = arguments["qdisc-bypass"]?.boolValue ?? false
        isPromiscuous = arguments["promisc"]?.boolValue ?? true
        try NetdevOptions.refuseLossless(arguments, Self.type)
    }

    /// The arguments that are not at their defaults.
    public var members: JSONObject {
        var object: JSONObject = ["ifname": .string(ifname)]
        if hasRing { object["ring"] = true }
        if bypassesQdisc { object["qdisc-bypass"] = true }
        if !isPromiscuous { object["promisc"] = false }
        return object
    }
}

extension NetdevOptions {
    /// Refuses `lossless` for a kind whose other end cannot say when it has room again.
    static func refuseLossless(_ arguments: JSONObject, _ type: String) throws(QMPError) {
        guard arguments["lossless"]?.boolValue ?? false else { return }
        throw .expects(
            "lossless",
            "off for '\(type)': an interface does not say when it has room again"
        )
    }
}
