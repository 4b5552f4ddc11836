// One line about a frame for people: logs, the monitor, the demo. Never called per frame by the data
// plane; it allocates.

/// A short description of a frame, such as `IPv4 TCP 10.0.0.1:5001 > 10.0.0.2:80 [S] len 0`.
public struct FrameSummary: Sendable, CustomStringConvertible {
    /// The line.
    public let description: String

    /// Describes a frame.
    ///
    /// - Parameters:
    ///   - frame: The frame, or the beginning of it. Anything at all may be in it.
    ///   - length: The frame's whole length, where the span holds only its beginning.
    public init(_ frame: borrowing Span<UInt8>, length: Int? = nil) {
        let length = length ?? frame.count
        guard let ethernet = EthernetHeader(frame) else {
            description = "truncated frame, length \(length)"
            return
        }
        var prefix = ""
        for case let tag? in [ethernet.outerTag, ethernet.innerTag] {
            prefix += "vlan \(tag.identifier) "
        }
        let offset = ethernet.payloadOffset
        let text: String
        switch ethernet.etherType {
        case .arp, .rarp:
            text = Self.arp(frame, at: offset, isReverse: ethernet.etherType == .rarp)
        case .ipv4:
            text = Self.ipv4(frame, at: offset, length: length)
        case .ipv6:
            text = Self.ipv6(frame, at: offset, length: length)
        case .lldp:
            text = "LLDP from \(ethernet.source)"
        case let type:
            let kind =
                type.isLength ? "802.3" : "ethertype 0x" + String(type.rawValue, radix: 16)
            text = "\(kind) \(ethernet.source) > \(ethernet.destination), length \(length)"
        }
        description = prefix + text
    }

    private static func arp(
        _ frame: borrowing Span<UInt8>,
        at offset: Int,
        isReverse: Bool
    ) -> String {
        let name = isReverse ? "RARP" : "ARP"
        guard let packet = ARPPacket(frame, at: offset) else { return "\(name), damaged" }
        return switch packet.operation {
        case 1: "\(name) who-has \(packet.targetIP) tell \(packet.senderIP)"
        case 2: "\(name) \(packet.senderIP) is-at \(packet.senderMAC)"
        case 3: "\(name) who-is \(packet.targetMAC) tell \(packet.senderMAC)"
        case 4: "\(name) \(packet.targetMAC) at \(packet.targetIP)"
        case let operation: "\(name) operation \(operation)"
        }
    }

    private static func ipv4(
        _ frame: borrowing Span<UInt8>,
        at offset: Int,
        length: Int
    ) -> String {
        guard let ip = IPv4Header(frame, at: offset) else { return "IPv4, damaged" }
        let ends = ("\(ip.source)", "\(ip.destination)")
        guard let transport = ip.transportOffset else {
            return "IPv4 \(ends.0) > \(ends.1) fragment at \(ip.fragmentOffset)"
        }
        // What lies behind the packet is Ethernet's padding, not data.
        let end = min(length, offset + Int(ip.totalLength))
        let text = Self.transport(frame, ip.transportProtocol, at: transport, end: end, ends)
        return "IPv4 " + text + (ip.isFragment ? " first fragment" : "")
    }

    private static func ipv6(
        _ frame: borrowing Span<UInt8>,
        at offset: Int,
        length: Int
    ) -> String {
        guard let ip = IPv6Header(frame, at: offset) else { return "IPv6, damaged" }
        let ends = ("\(ip.source)", "\(ip.destination)")
        guard let transport = ip.transportOffset else {
            let what = ip.fragmentOffset > 0 ? "fragment at \(ip.fragmentOffset)" : "no transport"
            return "IPv6 \(ends.0) > \(ends.1) \(what)"
        }
        let end = min(length, offset + IPv6Header.length + Int(ip.payloadLength))
        let brackets = ("[\(ends.0)]", "[\(ends.1)]")
        let isPorted = ip.transportProtocol == .tcp || ip.transportProtocol == .udp
        let text = Self.transport(
            frame,
            ip.transportProtocol,
            at: transport,
            end: end,
            isPorted ? brackets : ends
        )
        return "IPv6 " + text + (ip.isFragment ? " first fragment" : "")
    }

    private static func transport(
        _ frame: borrowing Span<UInt8>,
        _ kind: IPProtocol,
        at offset: Int,
        end: Int,
        _ ends: (String, String)
    ) -> String {
        switch kind {
        case .tcp:
            guard let tcp = TCPHeader(frame, at: offset) else { break }
            let from = "\(ends.0):\(tcp.sourcePort)"
            let to = "\(ends.1):\(tcp.destinationPort)"
            let data = max(end - tcp.payloadOffset, 0)
            return "TCP \(from) > \(to) [\(letters(tcp.flags))] len \(data)"
        case .udp:
            guard let udp = UDPHeader(frame, at: offset) else { break }
            let from = "\(ends.0):\(udp.sourcePort)"
            let to = "\(ends.1):\(udp.destinationPort)"
            return "UDP \(from) > \(to) len \(max(end - udp.payloadOffset, 0))"
        case .icmp, .icmpv6:
            guard offset < frame.count else { break }
            return "\(icmp(kind, type: frame[offset])) \(ends.0) > \(ends.1)"
        default: break
        }
        return "protocol \(kind.rawValue) \(ends.0) > \(ends.1)"
    }

    private static func icmp(_ kind: IPProtocol, type: UInt8) -> String {
        switch (kind, type) {
        case (.icmp, 8), (.icmpv6, 128): "ICMP echo request"
        case (.icmp, 0), (.icmpv6, 129): "ICMP echo reply"
        case (.icmp, 3), (.icmpv6, 1): "ICMP unreachable"
        case (.icmpv6, 133): "ICMP router solicitation"
        case (.icmpv6, 134): "ICMP router advertisement"
        case (.icmpv6, 135): "ICMP neighbor solicitation"
        case (.icmpv6, 136): "ICMP neighbor advertisement"
        default: "ICMP type \(type)"
        }
    }

    /// The flags as tcpdump writes them.
    private static func letters(_ flags: TCPHeader.Flags) -> String {
        let names: [(TCPHeader.Flags, String)] = [
            (.fin, "F"), (.syn, "S"), (.rst, "R"), (.psh, "P"), (.ack, "."), (.urg, "U"),
            (.ece, "E"), (.cwr, "W"),
        ]
        let text = names.filter { flags.contains($0.0) }.map(\.1).joined()
        return text.isEmpty ? "none" : text
    }
}
