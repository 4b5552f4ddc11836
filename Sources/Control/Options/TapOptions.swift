// QEMU's `-netdev tap` and `-netdev bridge`, without what only QEMU needs.

/// The options of a `tap` port, and of a `bridge` port, which is a tap interface on a bridge.
public struct TapOptions: BackendOptions {
    /// The name of the kind that QEMU gives an interface by name.
    public static let type = "tap"
    /// The name of the kind that is on a bridge.
    public static let bridgeType = "bridge"
    /// The bridge that QEMU takes if none is named.
    public static let defaultBridge = "br0"

    /// The interface, new or existing; nil for a new one that the kernel names.
    public let ifname: String?
    /// Names of descriptors of interfaces that exist, one for each queue, instead of a name.
    public let files: [String]
    /// How many queue pairs the port offers.
    public let queues: Int
    /// Whether checksums and segmentation may be left to the other side.
    public let hasVnetHeader: Bool
    /// The bridge that the interface joins, if any.
    public let bridge: String?
    /// What makes the interface and has it join, for those who may not: QEMU's qemu-bridge-helper.
    public let helper: String?
    /// The namespace that the interface is in: a name, a path, or a process; nil for the engine's own.
    public let namespace: String?
    /// Whether the interface stays when the port goes.
    public let isPersistent: Bool
    /// The interface's MTU; nil leaves it.
    public let mtu: Int?
    /// Whether it was asked for as `bridge`.
    public let isBridge: Bool

    init(_ arguments: JSONObject) throws(QMPError) {
        let text = { (name: String) in arguments[name]?.stringValue }
        isBridge = text("type") == Self.bridgeType
        ifname = text("ifname")
        if let ifname { try Self.check(interface: ifname, "ifname") }
        guard text("fd") == nil || text("fds") == nil else {
            throw QMPError("Parameters 'fd' and 'fds' exclude each other")
        }
        files = text("fd").map { [$0] } ?? text("fds")?.split(separator: ":").map(String.init) ?? []
        helper = text("helper")
        bridge = text("br") ?? (isBridge || helper != nil ? Self.defaultBridge : nil)
        if let bridge { try Self.check(interface: bridge, "br") }
        namespace = text("netns")
        isPersistent = arguments["persistent"]?.boolValue ?? false
        hasVnetHeader = arguments["vnet_hdr"]?.boolValue ?? true
        mtu = arguments["mtu"]?.integerValue
        guard mtu.map({ (68...65_521).contains($0) }) ?? true else {
            throw .expects("mtu", "a number from 68 to 65521, not \(mtu ?? 0)")
        }
        let asked = arguments["queues"] == nil ? nil : try NetdevOptions.queues(arguments)
        guard files.isEmpty || asked == nil || asked == files.count else {
            throw QMPError(
                "Parameter 'queues' is \(asked ?? 0), but there are \(files.count) descriptors"
            )
        }
        queues = files.isEmpty ? asked ?? 1 : files.count
        try checkCombinations(arguments)
    }

    private func checkCombinations(_ arguments: JSONObject) throws(QMPError) {
        if !files.isEmpty {
            // A descriptor has its interface, wherever that is.
            for name in ["ifname", "vnet_hdr", "br", "helper", "netns", "persistent", "mtu"]
            where arguments[name] != nil {
                throw QMPError("Parameter '\(name)' is unexpected with descriptors")
            }
        }
        if helper != nil {
            for name in ["ifname", "netns", "persistent"] where arguments[name] != nil {
                throw QMPError("Parameter '\(name)' is unexpected: the helper makes the interface")
            }
            guard queues == 1 else { throw QMPError("A helper makes one queue, not \(queues)") }
        }
        if namespace != nil, bridge != nil {
            throw QMPError(
                "Parameter 'br' is unexpected with 'netns': a bridge is in one namespace, and the engine is in another"
            )
        }
        for name in ["script", "downscript"] {
            guard ["no", nil].contains(arguments[name]?.stringValue) else {
                throw .expects(
                    name,
                    "'no': the engine runs no scripts; use br=, netns= and mtu=, or set the interface up beforehand"
                )
            }
        }
        guard arguments["vhost"]?.boolValue != true else {
            throw .expects(
                "vhost",
                "'off': the engine moves the frames, there is no vhost-net in between"
            )
        }
    }

    /// The name of the kind.
    public var type: String { isBridge ? Self.bridgeType : Self.type }

    /// A tap does not say when it has room again.
    public var losslessObjection: String? { "a tap interface does not say when it has room" }

    /// The arguments that are not at their defaults.
    public var members: JSONObject {
        var object = JSONObject()
        for (name, value) in [("ifname", ifname), ("helper", helper), ("netns", namespace)] {
            if let value { object[name] = .string(value) }
        }
        if let bridge, !isBridge || bridge != Self.defaultBridge { object["br"] = .string(bridge) }
        if files.count == 1 { object["fd"] = .string(files[0]) }
        if files.count > 1 { object["fds"] = .string(files.joined(separator: ":")) }
        if queues != max(1, files.count) { object["queues"] = .integer(queues) }
        if !hasVnetHeader { object["vnet_hdr"] = false }
        if isPersistent { object["persistent"] = true }
        if let mtu { object["mtu"] = .integer(mtu) }
        return object
    }

    /// Whether the port can be made again by an engine that nobody passes a descriptor to.
    public var isRestorable: Bool { files.isEmpty }

    /// Checks that the kernel takes a text for the name of an interface.
    static func check(interface name: String, _ member: String) throws(QMPError) {
        let isGood = name.utf8.allSatisfy {
            $0 > 32 && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":")
        }
        guard isGood, (1...15).contains(name.utf8.count), name != ".", name != ".." else {
            throw .expects(
                member,
                "the name of an interface: 1 to 15 bytes without blanks, '/' and ':'; not '\(name)'"
            )
        }
    }
}
