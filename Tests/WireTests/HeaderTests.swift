// Headers against frames of another implementation, whole, cut off everywhere, and random.

import Testing
import Wire

@Suite("Headers")
struct HeaderTests {
    @Test("of a TCP segment over IPv4 are read")
    func tcp4() throws {
        let frame = Sample.tcp4
        let ethernet = try #require(EthernetHeader(in: frame))
        #expect(ethernet.etherType == .ipv4 && ethernet.payloadOffset == 14)
        #expect(ethernet.outerTag == nil && ethernet.innerTag == nil)
        #expect(ethernet.source.description == "52:54:00:12:34:56")
        let ip = try #require(IPv4Header(in: frame, at: 14))
        #expect(ip.headerLength == 20 && ip.totalLength == 65 && ip.identification == 0x1234)
        #expect(ip.doesNotFragment && !ip.isFragment && !ip.hasMoreFragments)
        #expect(ip.timeToLive == 64 && ip.transportProtocol == .tcp && ip.checksum == 0x1481)
        #expect(ip.source == IPv4Address(10, 0, 0, 1))
        #expect(ip.destination.description == "10.0.0.2")
        let tcp = try #require(TCPHeader(in: frame, at: ip.payloadOffset))
        #expect(tcp.sourcePort == 5001 && tcp.destinationPort == 80)
        #expect(tcp.sequence == 0x0102_0304 && tcp.acknowledgement == 0x0a0b_0c0d)
        #expect(tcp.flags == [.psh, .ack] && tcp.window == 502 && tcp.headerLength == 32)
        #expect(tcp.payloadOffset == 66 && tcp.checksum == 0xd169)
    }

    @Test("of a datagram behind two VLAN tags and two extension headers are read")
    func udp6() throws {
        let frame = Sample.udp6
        let ethernet = try #require(EthernetHeader(in: frame))
        #expect(ethernet.outerTag == VLANTag(type: .serviceVLAN, control: 100))
        let inner = try #require(ethernet.innerTag)
        #expect(inner.identifier == 7 && inner.priority == 5 && !inner.isDropEligible)
        #expect(ethernet.etherType == .ipv6 && ethernet.payloadOffset == 22)
        let ip = try #require(IPv6Header(in: frame, at: 22))
        #expect(ip.hopLimit == 64 && ip.payloadLength == 27 && ip.nextHeader.rawValue == 0)
        #expect(ip.transportProtocol == .udp && ip.transportOffset == 78)
        #expect(!ip.isFragment && !ip.isSourceRouted)
        #expect(ip.source.description == "2001:db8::1")
        #expect(ip.destination.description == "fe80::1:0:0:2")
        let udp = try #require(UDPHeader(in: frame, at: 78))
        #expect(udp.sourcePort == 53 && udp.destinationPort == 5353)
        #expect(udp.datagramLength == 11 && udp.checksum == 0xeb17 && udp.payloadOffset == 86)
    }

    @Test("show fragments and source routes")
    func special() throws {
        #expect(IPv4Header(in: Sample.sourceRouted, at: 14)?.isSourceRouted == true)
        #expect(IPv4Header(in: Sample.icmp, at: 14)?.isSourceRouted == false)
        var frame = Sample.tcp4
        frame[20] = 0x20
        let first = try #require(IPv4Header(in: frame, at: 14))
        #expect(first.isFragment && first.hasMoreFragments && first.transportOffset == 34)
        frame[21] = 3
        let later = try #require(IPv4Header(in: frame, at: 14))
        #expect(later.fragmentOffset == 24 && later.transportOffset == nil)

        var fragment = [UInt8](repeating: 0, count: 40) + hex("1100 0018 00000001")
        (fragment[0], fragment[6]) = (0x60, 44)
        let ip = try #require(IPv6Header(in: fragment, at: 0))
        #expect(ip.isFragment && ip.fragmentOffset == 24 && ip.transportOffset == nil)
        #expect(ip.transportProtocol == .udp)

        var routed = [UInt8](repeating: 0, count: 40) + hex("0600 0001 00000000")
        (routed[0], routed[6]) = (0x60, 43)
        #expect(IPv6Header(in: routed, at: 0)?.isSourceRouted == true)
    }

