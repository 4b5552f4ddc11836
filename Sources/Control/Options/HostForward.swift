// QEMU's `hostfwd` rules: what arrives at a port of the host goes to the guest.

/// One rule, `[tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport`.
public struct HostForward: Sendable, Hashable, CustomStringConvertible {
    /// Whether it is UDP, not TCP.
    public let isUDP: Bool
    /// The host's address; nil for all of them.
    public let hostAddress: String?
    /// The host's port.
    public let hostPort: Int
    /// The guest's address; nil for the one that it is given by DHCP.
    public let guestAddress: String?
    /// The guest's port.
    public let guestPort: Int

    static let form = "[tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport"

    /// Takes a rule apart.
    public init(_ text: String) throws(QMPError) {
        let bad = QMPError.expects("hostfwd", "\(Self.form), such as tcp::2222-:22; not '\(text)'")
        let halves = text.split(separator: "-", omittingEmptySubsequences: false)
        guard halves.count == 2 else { throw bad }
        var host = halves[0].split(separator: ":", omittingEmptySubsequences: false)
        let guest = halves[1].split(separator: ":", omittingEmptySubsequences: false)
        guard host.count == 3, guest.count == 2 else { throw bad }
        switch host.removeFirst() {
        case "tcp", "": isUDP = false
        case "udp": isUDP = true
        default: throw bad
        }
        hostAddress = try Self.address(host[0], in: text)
        hostPort = try Self.port(host[1], in: text)
        guestAddress = try Self.address(guest[0], in: text)
        guestPort = try Self.port(guest[1], in: text)
    }

    private static func address(
        _ text: Substring,
        in rule: String
    ) throws(QMPError) -> String? {
        if text.isEmpty { return nil }
        guard NumericAddress.isIPv4(String(text)) else {
            throw .expects("hostfwd", "IPv4 addresses, not '\(text)' as in '\(rule)'")
        }
        return String(text)
    }

    private static func port(_ text: Substring, in rule: String) throws(QMPError) -> Int {
        guard let port = Int(text), (1...65535).contains(port) else {
            throw .expects("hostfwd", "ports from 1 to 65535, not '\(text)' as in '\(rule)'")
        }
        return port
    }

    /// The rule again.
    public var description: String {
        "\(isUDP ? "udp" : "tcp"):\(hostAddress ?? ""):\(hostPort)-\(guestAddress ?? ""):\(guestPort)"
    }

    /// What passt calls it, without the protocol.
    var passtSpecification: String {
        (hostAddress.map { "\($0)/" } ?? "") + "\(hostPort):\(guestPort)"
    }
}
