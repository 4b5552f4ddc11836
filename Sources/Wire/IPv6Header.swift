// IPv6 (RFC 8200) with its chain of extension headers, which stands between a switch and the
// transport header and is as long as a hostile sender likes.

/// An IPv6 header and what follows it up to the transport header.
///
/// The initialiser checks everything that is read; afterwards it is only integers. The payload
/// length is reported, not believed: the span may hold only the beginning of a frame.
public struct IPv6Header: Sendable, BitwiseCopyable {
    /// The length of the fixed header.
    @inlinable public static var length: Int { 40 }

    /// How many extension headers are followed before giving up.
    @inlinable public static var maximumExtensions: Int { 8 }

    /// Where in the span the header begins.
    public let offset: Int

    /// Differentiated services and congestion notification.
    public let trafficClass: UInt8

    /// The flow label, 20 bits.
    public let flowLabel: UInt32

    /// Length of everything after the fixed header, as the sender claims it.
    public let payloadLength: UInt16

    /// The type of what follows the fixed header: an extension header or the transport protocol.
    public let nextHeader: IPProtocol

    /// How many more routers may forward the packet.
    public let hopLimit: UInt8

    /// Who sent the packet.
    public let source: IPv6Address

    /// Whom the packet is for, or the next hop of a source route.
    public let destination: IPv6Address

    /// The last protocol that the chain of headers names: the transport protocol if all went well.
    public let transportProtocol: IPProtocol

    /// Where the transport header begins.
    ///
    /// Nil in a later fragment, where the chain leaves the span or is too long to follow, and where
    /// nothing follows. Never beyond the end of the span.
    public let transportOffset: Int?

    /// Whether there is a fragment header.
    public let isFragment: Bool

    /// Where this fragment's payload lies in the whole, in bytes.
    public let fragmentOffset: Int

    /// Whether a routing header names further hops, so that `destination` is not the final one.
    public let isSourceRouted: Bool

    /// Reads the header at `offset`, or fails: not version 6, or it does not fit the span.
    ///
    /// A damaged chain of extension headers is not a failure; there is just no `transportOffset`.
    @inlinable
    public init?(_ frame: borrowing Span<UInt8>, at offset: Int) {
        guard frame.holds(Self.length, at: offset) else { return nil }
        let first = frame.bigEndian32(offset)
        guard first &>> 28 == 6 else { return nil }
        self.offset = offset
        trafficClass = UInt8(truncatingIfNeeded: first &>> 20)
        flowLabel = first & 0x000f_ffff
        payloadLength = frame.bigEndian16(offset &+ 4)
        nextHeader = IPProtocol(rawValue: frame[offset &+ 6])
        hopLimit = frame[offset &+ 7]
        source = IPv6Address(
            high: frame.bigEndian64(offset &+ 8),
            low: frame.bigEndian64(offset &+ 16)
        )
        destination = IPv6Address(
            high: frame.bigEndian64(offset &+ 24),
            low: frame.bigEndian64(offset &+ 32)
        )
        var chain = IPv6ExtensionChain(first: nextHeader.rawValue, at: offset &+ Self.length)
        chain.follow(frame)
        transportProtocol = IPProtocol(rawValue: chain.next)
        transportOffset = chain.isComplete ? chain.offset : nil
        isFragment = chain.isFragment
        fragmentOffset = chain.fragmentOffset
        isSourceRouted = chain.isSourceRouted
    }
}

/// A walk along extension headers, bounded in bytes by the span and in steps by a constant.
@usableFromInline
struct IPv6ExtensionChain: BitwiseCopyable {
    @usableFromInline var next: UInt8
    @usableFromInline var offset: Int
    @usableFromInline var isComplete: Bool
    @usableFromInline var isFragment: Bool
    @usableFromInline var fragmentOffset: Int
    @usableFromInline var isSourceRouted: Bool

    @inlinable
    init(first: UInt8, at offset: Int) {
        next = first
        self.offset = offset
        // Here, not at the declarations: an initial value there cannot be inlined elsewhere.
        (isComplete, isFragment, isSourceRouted) = (false, false, false)
        fragmentOffset = 0
    }

    @inlinable
    mutating func follow(_ frame: borrowing Span<UInt8>) {
        for _ in 0...IPv6Header.maximumExtensions {
            let length: Int
            switch next {
            case 0, 43, 60, 135, 139, 140:
                // Hop-by-hop, routing, destination options, mobility, HIP, Shim6: units of eight
                // bytes, the first not counted.
                guard frame.holds(8, at: offset) else { return }
                length = Int(frame[offset &+ 1]) &* 8 &+ 8
                if next == 43, frame[offset &+ 3] > 0 { isSourceRouted = true }
            case 51:
                // Authentication: units of four bytes, the first two not counted.
                guard frame.holds(8, at: offset) else { return }
                length = Int(frame[offset &+ 1]) &* 4 &+ 8
            case 44:
                guard frame.holds(8, at: offset) else { return }
                length = 8
                isFragment = true
                fragmentOffset = Int(frame.bigEndian16(offset &+ 2) & 0xfff8)
            case 59:
                return
            default:
                isComplete = true
                return
            }
            guard frame.holds(length, at: offset) else { return }
            next = frame[offset]
            offset &+= length
            // What follows in a later fragment is the middle of something.
            if fragmentOffset > 0 { return }
        }
    }
}
