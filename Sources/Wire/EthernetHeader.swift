// The link layer: what a switch looks at in every frame, and the VLAN tags that may follow.

/// The protocol of an Ethernet payload.
public struct EtherType: RawRepresentable, Sendable, Hashable, BitwiseCopyable {
    /// The number as IEEE assigns it.
    public let rawValue: UInt16

    /// Takes any number, known here or not.
    @inlinable
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    /// Internet Protocol, version 4.
    @inlinable public static var ipv4: EtherType { EtherType(rawValue: 0x0800) }
    /// Address Resolution Protocol.
    @inlinable public static var arp: EtherType { EtherType(rawValue: 0x0806) }
    /// Reverse ARP; what a hypervisor sends to announce a guest after migration.
    @inlinable public static var rarp: EtherType { EtherType(rawValue: 0x8035) }
    /// An IEEE 802.1Q customer tag.
    @inlinable public static var vlan: EtherType { EtherType(rawValue: 0x8100) }
    /// Internet Protocol, version 6.
    @inlinable public static var ipv6: EtherType { EtherType(rawValue: 0x86dd) }
    /// An IEEE 802.1ad service tag.
    @inlinable public static var serviceVLAN: EtherType { EtherType(rawValue: 0x88a8) }
    /// Link Layer Discovery Protocol.
    @inlinable public static var lldp: EtherType { EtherType(rawValue: 0x88cc) }

    /// Whether a VLAN tag and another EtherType follow.
    @inlinable public var isTag: Bool { rawValue == 0x8100 || rawValue == 0x88a8 }

    /// Whether this is not a type but the length of an IEEE 802.3 frame, such as a spanning tree's.
    @inlinable public var isLength: Bool { rawValue < 0x0600 }
}

/// An IEEE 802.1Q or 802.1ad tag.
public struct VLANTag: Sendable, Hashable, BitwiseCopyable {
    /// The tag's own EtherType: `.vlan` or `.serviceVLAN`.
    public let type: EtherType

    /// Priority (3 bits), drop eligibility (1 bit) and identifier (12 bits).
    public let control: UInt16

    /// Makes a tag from its two 16-bit fields.
    @inlinable
    public init(type: EtherType, control: UInt16) {
        self.type = type
        self.control = control
    }

    /// The VLAN, 0 to 4095; 0 means that only the priority counts.
    @inlinable public var identifier: UInt16 { control & 0x0fff }

    /// The priority code point, 0 to 7.
    @inlinable public var priority: UInt8 { UInt8(truncatingIfNeeded: control &>> 13) }

    /// Whether the frame is to be dropped first under congestion.
    @inlinable public var isDropEligible: Bool { control & 0x1000 != 0 }
}

/// The two addresses of a frame: all that forwarding needs.
public struct EthernetAddresses: Sendable, BitwiseCopyable {
    /// Whom the frame is for.
    public let destination: MACAddress

    /// Who sent the frame.
    public let source: MACAddress

    /// Reads the addresses, or fails on a frame shorter than an Ethernet header.
    @inlinable
    public init?(_ frame: borrowing Span<UInt8>) {
        guard frame.count >= EthernetHeader.length else { return nil }
        destination = MACAddress(rawValue: frame.littleEndian48(0))
        source = MACAddress(rawValue: frame.littleEndian48(6))
    }
}

/// An Ethernet header with up to two VLAN tags.
///
/// The initialiser checks everything that is read; afterwards it is only integers.
public struct EthernetHeader: Sendable, BitwiseCopyable {
    /// The length of a header without tags.
    @inlinable public static var length: Int { 14 }

    /// Whom the frame is for.
    public let destination: MACAddress

    /// Who sent the frame.
    public let source: MACAddress

    /// The first tag, if there is one.
    public let outerTag: VLANTag?

    /// The second tag, if there are two.
    public let innerTag: VLANTag?

    /// The type of the payload, behind any tags; a third tag counts as payload.
    public let etherType: EtherType

    /// Where the payload begins: at 14, 18 or 22, and never beyond the end of the span.
    public let payloadOffset: Int

    /// Reads the header, or fails on a frame that ends within it or within a tag.
    @inlinable
    public init?(_ frame: borrowing Span<UInt8>) {
        guard let addresses = EthernetAddresses(frame) else { return nil }
        destination = addresses.destination
        source = addresses.source
        var type = EtherType(rawValue: frame.bigEndian16(12))
        var offset = 14
        var tags: (VLANTag?, VLANTag?) = (nil, nil)
        if type.isTag {
            guard frame.count >= 18 else { return nil }
            tags.0 = VLANTag(type: type, control: frame.bigEndian16(14))
            type = EtherType(rawValue: frame.bigEndian16(16))
            offset = 18
            if type.isTag {
                guard frame.count >= 22 else { return nil }
                tags.1 = VLANTag(type: type, control: frame.bigEndian16(18))
                type = EtherType(rawValue: frame.bigEndian16(20))
                offset = 22
            }
        }
        (outerTag, innerTag) = tags
        etherType = type
        payloadOffset = offset
    }
}
