// What planning takes from the headers of the large frame: where they are, and the part of each
// checksum that is the same in all segments.

/// The network header of a frame that is to be segmented.
@usableFromInline
struct NetworkLayer: BitwiseCopyable {
    @usableFromInline let isIPv6: Bool
    @usableFromInline let l3Offset: Int
    @usableFromInline let l4Offset: Int
    @usableFromInline let transportProtocol: IPProtocol

    /// Whether anything stands between an IPv6 header and the transport header.
    @usableFromInline let hasExtensions: Bool

    /// IPv4 only.
    @usableFromInline let identification: UInt32

    /// IPv4 only.
    @usableFromInline let fragmentField: UInt16

    /// The IPv4 header without length, identification, fragment field and checksum.
    @usableFromInline let headerSum: Checksum

    /// The pseudo header without length.
    @usableFromInline let pseudoSum: Checksum

    @inlinable
    init(_ frame: borrowing Span<UInt8>) throws(OffloadFlaw) {
        guard let ethernet = EthernetHeader(frame) else { throw .headersIncomplete }
        let offset = ethernet.payloadOffset
        var sum = Checksum()
        if ethernet.etherType == .ipv4 {
            guard let ip = IPv4Header(frame, at: offset) else { throw .headersIncomplete }
            guard !ip.isFragment else { throw .alreadyFragmented }
            guard !ip.isSourceRouted else { throw .sourceRouted }
            isIPv6 = false
            l4Offset = ip.payloadOffset
            transportProtocol = ip.transportProtocol
            hasExtensions = false
            identification = UInt32(ip.identification)
            fragmentField = ip.fragmentField
            sum.add(frame, in: offset..<offset + 2)
            sum.add(frame, in: offset + 8..<offset + 10)
            sum.add(frame, in: offset + 12..<ip.payloadOffset)
            pseudoSum = Checksum(
                source: ip.source,
                destination: ip.destination,
                protocol: ip.transportProtocol,
                length: 0
            )
        } else if ethernet.etherType == .ipv6 {
            guard let ip = IPv6Header(frame, at: offset) else { throw .headersIncomplete }
            guard !ip.isFragment else { throw .alreadyFragmented }
            guard !ip.isSourceRouted else { throw .sourceRouted }
            guard let transport = ip.transportOffset else { throw .headersIncomplete }
            isIPv6 = true
            l4Offset = transport
            transportProtocol = ip.transportProtocol
            hasExtensions = transport != offset + IPv6Header.length
            identification = 0
            fragmentField = 0
            pseudoSum = Checksum(
                source: ip.source,
                destination: ip.destination,
                protocol: ip.transportProtocol,
                length: 0
            )
        } else {
            throw .wrongProtocol
        }
        l3Offset = offset
        headerSum = sum
    }
}

/// The transport header of a frame that is to be segmented.
@usableFromInline
struct TransportLayer: BitwiseCopyable {
    @usableFromInline let payloadOffset: Int

    /// TCP only.
    @usableFromInline let sequence: UInt32

    /// TCP only: data offset, reserved bits and flags.
    @usableFromInline let controlField: UInt16

    /// TCP without sequence number, control field and checksum; of UDP only the ports.
    @usableFromInline let headerSum: Checksum

    @inlinable
    init(_ frame: borrowing Span<UInt8>, at offset: Int, isTCP: Bool) throws(OffloadFlaw) {
        var sum = Checksum()
        sum.add(frame, in: offset..<offset + 4)
        if isTCP {
            guard let tcp = TCPHeader(frame, at: offset) else { throw .headersIncomplete }
            payloadOffset = tcp.payloadOffset
            sequence = tcp.sequence
            controlField = frame.bigEndian16(offset + 12)
            sum.add(frame, in: offset + 8..<offset + 12)
            sum.add(frame, in: offset + 14..<offset + 16)
            sum.add(frame, in: offset + 18..<tcp.payloadOffset)
        } else {
            guard let udp = UDPHeader(frame, at: offset) else { throw .headersIncomplete }
            payloadOffset = udp.payloadOffset
            sequence = 0
            controlField = 0
        }
        headerSum = sum
    }
}
