// The sockets that vhost-user ports of the second kind use, in the two forms in which QEMU
// takes them. The defaults differ, as they do in QEMU: QMP listens, option text connects.

/// What `chardev-add` makes: a unix socket to listen on or to connect to.
public struct ChardevOptions: Sendable, Hashable {
    /// The name that `netdev_add` refers to.
    public let id: String
    /// The socket's path.
    public let path: String
    /// Whether the engine listens; otherwise it connects.
    public let isServer: Bool
    /// Seconds between attempts to connect.
    public let reconnect: Int

    /// Takes the arguments of `chardev-add`.
    public init(_ arguments: JSONObject) throws(QMPError) {
        try SchemaValidator().validate(command: "chardev-add", arguments: arguments)
        let data = arguments["backend"]?["data"]
        try self.init(
            id: arguments["id"]?.stringValue ?? "",
            path: data?["addr"]?["data"]?["path"]?.stringValue ?? "",
            pathName: "backend.data.addr.data.path",
            isServer: data?["server"]?.boolValue ?? true,
            waits: data?["wait"]?.boolValue ?? false,
            reconnect: data?["reconnect"]?.integerValue
        )
    }

    /// Takes QEMU's option text, `socket,id=c0,path=/run/c0.sock,server=on,wait=off`.
    public init(text: String) throws(QMPError) {
        var options = KeyValueText(text, implied: "backend")
        guard let backend = options.remove("backend") else { throw .missing("backend") }
        guard backend == "socket" else { throw .badValue("backend", backend) }
        guard let id = options.remove("id") else { throw .missing("id") }
        guard let path = options.remove("path") else { throw .missing("path") }
        var flags: [String: Bool] = [:]
        for key in ["server", "wait"] {
            guard let value = options.remove(key) else { continue }
            guard let flag = KeyValueText.boolean(value) else {
                throw .expects(key, "'on' or 'off'")
            }
            flags[key] = flag
        }
        var reconnect: Int?
        if let value = options.remove("reconnect") {
            guard let seconds = KeyValueText.integer(value) else {
                throw .expects("reconnect", "a whole number of seconds, not '\(value)'")
            }
            reconnect = seconds
        }
        if let unknown = options.pairs.first { throw .invalidKey(unknown.key) }
        try self.init(
            id: id,
            path: path,
            pathName: "path",
            isServer: flags["server"] ?? false,
            waits: flags["wait"] ?? false,
            reconnect: reconnect
        )
    }

    private init(
        id: String,
        path: String,
        pathName: String,
        isServer: Bool,
        waits: Bool,
        reconnect: Int?
    ) throws(QMPError) {
        self.id = try NetdevOptions.identifier(id, "id")
        try SocketAddress.check(path: path, pathName)
        guard !waits else {
            throw .expects("wait", "'off': the engine serves all ports and waits for none")
        }
        guard !(isServer && (reconnect ?? 0) > 0) else {
            throw QMPError("Parameter 'reconnect' is for connecting sockets; add server=off")
        }
        guard (0...86400).contains(reconnect ?? 0) else {
            throw .expects("reconnect", "seconds from 0 to 86400, not \(reconnect ?? 0)")
        }
        self.path = path
        self.isServer = isServer
        self.reconnect = reconnect ?? 1
    }

    /// The socket as `query-chardev` shows it.
    public var filename: String { "unix:\(path)\(isServer ? ",server=on" : "")" }

    /// The arguments of `chardev-add` that make this socket.
    public var arguments: JSONObject {
        var data: JSONObject = [
            "addr": ["type": "unix", "data": ["path": .string(path)]],
            "server": .bool(isServer),
        ]
        if !isServer { data["reconnect"] = .integer(reconnect) }
        return [
            "id": .string(id),
            "backend": ["type": "socket", "data": .object(data)],
        ]
    }
}
