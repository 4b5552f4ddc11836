// Large frames made at random, and a slow receiver that believes nothing about the segments that
// come out: it parses, verifies every checksum, and puts the payload together again.

import Testing

@testable import Wire

/// A frame that needs segmentation, and what is known about it.
struct LargeFrame: CustomStringConvertible {
    var bytes: [UInt8]
    var offload: VirtioNetHeader
    var kind: VirtioNetHeader.Segmentation
    var isIPv6: Bool
    var l3: Int
    var l4: Int
    var payloadStart: Int

    var payload: [UInt8] { Array(bytes[payloadStart...]) }

    var description: String {
        "\(kind) IPv\(isIPv6 ? 6 : 4) l3 \(l3) l4 \(l4) payload \(payload.count) by \(offload.gsoSize)"
    }

    init(
        _ kind: VirtioNetHeader.Segmentation,
        isIPv6: Bool,
        payload: Int,
        gsoSize: Int,
        extensions: Bool = true,
        ecn: Bool = false,
        using random: inout Seeded
    ) {
        let isTCP = kind == .tcpv4 || kind == .tcpv6
        self.kind = kind
        self.isIPv6 = isIPv6
        bytes = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]
        for _ in 0..<Int.random(in: 0...2, using: &random) {
            bytes += [0x81, 0x00] + random.bytes(2)
        }
        bytes += isIPv6 ? [0x86, 0xdd] : [8, 0]
        l3 = bytes.count
        let transport: UInt8 = isTCP ? 6 : 17
        if isIPv6 {
            var chain: [UInt8] = []
            let count = extensions ? Int.random(in: 0...2, using: &random) : 0
            for i in 0..<count {
                let units = Int.random(in: 0...2, using: &random)
                let next = i == count - 1 ? transport : 60
                chain += [next, UInt8(units)] + random.bytes(6 + 8 * units)
            }
            bytes += [0x60] + random.bytes(5) + [count == 0 ? transport : 60] + random.bytes(33)
            bytes += chain
        } else {
            let options = Int.random(in: 0...10, using: &random)
            // Wrong length, wrong checksum: nobody may rely on them.
            bytes += [0x45 + UInt8(options)] + random.bytes(5)
            bytes += [UInt8.random(in: 0...1, using: &random) << 6, 0, 64, transport]
            bytes += random.bytes(10) + [UInt8](repeating: 1, count: 4 * options)
        }
        l4 = bytes.count
        if isTCP {
            let options = Int.random(in: 0...10, using: &random)
            bytes += random.bytes(12) + [UInt8(5 + options) << 4] + random.bytes(7 + 4 * options)
        } else {
            bytes += random.bytes(8)
        }
        payloadStart = bytes.count
        bytes += random.bytes(payload)
        offload = VirtioNetHeader(
            flags: 1,
            gsoType: kind.rawValue | (ecn ? VirtioNetHeader.ecn : 0),
            hdrLen: UInt16.random(in: 0...0xffff, using: &random),
            gsoSize: UInt16(gsoSize),
            csumStart: UInt16(l4),
            csumOffset: isTCP ? 16 : 6
        )
    }

    /// Segments the frame as the data plane would, the payload in pieces of random size.
    func segments(using random: inout Seeded, identification: UInt32 = 7) throws -> [[UInt8]] {
        let header = Array(bytes.prefix(Segmenter.headerWindow))
        let plan = try Segmenter(
            header.span,
            frameLength: bytes.count,
            offload: offload,
            identification: identification
        )
        var result: [[UInt8]] = []
        for k in 0..<plan.count {
            var sum = Checksum()
            var rest = plan.summedRange(of: k)
            while !rest.isEmpty {
                let size = min(Int.random(in: 1...700, using: &random), rest.count)
                let piece = Array(bytes[rest.prefix(size)])
                sum.add(piece.span)
                rest = rest.dropFirst(size)
            }
            var target = [UInt8](repeating: 0xcc, count: plan.headerLength(of: k))
            var span = target.mutableSpan
            let written = plan.writeHeader(k, of: header.span, into: &span, payloadSum: sum)
            #expect(written == target.count)
            target += bytes[plan.payloadRange(of: k)]
            #expect(target.count == plan.segmentLength(k))
            #expect(target.count <= plan.longestSegment)
            result.append(target)
        }
        return result
    }

    /// The naive sum of pseudo header and transport bytes; 0xffff means that the checksum is right.
    func transportSum(_ header: [UInt8], _ transport: [UInt8]) -> UInt16 {
        let addresses = Array(isIPv6 ? header[8..<40] : header[12..<20])
        let kind: UInt8 = self.kind == .tcpv4 || self.kind == .tcpv6 ? 6 : 17
        return naiveSum(addresses + [0, kind] + bigEndian(transport.count) + transport)
    }
}

/// Checks what all segments have in common: layout, lengths, and the IPv4 header's checksum.
func verifyNetwork(_ segment: [UInt8], _ frame: LargeFrame) {
    #expect(segment[..<frame.l3] == frame.bytes[..<frame.l3])
    if frame.isIPv6 {
        #expect(word(segment, frame.l3 + 4) == segment.count - frame.l3 - 40)
        #expect(segment[frame.l3..<frame.l3 + 4] == frame.bytes[frame.l3..<frame.l3 + 4])
        #expect(segment[frame.l3 + 7..<frame.l3 + 40] == frame.bytes[frame.l3 + 7..<frame.l3 + 40])
    } else {
        #expect(word(segment, frame.l3 + 2) == segment.count - frame.l3)
        #expect(naiveSum(Array(segment[frame.l3..<frame.l4])) == 0xffff)
        #expect(segment[frame.l3..<frame.l3 + 2] == frame.bytes[frame.l3..<frame.l3 + 2])
        #expect(segment[frame.l3 + 8..<frame.l3 + 10] == frame.bytes[frame.l3 + 8..<frame.l3 + 10])
        #expect(segment[frame.l3 + 12..<frame.l4] == frame.bytes[frame.l3 + 12..<frame.l4])
    }
}
