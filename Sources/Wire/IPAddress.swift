// Addresses and protocol numbers of the Internet Protocol, both versions.

/// An IPv4 address.
public struct IPv4Address: RawRepresentable, Sendable, Hashable, BitwiseCopyable {
    /// The address as a number, the first octet highest.
    public let rawValue: UInt32

    /// Takes an address as a number, the first octet highest.
    @inlinable
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// Makes an address from its octets in the order in which they are written.
    @inlinable
    public init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) {
        rawValue = UInt32(a) &<< 24 | UInt32(b) &<< 16 | UInt32(c) &<< 8 | UInt32(d)
    }
}

extension IPv4Address: CustomStringConvertible {
    /// The address in dotted decimal.
    public var description: String {
        "\(rawValue >> 24).\(rawValue >> 16 & 255).\(rawValue >> 8 & 255).\(rawValue & 255)"
    }
}

/// An IPv6 address.
public struct IPv6Address: Sendable, Hashable, BitwiseCopyable {
    /// The first eight octets as a number, the first one highest.
    public let high: UInt64

    /// The last eight octets as a number.
    public let low: UInt64

    /// Makes an address from its two halves.
    @inlinable
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
}

extension IPv6Address: CustomStringConvertible {
    /// The address as RFC 5952 recommends: lower case, the longest run of zeros as two colons.
    public var description: String {
        let groups = [high, low].flatMap { half in
            [48, 32, 16, 0].map { UInt16(truncatingIfNeeded: half >> UInt64($0)) }
        }
        var run = 0..<0
        var start = 0
        for end in 1...groups.count where end == groups.count || groups[end] != groups[start] {
            // RFC 5952, section 4.2.2: a single zero group is not shortened.
            if groups[start] == 0, end - start > max(run.count, 1) { run = start..<end }
            start = end
        }
        func text(_ range: Range<Int>) -> String {
            groups[range].map { String($0, radix: 16) }.joined(separator: ":")
        }
        guard !run.isEmpty else { return text(0..<8) }
        return text(0..<run.lowerBound) + "::" + text(run.upperBound..<8)
    }
}

/// The protocol of an IP payload.
public struct IPProtocol: RawRepresentable, Sendable, Hashable, BitwiseCopyable {
    /// The number as IANA assigns it.
    public let rawValue: UInt8

    /// Takes any number, known here or not.
    @inlinable
    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// Internet Control Message Protocol, version 4.
    @inlinable public static var icmp: IPProtocol { IPProtocol(rawValue: 1) }
    /// Transmission Control Protocol.
    @inlinable public static var tcp: IPProtocol { IPProtocol(rawValue: 6) }
    /// User Datagram Protocol.
    @inlinable public static var udp: IPProtocol { IPProtocol(rawValue: 17) }
    /// The fragment header of IPv6.
    @inlinable public static var ipv6Fragment: IPProtocol { IPProtocol(rawValue: 44) }
    /// Internet Control Message Protocol, version 6.
    @inlinable public static var icmpv6: IPProtocol { IPProtocol(rawValue: 58) }
    /// Nothing follows (IPv6).
    @inlinable public static var none: IPProtocol { IPProtocol(rawValue: 59) }
}
