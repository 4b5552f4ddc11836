// QEMU's `-netdev hubport`: a port of a hub, where every frame goes to every other port.

/// The options of a `hubport`.
public struct HubPortOptions: BackendOptions {
    /// The name of the kind.
    public static let type = "hubport"
    /// The hub's number; hub 3 is the switch `hub3`.
    public let hub: Int
    /// The port that is moved onto the hub; nil for a new one with a socket of its own.
    public let netdev: String?
    /// How many queue pairs the port offers.
    public let queues: Int

    init(_ arguments: JSONObject) throws(QMPError) {
        hub = arguments["hubid"]?.integerValue ?? 0
        guard (0...Self.maximum).contains(hub) else {
            throw .expects("hubid", "a number from 0 to \(Self.maximum), not \(hub)")
        }
        netdev = arguments["netdev"]?.stringValue
        queues = try NetdevOptions.queues(arguments)
        guard netdev != nil else { return }
        let others = ["queues", "lossless", "lossless-timeout", "ephemeral"] + PortPolicy.names
        for member in others where arguments[member] != nil {
            throw QMPError(
                "Parameter '\(member)' is unexpected: netdev names a port that is there already; "
                    + "'port-set' changes it"
            )
        }
    }

    private static let maximum = 99_999_999

    /// The hub's name.
    public var master: String { "hub\(hub)" }

    /// The arguments that are not at their defaults.
    public var members: JSONObject {
        var object: JSONObject = ["hubid": .integer(hub)]
        if let netdev { object["netdev"] = .string(netdev) }
        if queues != 1 { object["queues"] = .integer(queues) }
        return object
    }
}
