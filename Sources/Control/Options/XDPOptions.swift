// QEMU's `-netdev af-xdp`, in its words.

/// The options of an `af-xdp` port.
public struct XDPOptions: BackendOptions {
    /// The name of the kind.
    public static let type = "af-xdp"

    /// Where the XDP program runs.
    public enum Mode: String, Sendable, Hashable {
        /// In the driver.
        case native
        /// In the stack, behind the driver.
        case skb
    }

    /// The interface.
    public let ifname: String
    /// Where the XDP program runs; nil for the driver if it can, else the stack.
    public let mode: Mode?
    /// Whether frames are copied even if the driver could do without.
    public let forcesCopy: Bool
    /// How many queues of the interface are the port's.
    public let queues: Int
    /// The first of them.
    public let startQueue: Int
    /// Whether somebody else has loaded an XDP program.
    public let inhibits: Bool
    /// Sockets that somebody else has made, one for each queue, as `getfd` has named them.
    public let sockets: [String]
    /// Where somebody else's map of sockets is pinned.
    public let mapPath: String?

    /// An interface's first queues, with everything else as it is by default.
    public init(ifname: String, queues: Int, mode: Mode? = nil) {
        self.ifname = ifname
        self.queues = queues
        self.mode = mode
        forcesCopy = false
        startQueue = 0
        inhibits = false
        sockets = []
        mapPath = nil
    }

    init(_ arguments: JSONObject) throws(QMPError) {
        ifname = arguments["ifname"]?.stringValue ?? ""
        try TapOptions.check(interface: ifname, "ifname")
        mode = arguments["mode"]?.stringValue.flatMap(Mode.init(rawValue:))
        forcesCopy = arguments["force-copy"]?.boolValue ?? false
        queues = try NetdevOptions.queues(arguments)
        startQueue = arguments["start-queue"]?.integerValue ?? 0
        inhibits = arguments["inhibit"]?.boolValue ?? false
        mapPath = arguments["map-path"]?.stringValue
        sockets = arguments["sock-fds"]?.stringValue?.split(separator: ":").map(String.init) ?? []
        try NetdevOptions.refuseLossless(arguments, Self.type)
        guard (0...65_535).contains(startQueue) else {
            throw .expects("start-queue", "a queue from 0 to 65535, not \(startQueue)")
        }
        guard sockets.isEmpty || sockets.count == queues else {
            throw .expects(
                "sock-fds",
                "one descriptor for each of \(queues) queues, not \(sockets.count)"
            )
        }
        guard sockets.isEmpty || mapPath == nil else {
            throw QMPError(
                "Parameters 'sock-fds' and 'map-path' exclude each other: sockets that are given are "
                    + "in their map already"
            )
        }
        let hasPlace = !sockets.isEmpty || mapPath != nil
        guard inhibits == hasPlace else {
            throw .expects(
                "inhibit",
                inhibits
                    ? "'sock-fds' or 'map-path' beside it: how would frames find the port?"
                    : "on with 'sock-fds' or 'map-path': those belong to a program that is loaded"
            )
        }
    }

    /// The arguments that are not at their defaults.
    public var members: JSONObject {
        var object: JSONObject = ["ifname": .string(ifname)]
        if let mode { object["mode"] = .string(mode.rawValue) }
        if forcesCopy { object["force-copy"] = true }
        if queues != 1 { object["queues"] = .integer(queues) }
        if startQueue != 0 { object["start-queue"] = .integer(startQueue) }
        if inhibits { object["inhibit"] = true }
        if let mapPath { object["map-path"] = .string(mapPath) }
        if !sockets.isEmpty {
            object["sock-fds"] = .string(sockets.joined(separator: ":"))
        }
        return object
    }
}
