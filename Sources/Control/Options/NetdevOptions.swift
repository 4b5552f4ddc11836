// The options of a port, from QMP arguments or from QEMU's option text, checked as far as
// they can be without asking the engine.

/// What `netdev_add` makes.
public enum NetdevOptions: Sendable, Hashable {
    /// A port that the engine listens for by itself: `-netdev netmap`.
    case netmap(NetmapOptions)
    /// A port on a socket that `chardev-add` made.
    case vhostUser(VhostUserOptions)

    /// The most queue pairs that a port may ask for.
    public static let maximumQueues = 128

    /// Takes the arguments of `netdev_add`.
    ///
    /// `fileExists` is asked about a `devname` that is not netmap's own.
    public init(
        _ arguments: JSONObject,
        fileExists: (String) -> Bool = FileProbe.exists
    ) throws(QMPError) {
        try SchemaValidator().validate(command: "netdev_add", arguments: arguments)
        let id = try Self.identifier(arguments["id"]?.stringValue ?? "", "id")
        let port = try Self.port(arguments["ifname"]?.stringValue ?? "")
        let queues = arguments["queues"]?.integerValue ?? 1
        guard (1...Self.maximumQueues).contains(queues) else {
            throw .expects("queues", "a number from 1 to \(Self.maximumQueues), not \(queues)")
        }
        let isEphemeral = arguments["ephemeral"]?.boolValue ?? false
        let lossless = try LosslessOptions(arguments)
        if let chardev = arguments["chardev"]?.stringValue {
            self = .vhostUser(
                VhostUserOptions(
                    id: id,
                    port: port,
                    chardev: chardev,
                    queues: queues,
                    isEphemeral: isEphemeral,
                    lossless: lossless
                )
            )
            return
        }
        try Self.check(devname: arguments["devname"]?.stringValue, fileExists)
        self = .netmap(
            NetmapOptions(
                id: id,
                port: port,
                queues: queues,
                isEphemeral: isEphemeral,
                lossless: lossless,
                plug: try PlugOptions(arguments)
            )
        )
    }

    /// Takes QEMU's option text, `netmap,id=n0,ifname=vale0:vm1`, or the arguments as JSON.
    public init(
        text: String,
        fileExists: (String) -> Bool = FileProbe.exists
    ) throws(QMPError) {
        try self.init(Self.arguments(text: text), fileExists: fileExists)
    }

    /// The arguments of `netdev_add` that an option text stands for; typed, not yet checked.
    public static func arguments(text: String) throws(QMPError) -> JSONObject {
        guard text.first == "{" else {
            return try SchemaValidator().typed(KeyValueText(text, implied: "type"), as: "Netdev")
        }
        do throws(JSONSyntaxError) {
            guard case .object(let object) = try JSONValue(parsing: text) else { return [:] }
            return object
        } catch {
            throw .syntax(error)
        }
    }

    /// The port's id.
    public var id: String {
        switch self {
        case .netmap(let options): options.id
        case .vhostUser(let options): options.id
        }
    }

    /// The switch and port.
    public var port: ValePortName {
        switch self {
        case .netmap(let options): options.port
        case .vhostUser(let options): options.port
        }
    }

    /// How many queue pairs the port offers.
    public var queues: Int {
        switch self {
        case .netmap(let options): options.queues
        case .vhostUser(let options): options.queues
        }
    }

    /// Whether the port goes with the control connection that made it.
    public var isEphemeral: Bool {
        switch self {
        case .netmap(let options): options.isEphemeral
        case .vhostUser(let options): options.isEphemeral
        }
    }

    /// How the port makes its senders wait, if it does.
    public var lossless: LosslessOptions? {
        switch self {
        case .netmap(let options): options.lossless
        case .vhostUser(let options): options.lossless
        }
    }

    /// The guest that the port's NIC is plugged into by the engine, if any.
    public var plug: PlugOptions? {
        if case .netmap(let options) = self { options.plug } else { nil }
    }

    /// The name of the type, as `netdev_add` has it.
    public var type: String {
        switch self {
        case .netmap: "netmap"
        case .vhostUser: "vhost-user"
        }
    }

    /// The arguments of `netdev_add` that make this port.
    public var arguments: JSONObject {
        var object: JSONObject = [
            "id": .string(id), "type": .string(type), "ifname": .string(port.description),
        ]
        if case .vhostUser(let options) = self { object["chardev"] = .string(options.chardev) }
        if queues != 1 { object["queues"] = .integer(queues) }
        if isEphemeral { object["ephemeral"] = true }
        lossless?.add(to: &object)
        for (name, value) in plug?.members ?? [:] { object[name] = value }
        return object
    }

    /// Checks that a name is one that QEMU takes for an id.
    static func identifier(_ text: String, _ name: String) throws(QMPError) -> String {
        let scalars = text.unicodeScalars
        let isLetter = { (scalar: Unicode.Scalar) in
            scalar.isASCII && scalar.properties.isAlphabetic
        }
        guard let first = scalars.first, isLetter(first),
            scalars.allSatisfy({
                isLetter($0) || ("0"..."9").contains($0) || "-._".unicodeScalars.contains($0)
            })
        else {
            throw .expects(
                name,
                "an identifier: a letter, then letters, digits, '-', '.', '_'; not '\(text)'"
            )
        }
        return text
    }

    private static func port(_ text: String) throws(QMPError) -> ValePortName {
        do throws(ValePortName.NameError) {
            return try ValePortName(text)
        } catch {
            throw .expects("ifname", "a VALE port: \(error.description)")
        }
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

/// The options of a `netmap` port.
public struct NetmapOptions: Sendable, Hashable {
    /// The port's id.
    public let id: String
    /// The switch and port.
    public let port: ValePortName
    /// How many queue pairs the port offers.
    public let queues: Int
    /// Whether the port goes with the control connection that made it.
    public let isEphemeral: Bool
    /// The guest to plug a NIC into, if any.
    public let plug: PlugOptions?

    /// How the port makes its senders wait, if it does.
    public let lossless: LosslessOptions?

    /// Makes options that are known to be good.
    public init(
        id: String,
        port: ValePortName,
        queues: Int = 1,
        isEphemeral: Bool = false,
        lossless: LosslessOptions? = nil,
        plug: PlugOptions? = nil
    ) {
        self.id = id
        self.port = port
        self.queues = queues
        self.isEphemeral = isEphemeral
        self.lossless = lossless
        self.plug = plug
    }
}

/// The options of a `vhost-user` port.
public struct VhostUserOptions: Sendable, Hashable {
    /// The port's id.
    public let id: String
    /// The switch and port.
    public let port: ValePortName
    /// The id of the socket.
    public let chardev: String
    /// How many queue pairs the port offers.
    public let queues: Int
    /// Whether the port goes with the control connection that made it.
    public let isEphemeral: Bool
    /// How the port makes its senders wait, if it does.
    public let lossless: LosslessOptions?
}
