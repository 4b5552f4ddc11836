// QEMU's `-netdev vde`, and the other side of it: a directory that VDE's clients plug into.

internal import Glibc

/// The options of a `vde` port.
public struct VdeOptions: BackendOptions {
    /// The name of the kind.
    public static let type = "vde"
    /// Where vde_switch is by default.
    public static let standardDirectory = "/var/run/vde.ctl"
    /// The longest directory: the names of data sockets in it have to fit, too.
    public static let maximumDirectory = 85

    /// The switch's directory.
    public let directory: String
    /// The port of that switch; 0 for any.
    public let port: Int
    /// The group that the sockets get, if any.
    public let group: String?
    /// The permissions that the sockets get.
    public let mode: Int
    /// Whether clients plug in here, instead of this into a switch.
    public let isServer: Bool
    private let hasMode: Bool

    init(_ arguments: JSONObject) throws(QMPError) {
        isServer = arguments["server"]?.boolValue ?? false
        let sock = arguments["sock"]?.stringValue
        guard !isServer || sock != nil else { throw .missing("sock") }
        directory = sock ?? Self.standardDirectory
        guard directory.hasPrefix("/"), directory.utf8.count <= Self.maximumDirectory else {
            throw .expects(
                "sock",
                "the absolute path of a directory, of at most \(Self.maximumDirectory) bytes; not "
                    + "'\(directory)'"
            )
        }
        port = arguments["port"]?.integerValue ?? 0
        guard (0...255).contains(port), !isServer || port == 0 else {
            throw .expects(
                "port",
                isServer
                    ? "to be left out with server=on; the name of the switch port is ifname"
                    : "a port of vde_switch, 0 (any) to 255, not \(port); the name of the switch port is "
                        + "ifname"
            )
        }
        group = arguments["group"]?.stringValue
        if let group, unsafe getgrnam(group) == nil {
            throw .expects("group", "a group of this system, not '\(group)'")
        }
        hasMode = arguments["mode"] != nil
        mode = arguments["mode"]?.integerValue ?? 0o700
        guard (0...0o777).contains(mode) else {
            throw .expects("mode", "permissions such as 0700, not \(mode)")
        }
    }

    /// The arguments that are not at their defaults.
    public var members: JSONObject {
        var object = JSONObject()
        if isServer || directory != Self.standardDirectory { object["sock"] = .string(directory) }
        if isServer { object["server"] = true }
        if port != 0 { object["port"] = .integer(port) }
        if let group { object["group"] = .string(group) }
        if hasMode { object["mode"] = .integer(mode) }
        return object
    }
}
