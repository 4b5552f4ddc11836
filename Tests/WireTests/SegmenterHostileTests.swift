// What a guest may write to make segmentation loop, read beyond the end, or multiply work.

import Testing

@testable import Wire

@Suite("Segmentation of hostile frames")
struct SegmenterHostileTests {
    /// The flaw that planning finds, or nil.
    private func flaw(
        _ bytes: [UInt8],
        _ offload: VirtioNetHeader,
        frameLength: Int? = nil
    ) -> OffloadFlaw? {
        do {
            let header = Array(bytes.prefix(Segmenter.headerWindow))
            _ = try Segmenter(
                header.span,
                frameLength: frameLength ?? bytes.count,
                offload: offload,
                identification: 0
            )
            return nil
        } catch {
            return error
        }
    }

    private func large(
        _ kind: VirtioNetHeader.Segmentation = .tcpv4,
        isIPv6: Bool = false,
        payload: Int = 4000,
        gsoSize: Int = 1000
    ) -> LargeFrame {
        var random = Seeded(state: 99)
        return LargeFrame(
            kind,
            isIPv6: isIPv6,
            payload: payload,
            gsoSize: gsoSize,
            extensions: false,
            using: &random
        )
    }

    @Test("names the flaw")
    func flaws() {
        let frame = large()
        #expect(flaw(frame.bytes, frame.offload) == nil)
        func changed(_ change: (inout VirtioNetHeader) -> Void) -> OffloadFlaw? {
            var offload = frame.offload
            change(&offload)
            return flaw(frame.bytes, offload)
        }
        #expect(changed { $0.gsoType = 4 } == .wrongProtocol)
        #expect(changed { $0.gsoType = 5 } == .wrongProtocol)
        #expect(changed { $0.gsoType = 3 } == .wrongProtocol)
        #expect(changed { $0.gsoType = 2 } == .unknownSegmentationType)
        #expect(changed { $0.gsoType = 0 } == .unknownSegmentationType)
        #expect(changed { $0.flags = 0 } == .segmentationWithoutChecksum)
        #expect(changed { $0.gsoSize = 0 } == .segmentSizeTooSmall)
        #expect(changed { $0.gsoSize = 3 } == .tooManySegments)
        #expect(changed { $0.gsoSize = 4 } == nil)
        #expect(changed { $0.gsoSize = 0xffff } == nil)
        #expect(changed { $0.csumStart += 1 } == .checksumStartMismatch)
        #expect(changed { $0.csumStart = 0 } == .checksumStartMismatch)
        #expect(changed { $0.csumOffset = 6 } == .checksumStartMismatch)
        #expect(changed { $0.csumStart = 60000 } == .checksumOutsideFrame)
    }

    @Test("names the flaw of a frame's own headers")
    func headerFlaws() {
        let frame = large()
        func changed(_ offset: Int, _ value: UInt8) -> OffloadFlaw? {
            var bytes = frame.bytes
            bytes[offset] = value
            return flaw(bytes, frame.offload)
        }
        #expect(changed(frame.l3 - 1, 6) == .wrongProtocol)
        #expect(changed(frame.l3, 0x65) == .headersIncomplete)
        #expect(changed(frame.l3, 0x44) == .headersIncomplete)
        #expect(changed(frame.l3 + 6, 0x20) == .alreadyFragmented)
        #expect(changed(frame.l3 + 7, 1) == .alreadyFragmented)
        #expect(changed(frame.l3 + 9, 17) == .wrongProtocol)
        #expect(changed(frame.l4 + 12, 0x40) == .headersIncomplete)
        let routed = VirtioNetHeader(
            flags: 1,
            gsoType: 1,
            gsoSize: 100,
            csumStart: 42,
            csumOffset: 16
        )
        #expect(flaw(Sample.sourceRouted, routed) == .sourceRouted)
    }

