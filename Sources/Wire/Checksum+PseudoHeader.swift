// TCP and UDP checksums also cover addresses, protocol and length, so that a packet delivered to the
// wrong host does not verify (RFC 9293 section 3.1, RFC 8200 section 8.1).

extension Checksum {
    /// Starts a sum with the pseudo header of a transport segment over IPv4.
    ///
    /// - Parameters:
    ///   - source: The packet's source.
    ///   - destination: The packet's final destination.
    ///   - protocol: The transport protocol.
    ///   - length: Length of transport header and data.
    @inlinable
    public init(
        source: IPv4Address,
        destination: IPv4Address,
        protocol: IPProtocol,
        length: Int
    ) {
        self.init()
        add(source.rawValue)
        add(destination.rawValue)
        add(UInt16(`protocol`.rawValue))
        add(UInt32(truncatingIfNeeded: length))
    }

    /// Starts a sum with the pseudo header of a transport segment over IPv6.
    ///
    /// - Parameters:
    ///   - source: The packet's source.
    ///   - destination: The packet's final destination.
    ///   - protocol: The transport protocol, not that of an extension header.
    ///   - length: Length of transport header and data, without extension headers.
    @inlinable
    public init(
        source: IPv6Address,
        destination: IPv6Address,
        protocol: IPProtocol,
        length: Int
    ) {
        self.init()
        add(source.high)
        add(source.low)
        add(destination.high)
        add(destination.low)
        add(UInt16(`protocol`.rawValue))
        add(UInt32(truncatingIfNeeded: length))
    }
}
