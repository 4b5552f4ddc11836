// The fast sum against a naive one: every length and alignment, odd pieces, other people's frames.

import Testing
import Wire

@Suite("The checksum")
struct ChecksumTests {
    @Test("agrees with the example of RFC 1071")
    func example() {
        let bytes: [UInt8] = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]
        var sum = Checksum()
        sum.add(bytes.span)
        #expect(sum.folded() == 0xddf2)
        #expect(sum.finish() == 0x220d)
    }

    @Test("agrees with the naive sum for every length up to 300 at every alignment")
    func lengths() {
        var random = Seeded(state: 1)
        let bytes = random.bytes(320)
        for start in 0..<9 {
            for length in 0...300 {
                var sum = Checksum()
                sum.add(bytes.span, in: start..<start + length)
                #expect(sum.folded() == naiveSum(Array(bytes[start..<start + length])))
            }
        }
    }

    @Test("does not depend on where the pieces end", arguments: 0..<200)
    func pieces(seed: Int) {
        var random = Seeded(state: UInt64(seed))
        let bytes = random.bytes(Int.random(in: 0...4000, using: &random))
        var sum = Checksum()
        var at = 0
        while at < bytes.count {
            let end = min(at + Int.random(in: 0...97, using: &random), bytes.count)
            switch Int.random(in: 0..<4, using: &random) {
            case 0:
                let piece = Array(bytes[at..<end])
                sum.add(piece.span)
            case 1: sum.add(bytes.span, in: at..<end)
            case 2:
                let piece = Array(bytes[at..<end])
                // The safety of `bytes` of a span of integers is not in question.
                unsafe sum.add(piece.span.bytes)
            default:
                var other = Checksum()
                other.add(bytes.span, in: at..<end)
                sum.append(other)
            }
            at = end
        }
        #expect(sum.folded() == naiveSum(bytes), "seed \(seed)")
    }

    @Test("carries at the extremes")
    func extremes() {
        for length in [1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 65535] {
            for byte in [UInt8(0), 1, 0xfe, 0xff] {
                let bytes = [UInt8](repeating: byte, count: length)
                var sum = Checksum()
                sum.add(bytes.span)
                #expect(sum.folded() == naiveSum(bytes), "\(length) bytes of \(byte)")
            }
        }
    }

    @Test("adds fields as their bytes, at odd offsets too")
    func fields() {
        for prefix in 0..<3 {
            let start = [UInt8](repeating: 0xa5, count: prefix)
            var sum = Checksum()
            sum.add(start.span)
            sum.add(0x1234 as UInt16)
            sum.add(0x5678_9abc as UInt32)
            sum.add(0xdef0_1122_3344_5566 as UInt64)
            let bytes = start + hex("1234 56789abc def0112233445566")
            #expect(sum.folded() == naiveSum(bytes))
        }
    }

    @Test("clamps ranges to the span")
    func clamping() {
        let bytes: [UInt8] = [1, 2, 3, 4]
        var all = Checksum()
        all.add(bytes.span)
        var clamped = Checksum()
        clamped.add(bytes.span, in: -5..<100)
        #expect(clamped.folded() == all.folded())
        var nothing = Checksum()
        nothing.add(bytes.span, in: 7..<9)
        nothing.add(bytes.span, in: -9 ..< -3)
        #expect(nothing.folded() == 0)
    }

    @Test("verifies frames of another implementation")
    func vectors() throws {
        let frame = Sample.tcp4
        let tcp = try #require(IPv4Header(in: frame, at: 14))
        var header = Checksum()
        header.add(frame.span, in: 14..<34)
        #expect(header.finish() == 0)
        var segment = Checksum(
            source: tcp.source,
            destination: tcp.destination,
            protocol: .tcp,
            length: Int(tcp.totalLength) - 20
        )
        segment.add(frame.span, in: 34..<frame.count)
        #expect(segment.finish() == 0)

        let other = Sample.udp6
        let udp = try #require(IPv6Header(in: other, at: 22))
        let offset = try #require(udp.transportOffset)
        var datagram = Checksum(
            source: udp.source,
            destination: udp.destination,
            protocol: .udp,
            length: other.count - offset
        )
        datagram.add(other.span, in: offset..<other.count)
        #expect(datagram.finish() == 0)
    }

    @Test("never says 'none' for UDP")
    func zero() {
        var sum = Checksum()
        sum.add(0xffff as UInt16)
        #expect(sum.finish() == 0)
        #expect(sum.finishUDP() == 0xffff)
        #expect(Checksum().finish() == 0xffff)
    }
}
