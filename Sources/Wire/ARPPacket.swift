// ARP and RARP (RFC 826, RFC 903) for IPv4 over Ethernet: read for people, written to announce a
// guest that has moved.

/// An ARP or RARP packet for IPv4 over Ethernet.
public struct ARPPacket: Sendable, BitwiseCopyable {
    /// The length of the packet without its Ethernet header.
    @inlinable public static var length: Int { 28 }

    /// The length of a whole frame with one: the least that Ethernet allows, without its trailer.
    @inlinable public static var frameLength: Int { 60 }

    /// 1 asks, 2 answers, 3 and 4 likewise for RARP.
    public var operation: UInt16

    /// The sender's hardware address.
    public var senderMAC: MACAddress

    /// The sender's protocol address.
    public var senderIP: IPv4Address

    /// The target's hardware address.
    public var targetMAC: MACAddress

    /// The target's protocol address.
    public var targetIP: IPv4Address

    /// Makes a packet from its fields.
    @inlinable
    public init(
        operation: UInt16,
        senderMAC: MACAddress,
        senderIP: IPv4Address,
        targetMAC: MACAddress,
        targetIP: IPv4Address
    ) {
        self.operation = operation
        self.senderMAC = senderMAC
        self.senderIP = senderIP
        self.targetMAC = targetMAC
        self.targetIP = targetIP
    }

    /// Reads a packet, or fails: too short, or not for IPv4 over Ethernet.
    @inlinable
    public init?(_ frame: borrowing Span<UInt8>, at offset: Int) {
        guard frame.holds(Self.length, at: offset) else { return nil }
        let spaces = frame.bigEndian32(offset)
        let lengths = frame.bigEndian16(offset &+ 4)
        guard spaces == 0x0001_0800, lengths == 0x0604 else { return nil }
        operation = frame.bigEndian16(offset &+ 6)
        senderMAC = MACAddress(rawValue: frame.littleEndian48(offset &+ 8))
        senderIP = IPv4Address(rawValue: frame.bigEndian32(offset &+ 14))
        targetMAC = MACAddress(rawValue: frame.littleEndian48(offset &+ 18))
        targetIP = IPv4Address(rawValue: frame.bigEndian32(offset &+ 24))
    }

    /// Writes a complete frame of `frameLength` bytes, padded with zeros.
    @inlinable
    public func write(
        to destination: MACAddress,
        from source: MACAddress,
        etherType: EtherType = .arp,
        into frame: inout MutableSpan<UInt8>
    ) {
        precondition(frame.count >= Self.frameLength, "an ARP frame takes 60 bytes")
        frame.store(destination, at: 0)
        frame.store(source, at: 6)
        frame.storeBigEndian(etherType.rawValue, at: 12)
        frame.storeBigEndian(0x0001_0800 as UInt32, at: 14)
        frame.storeBigEndian(0x0604 as UInt16, at: 18)
        frame.storeBigEndian(operation, at: 20)
        frame.store(senderMAC, at: 22)
        frame.storeBigEndian(senderIP.rawValue, at: 28)
        frame.store(targetMAC, at: 32)
        frame.storeBigEndian(targetIP.rawValue, at: 38)
        for i in 42..<Self.frameLength { frame[i] = 0 }
    }
}

/// The frame by which a switch announces a station that cannot do so itself.
///
/// A reverse ARP request, broadcast, with the station's address as sender and target and no protocol
/// addresses: what hypervisors send after a migration, so that every switch on the way learns anew.
public struct RARPFrame: Sendable, BitwiseCopyable {
    /// The station that is announced.
    public let station: MACAddress

    /// Prepares the announcement of a station.
    @inlinable
    public init(_ station: MACAddress) {
        self.station = station
    }

    /// The length of the frame.
    @inlinable public static var length: Int { ARPPacket.frameLength }

    /// Writes the frame into the first 60 bytes of a span.
    @inlinable
    public func write(into frame: inout MutableSpan<UInt8>) {
        let packet = ARPPacket(
            operation: 3,
            senderMAC: station,
            senderIP: IPv4Address(rawValue: 0),
            targetMAC: station,
            targetIP: IPv4Address(rawValue: 0)
        )
        packet.write(to: .broadcast, from: station, etherType: .rarp, into: &frame)
    }

    /// The frame's bytes.
    @inlinable public var bytes: [60 of UInt8] {
        var bytes = [60 of UInt8](repeating: 0)
        var span = bytes.mutableSpan
        write(into: &span)
        return bytes
    }
}
