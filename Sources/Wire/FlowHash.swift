// Which conversation a frame belongs to, as a number: what spreads flows and keeps each of them together.

/// A number that all frames of a conversation have, in both directions.
///
/// IP: both addresses and the protocol, with both ports where the packet is whole, so that all fragments of
/// a packet have one number. Anything else: both MAC addresses.
public struct FlowHash: Sendable, Hashable, BitwiseCopyable {
    /// The number.
    public let value: UInt32

    /// Whether it was made of IP addresses.
    public let isIP: Bool

    /// Looks at a frame, or at the beginning of one; anything at all may be in it.
    @inlinable
    public init(_ frame: borrowing Span<UInt8>) {
        guard let ethernet = EthernetHeader(frame) else {
            value = 0
            isIP = false
            return
        }
        let at = ethernet.payloadOffset
        if ethernet.etherType == .ipv4, let ip = IPv4Header(frame, at: at) {
            let ports =
                ip.isFragment ? 0 : Self.ports(frame, ip.transportProtocol, ip.payloadOffset)
            let low = min(ip.source.rawValue, ip.destination.rawValue)
            let high = max(ip.source.rawValue, ip.destination.rawValue)
            let ends = UInt64(high) &<< 32 | UInt64(low)
            value = Self.finish(Self.mix(ends), ports, ip.transportProtocol)
            isIP = true
        } else if ethernet.etherType == .ipv6, let ip = IPv6Header(frame, at: at) {
            var ports: UInt32 = 0
            if !ip.isFragment, let transport = ip.transportOffset {
                ports = Self.ports(frame, ip.transportProtocol, transport)
            }
            let ends =
                Self.mix(ip.source.high &+ Self.mix(ip.source.low))
                &+ Self.mix(ip.destination.high &+ Self.mix(ip.destination.low))
            value = Self.finish(Self.mix(ends), ports, ip.transportProtocol)
            isIP = true
        } else {
            let ends = Self.mix(ethernet.source.rawValue) &+ Self.mix(ethernet.destination.rawValue)
            value = Self.finish(Self.mix(ends), 0, IPProtocol(rawValue: 0))
            isIP = false
        }
    }

    /// Which of `count` places the conversation has.
    @inlinable public func place(of count: Int) -> Int {
        Int(truncatingIfNeeded: (UInt64(value) &* UInt64(truncatingIfNeeded: count)) &>> 32)
    }

    /// The ports, the smaller one first; 0 where there are none.
    @inlinable
    static func ports(_ frame: borrowing Span<UInt8>, _ kind: IPProtocol, _ at: Int) -> UInt32 {
        switch kind.rawValue {
        case 6, 17, 33, 132, 136: break  // TCP, UDP, DCCP, SCTP, UDP-Lite
        default: return 0
        }
        guard frame.holds(4, at: at) else { return 0 }
        let one = frame.bigEndian16(at)
        let other = frame.bigEndian16(at &+ 2)
        return UInt32(min(one, other)) &<< 16 | UInt32(max(one, other))
    }

    @inlinable
    static func finish(_ ends: UInt64, _ ports: UInt32, _ kind: IPProtocol) -> UInt32 {
        let all = mix(ends ^ (UInt64(ports) &<< 8 | UInt64(kind.rawValue)))
        return UInt32(truncatingIfNeeded: all &>> 32)
    }

    /// Every bit of the argument changes about half of the result's (SplitMix64's last steps).
    @inlinable
    static func mix(_ word: UInt64) -> UInt64 {
        var z = word &+ 0x9e37_79b9_7f4a_7c15
        z = (z ^ z &>> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z &>> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z &>> 31
    }
}
