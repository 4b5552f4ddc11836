// Random large frames are cut, and a naive receiver must be able to put them together again.

import Testing

@testable import Wire

@Suite("Segmentation")
struct SegmenterTests {
    @Test("of TCP yields segments that a naive receiver reassembles", arguments: 0..<150)
    func tcp(seed: Int) throws {
        var random = Seeded(state: UInt64(seed))
        let isIPv6 = Bool.random(using: &random)
        let size = Int.random(in: 1...3000, using: &random)
        let limit = min(size * 1024, seed % 10 == 0 ? 65000 : 9000)
        let frame = LargeFrame(
            isIPv6 ? .tcpv6 : .tcpv4,
            isIPv6: isIPv6,
            payload: Int.random(in: 0...limit, using: &random),
            gsoSize: size,
            ecn: Bool.random(using: &random),
            using: &random
        )
        let segments = try frame.segments(using: &random)
        let note = Comment(rawValue: "seed \(seed), \(frame)")
        var payload: [UInt8] = []
        for (k, segment) in segments.enumerated() {
            verifyNetwork(segment, frame)
            if !isIPv6 {
                let identifier = (word(frame.bytes, frame.l3 + 4) + k) & 0xffff
                #expect(word(segment, frame.l3 + 4) == identifier, note)
                #expect(segment[frame.l3 + 6] == frame.bytes[frame.l3 + 6], note)
            } else {
                #expect(segment[frame.l3 + 6] == frame.bytes[frame.l3 + 6], note)
                let chain = frame.l3 + 40..<frame.l4
                #expect(segment[chain] == frame.bytes[chain], note)
            }
            let l3 = Array(segment[frame.l3...])
            #expect(frame.transportSum(l3, Array(segment[frame.l4...])) == 0xffff, note)
            let sequence = long(frame.bytes, frame.l4 + 4) &+ UInt32(payload.count)
            #expect(long(segment, frame.l4 + 4) == sequence, note)
            var flags = frame.bytes[frame.l4 + 13]
            if k < segments.count - 1 { flags &= ~0x09 }
            if k > 0, frame.offload.hasECN { flags &= ~0x80 }
            #expect(segment[frame.l4 + 13] == flags, note)
            for range in [0..<4, 8..<13, 14..<16, 18..<frame.payloadStart - frame.l4] {
                let here = range.lowerBound + frame.l4..<range.upperBound + frame.l4
                #expect(segment[here] == frame.bytes[here], note)
            }
            let part = segment[frame.payloadStart...]
            #expect(part.count == size || k == segments.count - 1, note)
            payload += part
        }
        #expect(payload == frame.payload, note)
    }

    @Test("of UDP into datagrams yields datagrams of one size", arguments: 0..<80)
    func datagrams(seed: Int) throws {
        var random = Seeded(state: UInt64(seed) + 1000)
        let size = Int.random(in: 1...2000, using: &random)
        let frame = LargeFrame(
            .udpL4,
            isIPv6: Bool.random(using: &random),
            payload: Int.random(in: 1...min(size * 1024, 20000), using: &random),
            gsoSize: size,
            using: &random
        )
        let note = Comment(rawValue: "seed \(seed), \(frame)")
        var payload: [UInt8] = []
        for segment in try frame.segments(using: &random) {
            verifyNetwork(segment, frame)
            let udp = Array(segment[frame.l4...])
            #expect(word(udp, 4) == udp.count, note)
            #expect(word(udp, 6) != 0, note)
            #expect(frame.transportSum(Array(segment[frame.l3...]), udp) == 0xffff, note)
            payload += udp[8...]
        }
        #expect(payload == frame.payload, note)
    }

