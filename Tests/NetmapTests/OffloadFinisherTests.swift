// Frames with offload requests become complete frames: checked by a receiver that believes nothing.

import CNetmap
import TestSupport
import Testing
import Wire

@testable import Netmap

/// A TCP or UDP packet that leaves its checksum, and perhaps its segmentation, to somebody else.
struct UnfinishedFrame {
    var bytes: [UInt8]
    var header: VirtioNetHeader
    var isIPv6: Bool
    var isTCP: Bool
    var l3: Int
    var l4: Int
    var payloadStart: Int

    var payload: [UInt8] { Array(bytes[payloadStart...]) }

    init(isIPv6: Bool, isTCP: Bool, payload: Int, segment: Int?, using random: inout Seeded) {
        self.isIPv6 = isIPv6
        self.isTCP = isTCP
        bytes = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]
        if random.chance(30) { bytes += [0x81, 0, 0, 5] }
        bytes += isIPv6 ? [0x86, 0xdd] : [8, 0]
        l3 = bytes.count
        let l4Header = isTCP ? 20 + 4 * random.below(11) : 8
        let length = l4Header + payload
        if isIPv6 {
            bytes += [0x60, 0, 0, 0, UInt8(length >> 8), UInt8(length & 0xff), isTCP ? 6 : 17, 64]
            bytes += random.bytes(32)
        } else {
            let options = random.chance(30) ? random.below(11) : 0
            let total = 20 + 4 * options + length
            bytes += [0x45 + UInt8(options), 0, UInt8(total >> 8 & 0xff), UInt8(total & 0xff)]
            bytes += random.bytes(2) + [0x40, 0, 64, isTCP ? 6 : 17, 0, 0] + random.bytes(8)
            bytes += [UInt8](repeating: 1, count: 4 * options)
            let sum = ~UnfinishedFrame.sum(Array(bytes[l3...]))
            bytes[l3 + 10] = UInt8(sum >> 8)
            bytes[l3 + 11] = UInt8(sum & 0xff)
        }
        l4 = bytes.count
        if isTCP {
            bytes += random.bytes(12) + [UInt8(l4Header / 4) << 4, 0x18] + random.bytes(6)
            bytes += [UInt8](repeating: 1, count: l4Header - 20)
        } else {
            bytes += random.bytes(4) + [UInt8(length >> 8), UInt8(length & 0xff), 0, 0]
        }
        payloadStart = bytes.count
        bytes += random.bytes(payload)
        header = VirtioNetHeader(
            flags: 1,
            gsoType: segment == nil ? 0 : isTCP ? (isIPv6 ? 4 : 1) : 5,
            hdrLen: UInt16(truncatingIfNeeded: random.next()),
            gsoSize: UInt16(segment ?? 0),
            csumStart: UInt16(l4),
            csumOffset: isTCP ? 16 : 6
        )
        // The field holds the folded sum of the pseudo header.
        let field = l4 + (isTCP ? 16 : 6)
        bytes[field] = 0
        bytes[field + 1] = 0
        let partial = UnfinishedFrame.sum(pseudoHeader(bytes, length))
        bytes[field] = UInt8(partial >> 8)
        bytes[field + 1] = UInt8(partial & 0xff)
    }

    static func sum(_ bytes: [UInt8]) -> UInt16 {
        var sum = 0
        for (k, byte) in bytes.enumerated() { sum += k % 2 == 0 ? Int(byte) << 8 : Int(byte) }
        while sum > 0xffff { sum = sum >> 16 + sum & 0xffff }
        return UInt16(sum)
    }

    func pseudoHeader(_ frame: [UInt8], _ length: Int) -> [UInt8] {
        let addresses = isIPv6 ? frame[l3 + 8..<l3 + 40] : frame[l3 + 12..<l3 + 20]
        return addresses + [0, isTCP ? 6 : 17, UInt8(length >> 8), UInt8(length & 0xff)]
    }

    /// Whether a finished frame's lengths and checksums are right.
    func isComplete(_ frame: [UInt8]) -> Bool {
        let transport = Array(frame[l4...])
        if isIPv6 {
            guard Int(frame[l3 + 4]) << 8 + Int(frame[l3 + 5]) == frame.count - l3 - 40 else {
                return false
            }
        } else {
            guard Int(frame[l3 + 2]) << 8 + Int(frame[l3 + 3]) == frame.count - l3,
                UnfinishedFrame.sum(Array(frame[l3..<l4])) == 0xffff
            else { return false }
        }
        if !isTCP {
            guard Int(transport[4]) << 8 + Int(transport[5]) == transport.count,
                transport[6] != 0 || transport[7] != 0
            else { return false }
        }
        return UnfinishedFrame.sum(pseudoHeader(frame, transport.count) + transport) == 0xffff
    }
}

extension VirtioNetHeader {
    /// The header as a source stores it in a batch.
    var raw: RawOffload {
        let low =
            UInt64(flags) | UInt64(gsoType) << 8 | UInt64(hdrLen) << 16 | UInt64(gsoSize) << 32
            | UInt64(csumStart) << 48
        return RawOffload(low: low, high: csumOffset)
    }
}

