// UDP (RFC 768), as far as segmentation and people need it.

/// A UDP header.
///
/// The initialiser checks everything that is read; afterwards it is only integers.
public struct UDPHeader: Sendable, BitwiseCopyable {
    /// The length of the header.
    @inlinable public static var length: Int { 8 }

    /// Where in the span the header begins.
    public let offset: Int

    /// The sender's port.
    public let sourcePort: UInt16

    /// The receiver's port.
    public let destinationPort: UInt16

    /// Length of header and data, as the sender claims it.
    public let datagramLength: UInt16

    /// The checksum field, as the sender left it; 0 means none (IPv4 only).
    public let checksum: UInt16

    /// Reads the header at `offset`, or fails where it does not fit the span.
    @inlinable
    public init?(_ frame: borrowing Span<UInt8>, at offset: Int) {
        guard frame.holds(Self.length, at: offset) else { return nil }
        self.offset = offset
        sourcePort = frame.bigEndian16(offset)
        destinationPort = frame.bigEndian16(offset &+ 2)
        datagramLength = frame.bigEndian16(offset &+ 4)
        checksum = frame.bigEndian16(offset &+ 6)
    }

    /// Where the data begins.
    @inlinable public var payloadOffset: Int { offset &+ Self.length }
}
