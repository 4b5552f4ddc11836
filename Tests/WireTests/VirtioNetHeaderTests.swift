// The header in front of a frame: its bytes, what is refused, and completing a checksum.

import Testing
import Wire

@Suite("The virtio-net header")
struct VirtioNetHeaderTests {
    static let bytes = hex("01 81 4200 a805 2200 1000 0300")

    @Test("is read and written in both lengths")
    func coding() throws {
        let header = try #require(VirtioNetHeader(in: Self.bytes))
        #expect(header.needsChecksum && header.segmentation == .tcpv4 && header.hasECN)
        #expect(header.hdrLen == 0x42 && header.gsoSize == 1448 && header.csumStart == 34)
        #expect(header.csumOffset == 16 && header.numBuffers == 3)
        #expect(header.checksumPosition == 50)
        let short = try #require(VirtioNetHeader(in: Self.bytes, length: 10))
        #expect(short.numBuffers == 0 && short.csumOffset == 16)

        var full = [UInt8](repeating: 0xee, count: 14)
        var span = full.mutableSpan
        header.encode(into: &span)
        #expect(full == Self.bytes + [0xee, 0xee])
        var ten = [UInt8](repeating: 0xee, count: 12)
        var shortSpan = ten.mutableSpan
        header.encode(into: &shortSpan, length: 10)
        #expect(ten == Array(Self.bytes[..<10]) + [0xee, 0xee])
    }

    @Test("is nil in fewer bytes than its length")
    func truncation() {
        for length in 0..<12 {
            let bytes = Array(Self.bytes[..<length])
            #expect(VirtioNetHeader(in: bytes) == nil)
            #expect((VirtioNetHeader(in: bytes, length: 10) != nil) == (length >= 10))
            #expect(VirtioNetHeader(in: bytes, length: length) == nil || length >= 10)
        }
    }

    typealias Case = (VirtioNetHeader, Int, VirtioNetHeader.Offload)

    @Test("is checked against the frame's length")
    func checking() {
        let cases: [Case] = [
            (VirtioNetHeader(), 0, .none),
            (VirtioNetHeader(flags: 2), 60, .none),
            (VirtioNetHeader(flags: 0xfe, csumStart: 9999), 60, .none),
            (VirtioNetHeader(flags: 1, csumStart: 34, csumOffset: 16), 52, .checksum),
            (
                VirtioNetHeader(flags: 1, csumStart: 34, csumOffset: 16), 51,
                .malformed(.checksumOutsideFrame)
            ),
            (
                VirtioNetHeader(flags: 1, csumStart: 0xffff, csumOffset: 0xffff), 65536,
                .malformed(.checksumOutsideFrame)
            ),
            (VirtioNetHeader(flags: 0xf9, csumStart: 0, csumOffset: 0), 2, .checksum),
            (
                VirtioNetHeader(flags: 1, gsoType: 1, hdrLen: 0xffff, gsoSize: 1, csumStart: 34),
                60, .segmentation(.tcpv4)
            ),
            (
                VirtioNetHeader(flags: 1, gsoType: 0x84, gsoSize: 1, csumStart: 34), 60,
                .segmentation(.tcpv6)
            ),
            (
                VirtioNetHeader(flags: 1, gsoType: 5, gsoSize: 1, csumStart: 34), 60,
                .segmentation(.udpL4)
            ),
            (
                VirtioNetHeader(flags: 1, gsoType: 3, gsoSize: 1, csumStart: 34), 60,
                .segmentation(.udp)
            ),
            (
                VirtioNetHeader(flags: 1, gsoType: 1, csumStart: 34), 60,
                .malformed(.segmentSizeTooSmall)
            ),
            (
                VirtioNetHeader(gsoType: 1, gsoSize: 1448), 60,
                .malformed(.segmentationWithoutChecksum)
            ),
            (
                VirtioNetHeader(flags: 1, gsoType: 0x80, gsoSize: 1448), 60,
                .malformed(.unknownSegmentationType)
            ),
        ]
        for (header, length, expected) in cases {
            #expect(header.check(frameLength: length) == expected)
        }
        for type in UInt8.min...UInt8.max {
            let header = VirtioNetHeader(flags: 1, gsoType: type, gsoSize: 1)
            let isKnown = [0, 1, 3, 4, 5, 0x81, 0x84].contains(type)
            let isMalformed =
                header.check(frameLength: 60) == .malformed(.unknownSegmentationType)
            #expect(isMalformed == !isKnown, "gso_type \(type)")
        }
    }

    @Test("completes a TCP checksum of which the frame has the pseudo header's sum")
    func completing() throws {
        var frame = Sample.tcp4
        let ip = try #require(IPv4Header(in: frame, at: 14))
        let pseudo = Checksum(
            source: ip.source,
            destination: ip.destination,
            protocol: .tcp,
            length: frame.count - 34
        )
        frame.replaceSubrange(50..<52, with: bigEndian(Int(pseudo.folded())))
        let header = VirtioNetHeader(flags: 1, csumStart: 34, csumOffset: 16)
        #expect(header.check(frameLength: frame.count) == .checksum)
        var sum = Checksum()
        sum.add(frame.span, in: 34..<frame.count)
        #expect(header.checksumField(for: sum) == 0xd169)
        var span = frame.mutableSpan
        header.storeChecksum(for: sum, into: &span)
        #expect(frame == Sample.tcp4)
    }

    @Test("stores 0xffff for a UDP checksum of 0, and only for UDP")
    func zero() {
        var sum = Checksum()
        sum.add(0xffff as UInt16)
        #expect(VirtioNetHeader(flags: 1, csumOffset: 6).checksumField(for: sum) == 0xffff)
        #expect(VirtioNetHeader(flags: 1, csumOffset: 16).checksumField(for: sum) == 0)
    }

    @Test("follows a VLAN tag that is pushed or popped")
    func shifting() {
        let header = VirtioNetHeader(flags: 1, csumStart: 34, csumOffset: 16)
        #expect(header.shifted(by: 4)?.csumStart == 38)
        #expect(header.shifted(by: 4)?.shifted(by: -4) == header)
        #expect(header.shifted(by: -35) == nil)
        #expect(VirtioNetHeader(flags: 1, csumStart: 0xffff).shifted(by: 4) == nil)
        #expect(VirtioNetHeader().shifted(by: -4) == VirtioNetHeader())
    }

    @Test("says in words what is wrong")
    func words() {
        let texts = Set(OffloadFlaw.allCases.map(\.description))
        #expect(texts.count == OffloadFlaw.allCases.count)
        #expect(OffloadFlaw.allCases.filter(\.isUnsupported) == [.sourceRouted, .extensionHeaders])
    }
}
