// netmap's `eth0^`: the host's stack of an interface, beside the interface.

/// The options of a `host-stack` port.
public struct HostStackOptions: BackendOptions {
    /// The name of the kind.
    public static let type = "host-stack"
    /// The interface.
    public let ifname: String

    /// The stack of an interface.
    public init(ifname: String) { self.ifname = ifname }

    init(_ arguments: JSONObject) throws(QMPError) {
        ifname = arguments["ifname"]?.stringValue ?? ""
        try TapOptions.check(interface: ifname, "ifname")
        try NetdevOptions.refuseLossless(arguments, Self.type)
    }

    /// The arguments that are not at their defaults.
    public var members: JSONObject { ["ifname": .string(ifname)] }
}