    @Test("refuses what IP cannot describe")
    func sizes() {
        let huge = large(.tcpv4, payload: 65500, gsoSize: 65500)
        #expect(flaw(huge.bytes, huge.offload) == .segmentSizeTooLarge)
        var offload = huge.offload
        offload.gsoSize = 1400
        #expect(flaw(huge.bytes, offload) == nil)
        #expect(flaw(huge.bytes, offload, frameLength: 65598) == .frameTooLong)
        #expect(flaw(huge.bytes, offload, frameLength: Int.max) == .frameTooLong)
        #expect(flaw(huge.bytes, offload, frameLength: -1) != nil)
        let datagram = large(.udp, payload: 65528, gsoSize: 1480)
        #expect(flaw(datagram.bytes, datagram.offload) == .segmentSizeTooLarge)
        let tiny = large(.udp, payload: 100, gsoSize: 7)
        #expect(flaw(tiny.bytes, tiny.offload) == .segmentSizeTooSmall)
        let six = large(.tcpv6, isIPv6: true, payload: 65475, gsoSize: 1400)
        #expect(flaw(six.bytes, six.offload) == nil)
    }

    @Test("says so where fragments of IPv6 with extension headers are not supported")
    func unsupported() {
        var frame = [UInt8](repeating: 0, count: 14 + 40) + [17, 0, 0, 0, 0, 0, 0, 0]
        frame += [UInt8](repeating: 0, count: 3000)
        (frame[12], frame[13], frame[14], frame[20]) = (0x86, 0xdd, 0x60, 60)
        let offload = VirtioNetHeader(
            flags: 1,
            gsoType: 3,
            gsoSize: 1448,
            csumStart: 62,
            csumOffset: 6
        )
        #expect(flaw(frame, offload) == .extensionHeaders)
    }

    @Test("never traps on a frame or header window cut off anywhere")
    func truncation() {
        for frame in [
            large(), large(.tcpv6, isIPv6: true), large(.udp), large(.udpL4, isIPv6: true),
        ] {
            for length in 0...frame.payloadStart {
                let start = Array(frame.bytes[..<length])
                let isWhole = length == frame.payloadStart
                #expect((flaw(start, frame.offload) == nil) == isWhole)
                // The frame goes on, but the window does not.
                let seen = flaw(start, frame.offload, frameLength: frame.bytes.count)
                #expect((seen == nil) == isWhole)
            }
        }
    }

    @Test("never traps, and stays inside its buffers, whatever is written", arguments: 0..<40)
    func noise(seed: Int) {
        var random = Seeded(state: UInt64(seed) + 5000)
        var planned = 0
        for _ in 0..<300 {
            let kinds: [VirtioNetHeader.Segmentation] = [.tcpv4, .tcpv6, .udp, .udpL4]
            let kind = kinds[Int.random(in: 0..<4, using: &random)]
            let isIPv6 = kind == .tcpv6 || (kind != .tcpv4 && Bool.random(using: &random))
            var frame = LargeFrame(
                kind,
                isIPv6: isIPv6,
                payload: Int.random(in: 0...600, using: &random),
                gsoSize: Int.random(in: 0...300, using: &random),
                using: &random
            )
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                let at = Int.random(in: 12..<frame.payloadStart, using: &random)
                frame.bytes[at] = UInt8.random(in: 0...255, using: &random)
            }
            var raw = [UInt8](repeating: 0, count: 12)
            var span = raw.mutableSpan
            frame.offload.encode(into: &span)
            if Bool.random(using: &random) {
                let at = Int.random(in: 0..<12, using: &random)
                raw[at] = UInt8.random(in: 0...255, using: &random)
            }
            if let offload = VirtioNetHeader(in: raw) { frame.offload = offload }
            let cut = Int.random(in: 0...frame.bytes.count, using: &random)
            if Int.random(in: 0..<8, using: &random) == 0 { frame.bytes.removeLast(cut) }
            if let segments = try? frame.segments(using: &random) { planned += segments.count }
        }
        #expect(planned > 0)
    }
}
