// The addresses of QEMU's user network: where they are and how they are written.

/// The IPv4 network that a guest finds itself in.
public struct UserNetwork: Sendable, Hashable {
    /// Bits of the network's mask.
    public let prefix: Int
    /// The address that stands for the host, and the gateway.
    public let host: String
    /// What DHCP gives out.
    public let guest: String
    /// Where name servers are found.
    public let dns: String

    static let members = ["net", "host", "dhcpstart", "dns"]

    init(_ arguments: JSONObject) throws(QMPError) {
        let net = arguments["net"]?.stringValue ?? "10.0.2.0/24"
        let parts = net.split(separator: "/", omittingEmptySubsequences: false)
        guard let bytes = NumericAddress.ipv4(String(parts[0])), parts.count <= 2,
            let prefix = parts.count == 1 ? 24 : Self.prefix(String(parts[1]))
        else {
            throw .expects("net", "a network such as 10.0.2.0/24, not '\(net)'")
        }
        guard (1...28).contains(prefix) else {
            throw .expects("net", "a prefix of 1 to 28 bits, not '\(net)'")
        }
        self.prefix = prefix
        let mask = ~UInt32(0) << UInt32(32 - prefix)
        let network = bytes.reduce(0) { $0 << 8 | UInt32($1) } & mask
        func address(_ name: String, _ number: UInt32) throws(QMPError) -> String {
            guard let text = arguments[name]?.stringValue else {
                return Self.text(network | number)
            }
            guard let bytes = NumericAddress.ipv4(text) else {
                throw .expects(name, "an IPv4 address, not '\(text)'")
            }
            let value = bytes.reduce(0) { $0 << 8 | UInt32($1) }
            guard value & mask == network, value & ~mask != 0, value | mask != ~UInt32(0) else {
                throw .expects(
                    name,
                    "an address within \(Self.text(network))/\(prefix), not '\(text)'"
                )
            }
            return text
        }
        host = try address("host", 2)
        guest = try address("dhcpstart", 15)
        dns = try address("dns", 3)
        guard Set([host, guest, dns]).count == 3 else {
            throw QMPError(
                "Parameters 'host', 'dhcpstart' and 'dns' are to be three addresses: they are "
                    + "\(host), \(guest) and \(dns)"
            )
        }
    }

    private static func prefix(_ text: String) -> Int? {
        guard text.contains(".") else { return Int(text) }
        guard let bytes = NumericAddress.ipv4(text) else { return nil }
        let mask = bytes.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        return (~mask) & (~mask &+ 1) == 0 ? mask.leadingZeroBitCountOfInverse : nil
    }

    private static func text(_ value: UInt32) -> String {
        NumericAddress.text((0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) })
    }
}

extension UInt32 {
    fileprivate var leadingZeroBitCountOfInverse: Int { (~self).leadingZeroBitCount }
}
