// QEMU's `-netdev l2tpv3`: a static tunnel to another host, its kernel or its QEMU.

/// The options of an `l2tpv3` port.
public struct L2TPv3Options: BackendOptions {
    /// The name of the kind.
    public static let type = "l2tpv3"
    /// Our address.
    public let source: String
    /// The peer's address.
    public let destination: String
    /// UDP ports, ours and the peer's; nil over IP.
    public let ports: (source: Int, destination: Int)?
    /// Whether the addresses are of IPv6.
    public let isIPv6: Bool
    /// Bytes of a cookie: 0, 4 or 8.
    public let cookieSize: Int
    /// Whether there is a counter, and whether it stays 0.
    public let counter: (exists: Bool, isPinned: Bool)
    /// What is sent.
    public let transmit: (session: UInt32, cookie: UInt64)
    /// What is expected.
    public let receive: (session: UInt32, cookie: UInt64)
    /// Bytes between header and frame.
    public let padding: Int
    private let given: JSONObject

    /// The most bytes between header and frame.
    public static let maximumPadding = 200

    init(_ arguments: JSONObject) throws(QMPError) {
        for name in ["lossless", "lossless-timeout"] where arguments[name] ?? false != false {
            throw QMPError(
                "Parameter '\(name)' cannot be had with 'l2tpv3': no network says what it has lost; "
                    + "leave it out"
            )
        }
        isIPv6 = arguments["ipv6"]?.boolValue ?? false
        source = try Self.address(arguments, "src", isIPv6)
        destination = try Self.address(arguments, "dst", isIPv6)
        if arguments["udp"]?.boolValue ?? false {
            ports = (try Self.port(arguments, "srcport"), try Self.port(arguments, "dstport"))
        } else {
            for name in ["srcport", "dstport"] where arguments[name] != nil {
                throw QMPError("Parameter '\(name)' says nothing without UDP; add udp=on")
            }
            ports = nil
        }
        let isLong = arguments["cookie64"]?.boolValue ?? false
        let names = ["txcookie", "rxcookie"]
        if isLong, !names.contains(where: { arguments[$0] != nil }) {
            throw QMPError("Parameter 'cookie64' says nothing without txcookie and rxcookie")
        }
        for name in names where arguments[name] != nil {
            // Numbers above 2^63 have no sign here, and a negative one there.
            let cookie = arguments[name]?.integerValue ?? 0
            guard isLong || (0...Int(UInt32.max)).contains(cookie) else {
                throw .expects(name, "32 bits, not \(cookie); add cookie64=on for 64 bits")
            }
        }
        cookieSize = names.contains { arguments[$0] != nil } ? (isLong ? 8 : 4) : 0
        guard let txsession = try Self.number(arguments, "txsession", UInt32.max) else {
            throw .missing("txsession")
        }
        let rxsession = try Self.number(arguments, "rxsession", UInt32.max) ?? txsession
        transmit = (txsession, Self.cookie(arguments, "txcookie"))
        receive = (rxsession, Self.cookie(arguments, "rxcookie"))
        let isPinned = arguments["pincounter"]?.boolValue ?? false
        let exists = arguments["counter"]?.boolValue ?? false
        guard exists || !isPinned else {
            throw QMPError("Parameter 'pincounter' says nothing without 'counter'; add counter=on")
        }
        counter = (exists, isPinned)
        padding = Int(
            try Self.number(arguments, "offset", UInt32(Self.maximumPadding)) ?? 0
        )
        given = arguments.keeping(Self.kept)
    }

    private static func address(
        _ arguments: JSONObject,
        _ name: String,
        _ isIPv6: Bool
    ) throws(QMPError) -> String {
        let text = arguments[name]?.stringValue ?? ""
        let bytes = isIPv6 ? NumericAddress.ipv6(text) : NumericAddress.ipv4(text)
        guard bytes != nil else {
            throw .expects(
                name,
                "an \(isIPv6 ? "IPv6" : "IPv4") address in numbers, not '\(text)'"
                    + (isIPv6 ? "" : "; IPv6 needs ipv6=on")
            )
        }
        return text
    }

    private static func port(_ arguments: JSONObject, _ name: String) throws(QMPError) -> Int {
        guard let text = arguments[name]?.stringValue else { throw .missing(name) }
        guard let port = Int(text), (1...65535).contains(port) else {
            throw .expects(name, "a UDP port from 1 to 65535, not '\(text)'")
        }
        return port
    }

    private static func number(
        _ arguments: JSONObject,
        _ name: String,
        _ maximum: UInt32
    ) throws(QMPError) -> UInt32? {
        guard let value = arguments[name]?.integerValue else { return nil }
        guard (0...Int(maximum)).contains(value) else {
            throw .expects(name, "a number from 0 to \(maximum), not \(value)")
        }
        return UInt32(value)
    }

    private static func cookie(_ arguments: JSONObject, _ name: String) -> UInt64 {
        UInt64(bitPattern: Int64(arguments[name]?.integerValue ?? 0))
    }

    private static let kept: Set<String> = [
        "src", "dst", "srcport", "dstport", "ipv6", "udp", "cookie64", "counter", "pincounter",
        "txcookie", "rxcookie", "txsession", "rxsession", "offset",
    ]

    /// The arguments that were given.
    public var members: JSONObject { given }

    /// Whether two say the same.
    public static func == (one: L2TPv3Options, other: L2TPv3Options) -> Bool {
        one.given == other.given
    }

    /// Hashes what was given.
    public func hash(into hasher: inout Hasher) { hasher.combine(given) }
}
