// Where a socket is, as QEMU's option texts and QAPI have it: `addr.type=unix,addr.path=/run/x.sock`.

/// The address of a socket, or a socket that is there already.
public enum SocketAddress: Sendable, Hashable {
    /// A unix socket.
    case unix(String)
    /// An internet address.
    case inet(InetAddress)
    /// A descriptor that `getfd` brought, by its name.
    case file(String)

    /// The longest path that fits a unix socket address.
    public static let maximumPathLength = 107

    /// Takes a `SocketAddress` object that the schema has accepted.
    ///
    /// - Parameters:
    ///   - value: the object.
    ///   - name: what it is called in the arguments, for errors.
    /// - Throws: what is wrong with it.
    init(_ value: JSONValue, _ name: String) throws(QMPError) {
        switch value["type"]?.stringValue {
        case "unix":
            let path = value["path"]?.stringValue ?? ""
            try Self.check(path: path, name + ".path")
            self = .unix(path)
        case "fd":
            let file = value["str"]?.stringValue ?? ""
            guard !file.isEmpty else { throw .expects(name + ".str", "the name given to getfd") }
            self = .file(file)
        default: self = .inet(try InetAddress(value, name))
        }
    }

    /// The address as a `SocketAddress` object.
    public var json: JSONValue {
        switch self {
        case .unix(let path): ["type": "unix", "path": .string(path)]
        case .inet(let address): address.json
        case .file(let name): ["type": "fd", "str": .string(name)]
        }
    }

    /// Checks that a path can be that of a socket.
    static func check(path: String, _ name: String) throws(QMPError) {
        guard path.first == "/" else {
            throw .expects(
                name,
                "an absolute path, because the engine has a working directory of its own; "
                    + "not '\(path)'"
            )
        }
        guard path.utf8.count <= maximumPathLength else {
            throw .expects(
                name,
                "at most \(maximumPathLength) bytes, the limit of unix sockets; "
                    + "'\(path)' has \(path.utf8.count)"
            )
        }
    }
}

extension SocketAddress: CustomStringConvertible {
    /// The address for people: `/run/x.sock`, `localhost:1234`.
    public var description: String {
        switch self {
        case .unix(let path): path
        case .inet(let address): "\(address)"
        case .file(let name): "descriptor \(name)"
        }
    }
}

/// A host, or all of this one's addresses, and a port.
public struct InetAddress: Sendable, Hashable, CustomStringConvertible {
    /// A name or an address; empty for all addresses of this host.
    public let host: String
    /// The port.
    public let port: Int
    /// 4 or 6 for addresses of that version only, 0 for both.
    public let family: Int
    /// Whether `host` has to be an address, so that nobody is asked.
    public let isNumeric: Bool
    /// Whether idle connections are probed.
    public let keepsAlive: Bool

    /// Makes an address.
    public init(host: String, port: Int, family: Int = 0) {
        self.host = host
        self.port = port
        self.family = family
        isNumeric = false
        keepsAlive = false
    }

    init(_ value: JSONValue, _ name: String) throws(QMPError) {
        host = try Self.host(value["host"]?.stringValue ?? "", name + ".host")
        port = try Self.port(value["port"]?.stringValue ?? "", name + ".port")
        isNumeric = value["numeric"]?.boolValue ?? false
        keepsAlive = value["keep-alive"]?.boolValue ?? false
        switch (value["ipv4"]?.boolValue, value["ipv6"]?.boolValue) {
        case (false, false):
            throw QMPError("Parameters '\(name).ipv4' and '\(name).ipv6' cannot both be off")
        case (true, true), (nil, nil): family = 0
        case (true, _), (_, false): family = 4
        default: family = 6
        }
    }

    /// Takes the text `host:port` of the options from before there was `SocketAddress`; IPv4 only, as there.
    init(text: String, _ name: String) throws(QMPError) {
        guard let colon = text.lastIndex(of: ":") else {
            throw .expects(name, "host:port, such as '127.0.0.1:1234'; not '\(text)'")
        }
        host = try Self.host(String(text[..<colon]), name)
        port = try Self.port(String(text[text.index(after: colon)...]), name)
        family = 4
        isNumeric = false
        keepsAlive = false
    }

    private static func host(_ text: String, _ name: String) throws(QMPError) -> String {
        let isGood = text.unicodeScalars.allSatisfy {
            $0.properties.generalCategory != .control && $0 != " "
        }
        guard isGood, text.utf8.count <= 255 else {
            throw .expects(name, "the name or address of a host; not '\(text)'")
        }
        return text
    }

    private static func port(_ text: String, _ name: String) throws(QMPError) -> Int {
        guard text.allSatisfy({ $0.isASCII && $0.isNumber }), let port = Int(text),
            (1...65_535).contains(port)
        else { throw .expects(name, "a port number from 1 to 65535; not '\(text)'") }
        return port
    }

    var json: JSONValue {
        var object: JSONObject = [
            "type": "inet", "host": .string(host), "port": .string(String(port)),
        ]
        if isNumeric { object["numeric"] = true }
        if keepsAlive { object["keep-alive"] = true }
        if family == 4 { object["ipv4"] = true }
        if family == 6 { object["ipv6"] = true }
        return .object(object)
    }

    /// `host:port`.
    public var description: String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// Whether the host is the address of an IPv4 group.
    public var isMulticast: Bool {
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4, parts.allSatisfy({ UInt8($0) != nil }) else { return false }
        return (224...239).contains(UInt8(parts[0]) ?? 0)
    }
}
