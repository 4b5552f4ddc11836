// QEMU's `-netdev stream`: frames, each behind its length, over a connection.

/// How the two ends of a connection find each other.
public struct StreamPlan: Sendable, Hashable {
    /// Where to listen, or to connect to.
    public let address: SocketAddress
    /// Whether the engine listens.
    public let isServer: Bool
    /// Milliseconds between attempts to connect; 0 for one attempt only.
    public let reconnect: Int

    /// The time between attempts, if nobody says: one second.
    public static let defaultReconnect = 1000

    /// Makes a plan that is known to be good.
    public init(_ address: SocketAddress, isServer: Bool, reconnect: Int = defaultReconnect) {
        self.address = address
        self.isServer = isServer
        self.reconnect = reconnect
    }
}

/// The options of a `stream` port.
public struct StreamOptions: BackendOptions {
    /// The name of the kind.
    public static let type = "stream"
    /// How the two ends find each other.
    public let plan: StreamPlan

    /// Makes options that are known to be good.
    public init(_ plan: StreamPlan) { self.plan = plan }

    init(_ arguments: JSONObject) throws(QMPError) {
        let address = try SocketAddress(arguments["addr"] ?? .null, "addr")
        let isServer = arguments["server"]?.boolValue ?? false
        let seconds = arguments["reconnect"]?.integerValue
        let milliseconds = arguments["reconnect-ms"]?.integerValue
        guard seconds == nil || milliseconds == nil else {
            throw QMPError("'reconnect' and 'reconnect-ms' are mutually exclusive")
        }
        let member = seconds == nil ? "reconnect-ms" : "reconnect"
        if isServer, seconds ?? milliseconds ?? 0 > 0 {
            throw QMPError("Parameter '\(member)' is for connecting sockets; add server=off")
        }
        let limit = seconds == nil ? 86_400_000 : 86_400
        guard (0...limit).contains(seconds ?? milliseconds ?? 0) else {
            throw .expects(member, "a time of at most a day, 0 for no second attempt")
        }
        plan = StreamPlan(
            address,
            isServer: isServer,
            reconnect: seconds.map { $0 * 1000 } ?? milliseconds ?? StreamPlan.defaultReconnect
        )
    }

    /// Whether the port needs no descriptor that somebody has to pass.
    public var isRestorable: Bool {
        if case .file = plan.address { false } else { true }
    }

    /// The arguments that are not at their defaults.
    public var members: JSONObject {
        var object: JSONObject = ["addr": plan.address.json]
        if plan.isServer {
            object["server"] = true
        } else if plan.reconnect != StreamPlan.defaultReconnect {
            object["reconnect-ms"] = .integer(plan.reconnect)
        }
        return object
    }
}
