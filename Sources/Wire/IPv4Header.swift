// IPv4 (RFC 791), as far as a switch must understand it: to find the transport header, to segment
// and to tell people what passed.

/// An IPv4 header.
///
/// The initialiser checks everything that is read; afterwards it is only integers. The total length
/// is reported, not believed: the span may hold only the beginning of a frame.
public struct IPv4Header: Sendable, BitwiseCopyable {
    /// Where in the span the header begins.
    public let offset: Int

    /// The header's length with its options: 20 to 60.
    public let headerLength: Int

    /// Differentiated services and congestion notification.
    public let typeOfService: UInt8

    /// Length of header and payload, as the sender claims it.
    public let totalLength: UInt16

    /// What the fragments of one packet have in common.
    public let identification: UInt16

    /// Flags (3 bits) and fragment offset in units of eight bytes (13 bits).
    public let fragmentField: UInt16

    /// How many more routers may forward the packet.
    public let timeToLive: UInt8

    /// The protocol of the payload.
    public let transportProtocol: IPProtocol

    /// The header checksum, as the sender claims it.
    public let checksum: UInt16

    /// Who sent the packet.
    public let source: IPv4Address

    /// Whom the packet is for, or the next hop of a source route.
    public let destination: IPv4Address

    /// Whether an option names further hops, so that `destination` is not the final one.
    public let isSourceRouted: Bool

    /// Reads the header at `offset`, or fails: not version 4, or it does not fit the span.
    @inlinable
    public init?(_ frame: borrowing Span<UInt8>, at offset: Int) {
        guard frame.holds(20, at: offset) else { return nil }
        let first = frame[offset]
        let length = Int(first & 15) &* 4
        guard first &>> 4 == 4, length >= 20 else { return nil }
        guard frame.holds(length, at: offset) else { return nil }
        self.offset = offset
        headerLength = length
        typeOfService = frame[offset &+ 1]
        totalLength = frame.bigEndian16(offset &+ 2)
        identification = frame.bigEndian16(offset &+ 4)
        fragmentField = frame.bigEndian16(offset &+ 6)
        timeToLive = frame[offset &+ 8]
        transportProtocol = IPProtocol(rawValue: frame[offset &+ 9])
        checksum = frame.bigEndian16(offset &+ 10)
        source = IPv4Address(rawValue: frame.bigEndian32(offset &+ 12))
        destination = IPv4Address(rawValue: frame.bigEndian32(offset &+ 16))

        // Options are kind, length, data; 0 ends them, 1 is padding. Every round advances.
        var routed = false
        var at = offset &+ 20
        let end = offset &+ length
        while at < end {
            let kind = frame[at]
            if kind == 0 { break }
            if kind == 1 {
                at &+= 1
                continue
            }
            if kind == 131 || kind == 137 { routed = true }
            guard at &+ 1 < end else { break }
            at &+= max(Int(frame[at &+ 1]), 2)
        }
        isSourceRouted = routed
    }

    /// Where the transport header begins, even where this is a later fragment.
    @inlinable public var payloadOffset: Int { offset &+ headerLength }

    /// Where the transport header begins, or nil in a later fragment.
    @inlinable public var transportOffset: Int? { fragmentOffset == 0 ? payloadOffset : nil }

    /// Where this fragment's payload lies in the whole, in bytes.
    @inlinable public var fragmentOffset: Int { Int(fragmentField & 0x1fff) &* 8 }

    /// Whether more fragments follow this one.
    @inlinable public var hasMoreFragments: Bool { fragmentField & 0x2000 != 0 }

    /// Whether this is one of several fragments.
    @inlinable public var isFragment: Bool { fragmentField & 0x3fff != 0 }

    /// Whether routers must not fragment the packet.
    @inlinable public var doesNotFragment: Bool { fragmentField & 0x4000 != 0 }
}
