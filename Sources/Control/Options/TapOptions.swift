// QEMU's `-netdev tap`, without what only QEMU needs.

/// The options of a `tap` port.
public struct TapOptions: BackendOptions {
    /// The name of the kind.
    public static let type = "tap"
    /// The interface, new or existing; nil for a new one that the kernel names.
    public let ifname: String?
    /// How many queue pairs the port offers.
    public let queues: Int
    /// Whether checksums and segmentation may be left to the other side.
    public let hasVnetHeader: Bool

    init(_ arguments: JSONObject) throws(QMPError) {
        ifname = arguments["ifname"]?.stringValue
        if let ifname { try Self.check(interface: ifname, "ifname") }
        queues = try NetdevOptions.queues(arguments)
        hasVnetHeader = arguments["vnet_hdr"]?.boolValue ?? true
    }

    /// The arguments that are not at their defaults.
    public var members: JSONObject {
        var object = JSONObject()
        if let ifname { object["ifname"] = .string(ifname) }
        if queues != 1 { object["queues"] = .integer(queues) }
        if !hasVnetHeader { object["vnet_hdr"] = false }
        return object
    }

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
