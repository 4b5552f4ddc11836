// Addresses that are written as numbers. Names are not looked up: that may take as long as a name server
// likes, and the engine waits for nobody.

internal import Glibc

/// Checks of addresses in options.
enum NumericAddress {
    /// The bytes of an IPv4 address in dotted form.
    static func ipv4(_ text: String) -> [UInt8]? { bytes(text, AF_INET, 4) }
    /// The bytes of an IPv6 address.
    static func ipv6(_ text: String) -> [UInt8]? { bytes(text, AF_INET6, 16) }
    static func isIPv4(_ text: String) -> Bool { ipv4(text) != nil }

    private static func bytes(_ text: String, _ family: Int32, _ count: Int) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: count)
        // SAFETY: inet_pton writes as many bytes as an address of the family has.
        return unsafe inet_pton(family, text, &buffer) == 1 ? buffer : nil
    }

    /// The text of the bytes of an address.
    static func text(_ address: [UInt8]) -> String {
        var buffer = [CChar](repeating: 0, count: 64)
        let family = address.count == 4 ? AF_INET : AF_INET6
        // SAFETY: 64 bytes hold the longest text.
        _ = unsafe inet_ntop(family, address, &buffer, 64)
        return String(
            decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
            as: UTF8.self
        )
    }
}