    @Test("of version 6 are followed for eight extensions and not for nine")
    func chains() {
        func frame(_ extensions: Int) -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: 40)
            (bytes[0], bytes[6]) = (0x60, 60)
            for i in 1...extensions {
                bytes += [i == extensions ? 17 : 60, 0, 0, 0, 0, 0, 0, 0]
            }
            return bytes
        }
        #expect(IPv6Header(in: frame(8), at: 0)?.transportOffset == 104)
        #expect(IPv6Header(in: frame(9), at: 0)?.transportOffset == nil)
    }

    @Test("cut off anywhere or placed anywhere are nil and never a trap")
    func truncation() {
        for sample in Sample.all {
            for length in 0...sample.count {
                let frame = Array(sample[..<length])
                _ = FrameSummary(in: frame)
                let ethernet = EthernetHeader(in: frame)
                #expect((EthernetAddresses(in: frame) != nil) == (length >= 14))
                if let ethernet { #expect(ethernet.payloadOffset <= length) }
                for offset in Array(0...length + 1) + [-1, -40, Int.max, Int.min, Int.max - 20] {
                    if let ip = IPv4Header(in: frame, at: offset) {
                        #expect(ip.payloadOffset <= length)
                    }
                    if let ip = IPv6Header(in: frame, at: offset) {
                        #expect(ip.transportOffset ?? 0 <= length)
                    }
                    if let tcp = TCPHeader(in: frame, at: offset) {
                        #expect(tcp.payloadOffset <= length)
                    }
                    #expect((UDPHeader(in: frame, at: offset) != nil) == fits(8, offset, length))
                    _ = ARPPacket(in: frame, at: offset)
                }
            }
        }
        #expect(IPv4Header(in: Sample.tcp4, at: 14) != nil)
        #expect(IPv4Header(in: Array(Sample.tcp4[..<33]), at: 14) == nil)
        #expect(TCPHeader(in: Array(Sample.tcp4[..<65]), at: 34) == nil)
        #expect(IPv6Header(in: Array(Sample.udp6[..<77]), at: 22)?.transportOffset == nil)
        #expect(IPv6Header(in: Array(Sample.udp6[..<61]), at: 22) == nil)
        #expect(EthernetHeader(in: Array(Sample.udp6[..<21])) == nil)
    }

    private func fits(_ size: Int, _ offset: Int, _ length: Int) -> Bool {
        offset >= 0 && offset <= length && size <= length - offset
    }

    @Test("of random bytes never trap", arguments: 0..<20)
    func noise(seed: Int) {
        var random = Seeded(state: UInt64(seed))
        for _ in 0..<500 {
            var frame = random.bytes(Int.random(in: 0...120, using: &random))
            if frame.count > 14 {
                let types: [[UInt8]] = [[8, 0], [0x86, 0xdd], [8, 6], [0x81, 0], [0x88, 0xa8]]
                frame.replaceSubrange(12..<14, with: types[Int(frame[12] % 5)])
                frame[14] = frame[14] & 15 | (frame[12] == 8 ? 0x40 : 0x60)
            }
            #expect(!FrameSummary(in: frame).description.isEmpty, "seed \(seed)")
        }
    }

    @Test(
        "print IPv6 addresses as RFC 5952 says",
        arguments: [
            ("00000000000000000000000000000000", "::"),
            ("00000000000000000000000000000001", "::1"),
            ("20010db8000000000001000000000001", "2001:db8::1:0:0:1"),
            ("20010db8000100010001000100010001", "2001:db8:1:1:1:1:1:1"),
            ("20010db8000000010001000100010001", "2001:db8:0:1:1:1:1:1"),
            ("fe800000000000000000000000000000", "fe80::"),
        ]
    )
    func addresses(digits: String, expected: String) {
        let bytes = hex(digits)
        func half(_ at: Int) -> UInt64 {
            UInt64(long(bytes, at)) << 32 | UInt64(long(bytes, at + 4))
        }
        #expect(IPv6Address(high: half(0), low: half(8)).description == expected)
    }
}

@Suite("ARP")
struct ARPTests {
    @Test("requests are read")
    func reading() throws {
        let packet = try #require(ARPPacket(in: Sample.arp, at: 14))
        #expect(packet.operation == 1 && packet.senderMAC.description == "52:54:00:12:34:56")
        #expect(packet.senderIP == IPv4Address(10, 0, 0, 1) && packet.targetMAC == .zero)
        #expect(packet.targetIP == IPv4Address(10, 0, 0, 2))
    }

    @Test("announcements are RARP frames, byte for byte those of another implementation")
    func announcing() throws {
        let station = try #require(MACAddress("52:54:00:12:34:56"))
        let frame = RARPFrame(station).bytes
        #expect((0..<60).map { frame[$0] } == Sample.rarp)
    }

    @Test("frames are written over whatever was there, and not beyond")
    func writing() {
        var buffer = [UInt8](repeating: 0xee, count: 64)
        var span = buffer.mutableSpan
        RARPFrame(MACAddress(0x52, 0x54, 0, 0x12, 0x34, 0x56)).write(into: &span)
        #expect(buffer == Sample.rarp + [0xee, 0xee, 0xee, 0xee])
    }
}

@Suite("A frame's summary")
struct FrameSummaryTests {
    @Test("says what a person wants to know")
    func samples() {
        let expected = [
            "IPv4 TCP 10.0.0.1:5001 > 10.0.0.2:80 [P.] len 13",
            "vlan 100 vlan 7 IPv6 UDP [2001:db8::1]:53 > [fe80::1:0:0:2]:5353 len 3",
            "ARP who-has 10.0.0.2 tell 10.0.0.1",
            "IPv4 ICMP echo request 192.168.1.1 > 192.168.1.254",
            "RARP who-is 52:54:00:12:34:56 tell 52:54:00:12:34:56",
            "IPv4 TCP 10.0.0.1:20 > 10.0.0.2:80 [S] len 0",
        ]
        #expect(Sample.all.map { FrameSummary(in: $0).description } == expected)
    }

    @Test("works on the beginning of a frame")
    func beginning() {
        let start = Array(Sample.tcp4[..<66])
        let text = FrameSummary(in: start, length: Sample.tcp4.count).description
        #expect(text == "IPv4 TCP 10.0.0.1:5001 > 10.0.0.2:80 [P.] len 13")
        let other = [UInt8](repeating: 0x11, count: 20)
        #expect(
            FrameSummary(in: other).description
                == "ethertype 0x1111 11:11:11:11:11:11 > 11:11:11:11:11:11, length 20"
        )
    }
}
