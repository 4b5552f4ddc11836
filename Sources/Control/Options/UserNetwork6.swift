// The IPv6 side of QEMU's user network.

/// The IPv6 network that a guest finds itself in, if it is asked for.
public struct UserNetwork6: Sendable, Hashable {
    /// The address that stands for the host, and the gateway.
    public let host: String
    /// What the guest gets.
    public let guest: String
    /// Where name servers are found.
    public let dns: String

    static let members = ["ipv6-prefix", "ipv6-prefixlen", "ipv6-host", "ipv6-dns"]

    /// Nil if nothing is asked for: then it is the host's own network, as passt has it.
    init?(_ arguments: JSONObject) throws(QMPError) {
        guard Self.members.contains(where: { arguments[$0] != nil }) else { return nil }
        let length = arguments["ipv6-prefixlen"]?.integerValue ?? 64
        guard length == 64 else {
            throw .expects("ipv6-prefixlen", "64, which is what passt announces; not \(length)")
        }
        let text = arguments["ipv6-prefix"]?.stringValue ?? "fec0::"
        guard let prefix = NumericAddress.ipv6(text) else {
            throw .expects("ipv6-prefix", "an IPv6 address, not '\(text)'")
        }
        func address(_ name: String, _ number: UInt8) throws(QMPError) -> String {
            let given = arguments[name]?.stringValue
            let bytes = given.map(NumericAddress.ipv6) ?? prefix.prefix(15) + [number]
            guard let bytes, bytes.prefix(8) == prefix.prefix(8) else {
                throw .expects(name, "an IPv6 address within \(text)/64, not '\(given ?? "")'")
            }
            return NumericAddress.text(bytes)
        }
        host = try address("ipv6-host", 2)
        dns = try address("ipv6-dns", 3)
        guest = try address("", 0x15)
    }
}
