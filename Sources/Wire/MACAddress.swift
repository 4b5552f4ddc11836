// The key of the forwarding table. It is kept as one integer so that learning and looking up cost
// a load, a mask and a compare; octets exist only where a person reads or writes an address.

/// An IEEE 802 hardware address.
///
/// The first octet on the wire is the **low** byte of `rawValue`: exactly what a little-endian
/// 64-bit load of a frame's first eight bytes, masked to 48 bits, yields as destination. The upper
/// 16 bits are always zero.
public struct MACAddress: RawRepresentable, Sendable, Hashable, BitwiseCopyable {
    @usableFromInline let bits: UInt64

    /// The 48 bits that an address occupies in a `UInt64`.
    @inlinable public static var mask: UInt64 { 0xffff_ffff_ffff }

    /// The address as an integer, first octet lowest.
    @inlinable public var rawValue: UInt64 { bits }

    /// Takes an address from the low 48 bits of an integer, first octet lowest.
    ///
    /// The upper 16 bits are ignored, so an unmasked load from a frame will do.
    @inlinable
    public init(rawValue: UInt64) {
        bits = rawValue & Self.mask
    }

    /// Makes an address from its octets in the order in which they are written.
    @inlinable
    public init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8, _ e: UInt8, _ f: UInt8) {
        let low = UInt64(a) | UInt64(b) &<< 8 | UInt64(c) &<< 16
        bits = low | UInt64(d) &<< 24 | UInt64(e) &<< 32 | UInt64(f) &<< 40
    }

    /// Reads the six bytes at `offset`, or fails where the span ends earlier.
    @inlinable
    public init?(_ bytes: borrowing Span<UInt8>, at offset: Int = 0) {
        guard bytes.holds(6, at: offset) else { return nil }
        bits = bytes.littleEndian48(offset)
    }

    /// Whether two addresses are the same.
    ///
    /// Written out because a synthesized `==` cannot be inlined into another module.
    @inlinable
    public static func == (a: MACAddress, b: MACAddress) -> Bool {
        a.bits == b.bits
    }

    /// The address of every station, ff:ff:ff:ff:ff:ff.
    @inlinable public static var broadcast: MACAddress { MACAddress(rawValue: mask) }

    /// The address of nobody, 00:00:00:00:00:00.
    @inlinable public static var zero: MACAddress { MACAddress(rawValue: 0) }

    /// Whether the address names a group; broadcast is one.
    @inlinable public var isMulticast: Bool { bits & 1 != 0 }

    /// Whether the address names every station.
    @inlinable public var isBroadcast: Bool { bits == Self.mask }

    /// Whether the address was assigned locally instead of by a manufacturer.
    @inlinable public var isLocal: Bool { bits & 2 != 0 }

    /// Whether a station may send from this address: neither a group nor all zero.
    @inlinable public var isUnicastStation: Bool { bits & 1 == 0 && bits != 0 }

    /// One octet, counted from 0 in the order in which they are written.
    @inlinable
    public subscript(octet: Int) -> UInt8 {
        precondition((0..<6).contains(octet), "a MAC address has octets 0 to 5")
        return UInt8(truncatingIfNeeded: bits &>> UInt64(truncatingIfNeeded: octet &* 8))
    }
}

extension MACAddress: LosslessStringConvertible {
    /// Parses six groups of one or two hexadecimal digits, all joined by colons or all by dashes.
    ///
    /// Anything else is nil: a wrong number of groups, mixed separators, spaces.
    public init?(_ text: String) {
        var value: UInt64 = 0
        var group: UInt64 = 0
        var digits = 0
        var groups = 0
        var separator: UInt8?
        for byte in text.utf8 {
            if let digit = Self.hexadecimalValue(byte) {
                guard digits < 2 else { return nil }
                group = group << 4 | digit
                digits += 1
            } else {
                let joins = byte == UInt8(ascii: ":") || byte == UInt8(ascii: "-")
                guard joins, digits > 0, groups < 5, separator ?? byte == byte else { return nil }
                separator = byte
                value |= group << (8 * UInt64(groups))
                groups += 1
                (group, digits) = (0, 0)
            }
        }
        guard groups == 5, digits > 0 else { return nil }
        self.init(rawValue: value | group << 40)
    }

    private static func hexadecimalValue(_ byte: UInt8) -> UInt64? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(byte - UInt8(ascii: "a")) + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(byte - UInt8(ascii: "A")) + 10
        default: nil
        }
    }

    /// The address as six lower-case groups joined by colons.
    public var description: String {
        var text = ""
        for octet in 0..<6 {
            let digits = String(self[octet], radix: 16)
            text += (octet == 0 ? "" : ":") + (digits.utf8.count == 1 ? "0" : "") + digits
        }
        return text
    }
}
