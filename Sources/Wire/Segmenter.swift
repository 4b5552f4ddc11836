// A frame of up to 64 kB that a guest left to be cut, meets a receiver that cannot take it whole.
// Here is decided, once per such frame, how it is cut; `Segmenter+Emit.swift` writes the headers.

/// The plan by which one large frame becomes several.
///
/// Only headers pass through here. The payload is named by its place in the original frame, because
/// it lies in several pieces of somebody's memory and is copied, and summed, from there. Use:
///
///     let plan = try Segmenter(header, frameLength: n, offload: virtio, identification: id)
///     for k in 0..<plan.count {
///         var sum = Checksum()
///         // add the bytes of plan.summedRange(of: k), piece by piece
///         plan.writeHeader(k, of: header, into: &target, payloadSum: sum)
///         // copy plan.payloadRange(of: k) behind it
///     }
///
/// TCP (TSO) and UDP (USO) segments repeat the original headers with the changes due; a datagram to
/// be fragmented (UFO) becomes IP fragments, of which only the first has a UDP header.
public struct Segmenter: Sendable, BitwiseCopyable {
    /// The most segments that one frame may become.
    ///
    /// Enough to cut 64 kB into pieces of 64 bytes. Hosts use 536 and up; who asks for segments of
    /// one byte wants to multiply work.
    @inlinable public static var maximumSegments: Int { 1024 }

    /// The longest frame: two VLAN tags, an IPv6 header and the longest payload it can describe.
    @inlinable public static var maximumFrameLength: Int { 14 + 8 + 40 + 65535 }

    /// How many of a frame's first bytes always suffice, but for excesses of extension headers.
    @inlinable public static var headerWindow: Int { 256 }

    // Neither: UDP, cut into datagrams. (Flags, not an enum: its `==` could not be inlined.)
    @usableFromInline let isTCP: Bool
    @usableFromInline let isFragments: Bool

    @usableFromInline let isIPv6: Bool
    @usableFromInline let hasECN: Bool
    @usableFromInline let l3Offset: Int
    @usableFromInline let l4Offset: Int

    /// End of the original headers, which is where the payload begins.
    @usableFromInline let payloadOffset: Int

    /// Payload bytes per segment; for fragments IP payload, the UDP header included.
    @usableFromInline let unit: Int

    /// The length of the original frame.
    public let frameLength: Int

    /// How many segments the frame becomes; at least 1.
    public let count: Int

    // What all segments' checksums have in common is summed once, here.
    @usableFromInline let ipSum: Checksum
    @usableFromInline let networkSum: Checksum
    @usableFromInline let transportSum: Checksum

    @usableFromInline let identification: UInt32
    @usableFromInline let fragmentField: UInt16
    @usableFromInline let sequence: UInt32
    @usableFromInline let controlField: UInt16

    /// Plans how to cut a frame, or says why that cannot be done.
    ///
    /// - Parameters:
    ///   - header: A private copy of the frame's first bytes, `headerWindow` of them if it has them.
    ///   - frameLength: The length of the whole frame.
    ///   - offload: The frame's virtio-net header. Its `hdrLen` is not looked at.
    ///   - identification: For IPv6 fragments, a number that differs from that of other datagrams
    ///     of late; any counter will do. IPv4 has its own in the header.
    /// - Throws: What is wrong with the request. The frame is to be dropped and counted.
    @inlinable
    public init(
        _ header: borrowing Span<UInt8>,
        frameLength: Int,
        offload: VirtioNetHeader,
        identification: UInt32
    ) throws(OffloadFlaw) {
        guard frameLength <= Self.maximumFrameLength else { throw .frameTooLong }
        let requested: VirtioNetHeader.Segmentation
        switch offload.check(frameLength: frameLength) {
        case .malformed(let flaw): throw flaw
        case .segmentation(let kind): requested = kind
        // Nobody should ask; the answer for a frame without segmentation is that it has no type.
        case .none, .checksum: throw .unknownSegmentationType
        }
        let network = try NetworkLayer(header)
        let isTCP: Bool
        switch requested {
        case .tcpv4:
            guard !network.isIPv6 else { throw .wrongProtocol }
            isTCP = true
        case .tcpv6:
            guard network.isIPv6 else { throw .wrongProtocol }
            isTCP = true
        case .none, .udp, .udpL4: isTCP = false
        }
        guard network.transportProtocol == (isTCP ? .tcp : .udp) else { throw .wrongProtocol }
        guard Int(offload.csumStart) == network.l4Offset, offload.csumOffset == (isTCP ? 16 : 6)
        else { throw .checksumStartMismatch }

        let transport = try TransportLayer(header, at: network.l4Offset, isTCP: isTCP)
        let payload = frameLength - transport.payloadOffset
        guard payload >= 0 else { throw .headersIncomplete }

        // A datagram that fits is not touched: an only fragment is legal, but many drop it (RFC 8021).
        var isFragments = if case .udp = requested { true } else { false }
        if payload + UDPHeader.length <= Int(offload.gsoSize) { isFragments = false }
        if isFragments, network.hasExtensions { throw .extensionHeaders }

        // Fragment offsets count in eights, so all fragments but the last are a multiple of that.
        let unit = isFragments ? Int(offload.gsoSize & ~7) : Int(offload.gsoSize)
        guard unit > 0 else { throw .segmentSizeTooSmall }
        let divided = isFragments ? payload + UDPHeader.length : payload
        let count = max((divided + unit - 1) / unit, 1)
        guard count <= Self.maximumSegments else { throw .tooManySegments }

        // The first segment is the longest. IPv4 counts its own header, IPv6 does not.
        let fixed = network.isIPv6 ? IPv6Header.length : 0
        let start = isFragments ? network.l4Offset : transport.payloadOffset
        let extra = isFragments && network.isIPv6 ? Self.fragmentHeaderLength : 0
        let longest = start - network.l3Offset - fixed + extra + min(unit, divided)
        guard longest <= 0xffff, !isFragments || divided <= 0xffff else {
            throw .segmentSizeTooLarge
        }

        self.isTCP = isTCP
        self.isFragments = isFragments
        self.frameLength = frameLength
        self.count = count
        self.unit = unit
        isIPv6 = network.isIPv6
        hasECN = offload.hasECN
        l3Offset = network.l3Offset
        l4Offset = network.l4Offset
        payloadOffset = transport.payloadOffset
        ipSum = network.headerSum
        networkSum = network.pseudoSum
        var sum = network.pseudoSum
        sum.append(transport.headerSum)
        transportSum = sum
        self.identification = network.isIPv6 ? identification : network.identification
        fragmentField = network.fragmentField
        sequence = transport.sequence
        controlField = transport.controlField
    }

    @inlinable static var fragmentHeaderLength: Int { 8 }
}