@Suite("The offload finisher")
struct OffloadFinisherTests {
    /// Finishes one frame that lies in pieces.
    ///
    /// - Returns: the complete frames, or nil if it was refused.
    func finish(_ frame: [UInt8], _ header: VirtioNetHeader, cut: [Int]) -> [[UInt8]]? {
        var batch = FrameBatch()
        let set = FrameSet([frame], into: &batch) { _ in cut }
        defer { withExtendedLifetime(set) {} }
        unsafe batch.headers[0] = header.raw
        // Through a copy: in place, the compiler crashes under the thread sanitizer (Swift 6.3.1).
        var first = unsafe batch.frames[0]
        unsafe first.offload = true
        unsafe batch.frames[0] = unsafe first
        var finisher = OffloadFinisher()
        guard finisher.begin(batch, 0) else { return nil }
        var frames: [[UInt8]] = []
        while finisher.finishNext(batch, 0) {
            unsafe finisher.batch.frames[0] = unsafe finisher.frame
            frames.append(bytes(finisher.batch, 0))
        }
        return frames
    }

    @Test("completes the checksum of a packet wherever its memory is cut", arguments: 0..<80)
    func checksum(seed: Int) {
        var random = Seeded(seed)
        let frame = UnfinishedFrame(
            isIPv6: seed % 2 == 1,
            isTCP: seed / 2 % 2 == 1,
            payload: random.below(1500),
            segment: nil,
            using: &random
        )
        let cut = random.split(frame.bytes.count, into: random.within(1...20))
        let result = finish(frame.bytes, frame.header, cut: cut)
        #expect(result?.count == 1, "seed \(seed)")
        guard let done = result?.first else { return }
        #expect(frame.isComplete(done), "seed \(seed)")
        let field = frame.l4 + Int(frame.header.csumOffset)
        #expect(done[..<field] == frame.bytes[..<field], "seed \(seed)")
        #expect(done[(field + 2)...] == frame.bytes[(field + 2)...], "seed \(seed)")
    }

    @Test("cuts large packets into complete ones with the same payload", arguments: 0..<80)
    func segmentation(seed: Int) {
        var random = Seeded(seed)
        let size = random.within(64...1448)
        let frame = UnfinishedFrame(
            isIPv6: seed % 2 == 1,
            isTCP: seed / 2 % 2 == 1,
            payload: random.within(1...(seed % 10 == 0 ? 60_000 : 8000)),
            segment: size,
            using: &random
        )
        let cut = random.split(frame.bytes.count, into: random.within(1...40))
        let result = finish(frame.bytes, frame.header, cut: cut)
        let count = (frame.payload.count + size - 1) / size
        #expect(result?.count == count, "seed \(seed)")
        var payload: [UInt8] = []
        for segment in result ?? [] {
            #expect(frame.isComplete(segment), "seed \(seed)")
            #expect(segment.count - frame.payloadStart <= size, "seed \(seed)")
            payload += segment[frame.payloadStart...]
        }
        #expect(payload == frame.payload, "seed \(seed)")
    }

    @Test("passes a frame on that asks for nothing")
    func nothing() {
        var random = Seeded(1)
        let frame = random.bytes(100)
        #expect(finish(frame, VirtioNetHeader(), cut: [3, 97]) == [frame])
    }

    @Test("refuses requests that contradict the frame")
    func refuses() {
        var random = Seeded(1)
        let tcp = UnfinishedFrame(
            isIPv6: false,
            isTCP: true,
            payload: 3000,
            segment: 1000,
            using: &random
        )
        func refused(_ change: (inout VirtioNetHeader) -> Void, _ bytes: [UInt8]? = nil) -> Bool {
            var header = tcp.header
            change(&header)
            let frame = bytes ?? tcp.bytes
            return finish(frame, header, cut: [frame.count]) == nil
        }
        #expect(!refused { _ in })
        #expect(refused { $0.flags = 0 })
        #expect(refused { $0.gsoSize = 0 })
        #expect(refused { $0.gsoSize = 1 }, "more segments than anybody needs")
        #expect(refused { $0.gsoType = 4 })
        #expect(refused { $0.gsoType = 5 })
        #expect(refused { $0.gsoType = 2 })
        #expect(refused { $0.gsoType = 0x80 })
        #expect(refused { $0.csumStart += 1 })
        #expect(refused { $0.csumOffset = 6 })
        #expect(refused { $0.csumStart = 0xffff })
        for length in [14, 20, tcp.l4, tcp.l4 + 13, tcp.l4 + 19] {
            #expect(refused({ _ in }, Array(tcp.bytes[..<length])), "\(length) bytes")
        }
        // A checksum far behind any header.
        #expect(refused { $0 = VirtioNetHeader(flags: 1, csumStart: 2500, csumOffset: 16) })
    }

    @Test("never reads or writes outside a frame, whatever is asked of it", arguments: 0..<40)
    func hostile(seed: Int) {
        var random = Seeded(seed)
        for _ in 0..<60 {
            var frame = UnfinishedFrame(
                isIPv6: random.chance(50),
                isTCP: random.chance(50),
                payload: random.below(400),
                segment: random.chance(50) ? random.within(1...500) : nil,
                using: &random
            )
            for _ in 0..<random.below(4) {
                frame.bytes[random.below(frame.bytes.count)] = UInt8(random.below(256))
            }
            if random.chance(30) {
                frame.bytes.removeLast(random.below(frame.bytes.count - 14))
            }
            switch random.below(8) {
            case 0: frame.header.csumStart = UInt16(truncatingIfNeeded: random.next())
            case 1: frame.header.csumOffset = UInt16(random.below(500))
            case 2: frame.header.gsoType = UInt8(random.below(256))
            case 3: frame.header.gsoSize = UInt16(truncatingIfNeeded: random.next())
            default: break
            }
            let cut = random.split(frame.bytes.count, into: random.within(1...9))
            guard let result = finish(frame.bytes, frame.header, cut: cut) else { continue }
            #expect(!result.isEmpty && result.count <= Segmenter.maximumSegments, "seed \(seed)")
        }
    }
}
