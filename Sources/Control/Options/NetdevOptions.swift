// The options of a port, from QMP arguments or from QEMU's option text, checked as far as
// they can be without asking the engine.

/// What `netdev_add` makes: a port of a switch, and what is behind it.
public struct NetdevOptions: Sendable, Hashable {
    /// The port's id.
    public let id: String
    /// The switch and port.
    public let port: ValePortName
    /// Whether the port goes with the control connection that made it.
    public let isEphemeral: Bool
    /// How the port makes its senders wait, if it does.
    public let lossless: LosslessOptions?
    /// What the port may do.
    public var policy: PortPolicy
    /// What is behind it.
    public let backend: Backend

    /// The most queue pairs that a port may ask for.
    public static let maximumQueues = 128

    /// Makes options that are known to be good.
    public init(
        id: String,
        port: ValePortName,
        isEphemeral: Bool = false,
        lossless: LosslessOptions? = nil,
        policy: PortPolicy = PortPolicy(),
        backend: Backend
    ) {
        self.id = id
        self.port = port
        self.isEphemeral = isEphemeral
        self.lossless = lossless
        self.policy = policy
        self.backend = backend
    }

    /// Takes the arguments of `netdev_add`.
    ///
    /// `fileExists` is asked about a `devname` that is not netmap's own.
    public init(
        _ arguments: JSONObject,
        fileExists: (String) -> Bool = FileProbe.exists
    ) throws(QMPError) {
        try SchemaValidator().validate(command: "netdev_add", arguments: arguments)
        id = try Self.identifier(arguments["id"]?.stringValue ?? "", "id")
        backend = try Backend(arguments, fileExists: fileExists)
        if case .hubport(let hub) = backend {
            port = try Self.port("\(hub.master):\(id)", "id")
        } else {
            let member = backend.portMember
            port = try Self.port(arguments[member]?.stringValue ?? "", member)
        }
        isEphemeral = arguments["ephemeral"]?.boolValue ?? false
        lossless = try LosslessOptions(arguments)
        if lossless != nil, let why = backend.options.losslessObjection {
            throw QMPError("Parameter 'lossless' is not for this port: \(why)")
        }
        policy = try PortPolicy(arguments)
        try policy.check(lossless: lossless)
        if case .hubport = backend, let why = SwitchOptions.hub.objection(to: policy) {
            throw QMPError("Port '\(port)' cannot have such rules: \(why)")
        }
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

    /// How many queue pairs the port offers.
    public var queues: Int { backend.options.queues }

    /// The guest that the port's NIC is plugged into by the engine, if any.
    public var plug: PlugOptions? {
        if case .netmap(let options) = backend { options.plug } else { nil }
    }

    /// The name of the type, as `netdev_add` has it.
    public var type: String { backend.options.type }

    /// The arguments of `netdev_add` that make this port.
    public var arguments: JSONObject {
        var object = backend.options.members
        object["id"] = .string(id)
        object["type"] = .string(type)
        if case .hubport = backend {
        } else {
            object[backend.portMember] = .string(port.description)
        }
        if isEphemeral { object["ephemeral"] = true }
        lossless?.add(to: &object)
        for (name, value) in policy.members { object[name] = value }
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

    /// The `queues` member of backends that have one.
    static func queues(_ arguments: JSONObject) throws(QMPError) -> Int {
        let queues = arguments["queues"]?.integerValue ?? 1
        guard (1...maximumQueues).contains(queues) else {
            throw .expects("queues", "a number from 1 to \(maximumQueues), not \(queues)")
        }
        return queues
    }

    private static func port(_ text: String, _ member: String) throws(QMPError) -> ValePortName {
        do throws(ValePortName.NameError) {
            return try ValePortName(text)
        } catch {
            throw .expects(member, "a VALE port: \(error.description)")
        }
    }
}
