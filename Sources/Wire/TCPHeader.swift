// TCP (RFC 9293), as far as segmentation and people need it.

/// A TCP header.
///
/// The initialiser checks everything that is read; afterwards it is only integers.
public struct TCPHeader: Sendable, BitwiseCopyable {
    /// The control bits, as they lie in the header's fourteenth byte.
    public struct Flags: OptionSet, Sendable, Hashable, BitwiseCopyable {
        /// The byte.
        public let rawValue: UInt8

        /// Takes any combination.
        @inlinable
        public init(rawValue: UInt8) {
            self.rawValue = rawValue
        }

        /// No more data from the sender.
        @inlinable public static var fin: Flags { Flags(rawValue: 0x01) }
        /// Synchronise sequence numbers.
        @inlinable public static var syn: Flags { Flags(rawValue: 0x02) }
        /// Reset the connection.
        @inlinable public static var rst: Flags { Flags(rawValue: 0x04) }
        /// Push the data to the application.
        @inlinable public static var psh: Flags { Flags(rawValue: 0x08) }
        /// The acknowledgement field counts.
        @inlinable public static var ack: Flags { Flags(rawValue: 0x10) }
        /// The urgent pointer counts.
        @inlinable public static var urg: Flags { Flags(rawValue: 0x20) }
        /// Congestion was experienced (RFC 3168).
        @inlinable public static var ece: Flags { Flags(rawValue: 0x40) }
        /// The congestion window was reduced (RFC 3168).
        @inlinable public static var cwr: Flags { Flags(rawValue: 0x80) }
    }

    /// Where in the span the header begins.
    public let offset: Int

    /// The header's length with its options: 20 to 60.
    public let headerLength: Int

    /// The sender's port.
    public let sourcePort: UInt16

    /// The receiver's port.
    public let destinationPort: UInt16

    /// The number of the first byte of data.
    public let sequence: UInt32

    /// The number of the byte that the sender expects next.
    public let acknowledgement: UInt32

    /// The control bits.
    public let flags: Flags

    /// How many bytes the sender can take, before scaling.
    public let window: UInt16

    /// The checksum field, as the sender left it.
    public let checksum: UInt16

    /// Reads the header at `offset`, or fails where it does not fit the span.
    @inlinable
    public init?(_ frame: borrowing Span<UInt8>, at offset: Int) {
        guard frame.holds(20, at: offset) else { return nil }
        let length = Int(frame[offset &+ 12] &>> 4) &* 4
        guard length >= 20, frame.holds(length, at: offset) else { return nil }
        self.offset = offset
        headerLength = length
        sourcePort = frame.bigEndian16(offset)
        destinationPort = frame.bigEndian16(offset &+ 2)
        sequence = frame.bigEndian32(offset &+ 4)
        acknowledgement = frame.bigEndian32(offset &+ 8)
        flags = Flags(rawValue: frame[offset &+ 13])
        window = frame.bigEndian16(offset &+ 14)
        checksum = frame.bigEndian16(offset &+ 16)
    }

    /// Where the data begins.
    @inlinable public var payloadOffset: Int { offset &+ headerLength }
}