    @Test("of UDP into fragments yields one datagram again", arguments: 0..<80)
    func fragments(seed: Int) throws {
        var random = Seeded(state: UInt64(seed) + 2000)
        let size = Int.random(in: 8...2000, using: &random)
        let limit = min(size * 512, seed % 8 == 0 ? 65000 : 9000)
        let frame = LargeFrame(
            .udp,
            isIPv6: Bool.random(using: &random),
            payload: Int.random(in: size...limit, using: &random),
            gsoSize: size,
            extensions: false,
            using: &random
        )
        let note = Comment(rawValue: "seed \(seed), \(frame)")
        let segments = try frame.segments(using: &random, identification: 0xdead_beef)
        var datagram: [UInt8] = []
        for (k, segment) in segments.enumerated() {
            verifyNetwork(segment, frame)
            let isLast = k == segments.count - 1
            if frame.isIPv6 {
                #expect(segment[frame.l3 + 6] == 44, note)
                #expect(Array(segment[frame.l4..<frame.l4 + 2]) == [17, 0], note)
                let field = word(segment, frame.l4 + 2)
                #expect(field == datagram.count | (isLast ? 0 : 1), note)
                #expect(long(segment, frame.l4 + 4) == 0xdead_beef, note)
                datagram += segment[(frame.l4 + 8)...]
            } else {
                #expect(word(segment, frame.l3 + 4) == word(frame.bytes, frame.l3 + 4), note)
                let field = word(segment, frame.l3 + 6)
                #expect(field == datagram.count / 8 | (isLast ? 0 : 0x2000), note)
                datagram += segment[frame.l4...]
            }
            #expect(isLast || datagram.count % 8 == 0, note)
        }
        #expect(word(datagram, 4) == datagram.count, note)
        #expect(frame.transportSum(Array(frame.bytes[frame.l3...]), datagram) == 0xffff, note)
        #expect(datagram[..<4] == frame.bytes[frame.l4..<frame.l4 + 4], note)
        #expect(Array(datagram[8...]) == frame.payload, note)
    }

    @Test("can leave the checksum of a segment to a receiver that computes it", arguments: 0..<40)
    func partial(seed: Int) throws {
        var random = Seeded(state: UInt64(seed) + 3000)
        let kinds: [(VirtioNetHeader.Segmentation, Bool)] = [
            (.tcpv4, false), (.tcpv6, true), (.udpL4, false), (.udpL4, true),
        ]
        let (kind, isIPv6) = kinds[seed % 4]
        let frame = LargeFrame(kind, isIPv6: isIPv6, payload: 5000, gsoSize: 1400, using: &random)
        let plan = try Segmenter(
            frame.bytes.span,
            frameLength: frame.bytes.count,
            offload: frame.offload,
            identification: 0
        )
        #expect(plan.allowsPartialChecksum && plan.count == 4)
        for k in 0..<plan.count {
            var segment = [UInt8](repeating: 0, count: plan.headerLength(of: k))
            var span = segment.mutableSpan
            plan.writeHeader(k, of: frame.bytes.span, into: &span, payloadSum: nil)
            segment += frame.bytes[plan.payloadRange(of: k)]
            let todo = VirtioNetHeader(
                flags: 1,
                csumStart: frame.offload.csumStart,
                csumOffset: frame.offload.csumOffset
            )
            #expect(todo.check(frameLength: segment.count) == .checksum)
            var sum = Checksum()
            sum.add(segment.span, in: frame.l4..<segment.count)
            var whole = segment.mutableSpan
            todo.storeChecksum(for: sum, into: &whole)
            let transport = Array(segment[frame.l4...])
            #expect(frame.transportSum(Array(segment[frame.l3...]), transport) == 0xffff)
        }
    }

    @Test("of a frame that fits one segment, or has no payload, is one segment")
    func single() throws {
        var random = Seeded(state: 5)
        for payload in [0, 1, 1448] {
            let frame = LargeFrame(
                .tcpv4,
                isIPv6: false,
                payload: payload,
                gsoSize: 1448,
                using: &random
            )
            let segments = try frame.segments(using: &random)
            #expect(segments.count == 1)
            #expect(segments.first?.count == frame.bytes.count)
        }
    }

    @Test("leaves a datagram whole that fits one fragment", arguments: [false, true])
    func whole(isIPv6: Bool) throws {
        var random = Seeded(state: 6)
        for payload in [0, 1, 1471, 1472] {
            let frame = LargeFrame(
                .udp,
                isIPv6: isIPv6,
                payload: payload,
                gsoSize: 1480,
                using: &random
            )
            let segments = try frame.segments(using: &random)
            #expect(segments.count == 1)
            let segment = try #require(segments.first)
            verifyNetwork(segment, frame)
            // May it be fragmented? As before. And nothing was inserted.
            let field = frame.l3 + 6..<frame.l3 + 8
            #expect(segment[field] == frame.bytes[field])
            #expect(segment.count == frame.bytes.count)
            let udp = Array(segment[frame.l4...])
            #expect(frame.transportSum(Array(segment[frame.l3...]), udp) == 0xffff)
        }
    }
}
