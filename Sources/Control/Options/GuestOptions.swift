// A running guest that the engine may plug NICs into: its name and its QEMU's monitor.

/// What `guest-add` tells the engine.
public struct GuestOptions: Sendable, Hashable {
    /// The name that `netdev_add` refers to.
    public let name: String
    /// The path of a QMP socket of the guest's QEMU, which nobody else uses.
    public let monitor: String
    /// Whether the guest is forgotten with the control connection that made it known.
    public let isEphemeral: Bool

    /// Describes a guest.
    public init(name: String, monitor: String, isEphemeral: Bool = false) {
        self.name = name
        self.monitor = monitor
        self.isEphemeral = isEphemeral
    }

    /// Takes the arguments of `guest-add`.
    public init(_ arguments: JSONObject) throws(QMPError) {
        try SchemaValidator().validate(command: "guest-add", arguments: arguments)
        let name = arguments["name"]?.stringValue ?? ""
        guard !name.isEmpty, name.utf8.count <= 128,
            name.unicodeScalars.allSatisfy({ $0.properties.generalCategory != .control })
        else { throw .expects("name", "a name of 1 to 128 bytes on one line") }
        let path = arguments["qmp"]?.stringValue ?? ""
        guard path.first == "/", path.utf8.count <= RuntimeDirectory.maximumSocketPath else {
            throw .expects(
                "qmp",
                "the absolute path of a socket, at most \(RuntimeDirectory.maximumSocketPath) "
                    + "bytes; not '\(path)'"
            )
        }
        self.init(
            name: name,
            monitor: path,
            isEphemeral: arguments["ephemeral"]?.boolValue ?? false
        )
    }

    /// The arguments of `guest-add` that make this guest known.
    public var arguments: JSONObject {
        var object: JSONObject = ["name": .string(name), "qmp": .string(monitor)]
        if isEphemeral { object["ephemeral"] = true }
        return object
    }
}

/// Where a port's NIC is to be plugged in.
public struct PlugOptions: Sendable, Hashable {
    /// The guest's name.
    public let guest: String
    /// The NIC's address; made of the port's name if nil.
    public let mac: String?
    /// The bus in the guest; found if nil.
    public let bus: String?

    /// Says where.
    public init(guest: String, mac: String? = nil, bus: String? = nil) {
        self.guest = guest
        self.mac = mac
        self.bus = bus
    }

    /// Takes the members of `netdev_add`; nil when they ask for no guest.
    init?(_ arguments: JSONObject) throws(QMPError) {
        guard let guest = arguments["guest"]?.stringValue else {
            for member in ["mac", "bus"] where arguments[member] != nil {
                throw QMPError("Parameter '\(member)' is for a NIC in a guest; add guest=NAME")
            }
            return nil
        }
        if let mac = arguments["mac"]?.stringValue, !Self.isStation(mac) {
            throw .expects("mac", "the address of one station, like '52:54:00:12:34:56'")
        }
        self.init(
            guest: guest,
            mac: arguments["mac"]?.stringValue,
            bus: arguments["bus"]?.stringValue
        )
    }

    /// Whether a text is the address of one station.
    static func isStation(_ text: String) -> Bool {
        let octets = text.split(separator: ":", omittingEmptySubsequences: false)
        let values = octets.compactMap { $0.utf8.count == 2 ? UInt8($0, radix: 16) : nil }
        return octets.count == 6 && values.count == 6 && values[0] & 1 == 0
    }

    /// The members of `netdev_add` that say so.
    var members: JSONObject {
        var object: JSONObject = ["guest": .string(guest)]
        if let mac { object["mac"] = .string(mac) }
        if let bus { object["bus"] = .string(bus) }
        return object
    }
}
