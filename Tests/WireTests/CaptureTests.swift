// Capture files: what the encoder writes the reader finds, and no bytes make the reader trap.

import Testing

@testable import Wire

@Suite("Capture files")
struct CaptureTests {
    private let frames: [[UInt8]] = (0..<20).map { n in (0..<(14 + n * 7)).map { UInt8($0 & 0xff) }
    }

    private func file(_ format: CaptureFormat) -> [UInt8] {
        let encoder = CaptureEncoder(format, snapLength: 262_144)
        var out: [UInt8] = []
        encoder.appendBeginning(application: "test", to: &out)
        encoder.appendInterface(name: "vale0:a", description: "a", filter: "ip", to: &out)
        encoder.appendInterface(name: "vale0:bc", description: "b", to: &out)
        for (n, frame) in frames.enumerated() {
            let mark = CaptureMark(
                time: 1_700_000_000_123_456_789 + UInt64(n),
                captured: frame.count,
                length: frame.count + n,
                interface: n % 2,
                direction: n % 3 == 0 ? .unknown : .inbound,
                comment: n % 4 == 1 ? String(repeating: "x", count: n) : nil
            )
            encoder.appendHead(mark, to: &out)
            out += frame
            encoder.appendTail(mark, to: &out)
        }
        encoder.appendStatistics(
            interface: 0,
            time: 1,
            received: 9,
            dropped: 1,
            accepted: 8,
            to: &out
        )
        return out
    }

    private func read(_ bytes: [UInt8]) throws(CaptureError) -> ([CaptureRecord], CaptureError?) {
        var reader = try CaptureReader(bytes.span)
        var records: [CaptureRecord] = []
        while let record = try reader.next(bytes.span) { records.append(record) }
        return (records, reader.truncation)
    }

    @Test(arguments: CaptureFormat.allCases)
    func `what is written is read`(format: CaptureFormat) throws {
        let bytes = file(format)
        let (records, truncation) = try read(bytes)
        #expect(truncation == nil)
        #expect(records.count == frames.count)
        for (n, record) in records.enumerated() {
            #expect(Array(bytes[record.offset..<record.offset + record.length]) == frames[n])
            #expect(record.originalLength == frames[n].count + n)
            #expect(record.time == 1_700_000_000_123_456_789 + UInt64(n))
            #expect(record.interface == (format == .pcapng ? n % 2 : 0))
        }
    }

    @Test(arguments: CaptureFormat.allCases)
    func `a file that is cut anywhere ends at its last whole frame and says so`(
        format: CaptureFormat
    ) throws {
        let bytes = file(format)
        let whole = try read(bytes).0
        // Where the record, or block, of each frame ends; statistics follow the last.
        let ends = whole.indices.map { n in
            guard format == .pcapng else { return whole[n].offset + whole[n].length }
            return n + 1 < whole.count ? whole[n + 1].offset - 28 : bytes.count - 64
        }
        var cleanCuts = 0
        for length in 0..<bytes.count {
            let part = Array(bytes[..<length])
            do throws(CaptureError) {
                let (records, truncation) = try read(part)
                #expect(records == Array(whole.prefix(ends.count { $0 <= length })))
                if truncation == nil { cleanCuts += 1 }
            } catch {
                #expect(length < (format == .pcap ? 24 : 28), "\(error)")
            }
        }
        // Behind the beginning, and behind each frame, there is nothing to complain about.
        #expect((20...24).contains(cleanCuts), "\(cleanCuts)")
    }

    @Test(arguments: CaptureFormat.allCases)
    func `no byte makes the reader trap or go beyond the file`(format: CaptureFormat) {
        let good = file(format)
        var state: UInt64 = 0x2545_f491_4f6c_dd1d
        func random(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % limit
        }
        var rejected = 0
        for round in 0..<4000 {
            var bytes = good
            for _ in 0...(round % 3) {
                let at = random(round % 2 == 0 ? 200 : bytes.count)
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff, UInt8(random(256))][round % 6]
            }
            do throws(CaptureError) {
                for record in try read(bytes).0 {
                    #expect(record.offset >= 0 && record.length >= 0)
                    #expect(record.offset + record.length <= bytes.count)
                }
            } catch {
                #expect((0...bytes.count).contains(error.offset))
                rejected += 1
            }
        }
        #expect(rejected > 50)
    }

    @Test
    func `what is no capture file is refused with a place`() {
        for (bytes, part) in [
            ([UInt8](), "byte 0: no capture file"),
            (Array("hello, this is no capture file".utf8), "byte 0: no capture file"),
            ([0xd4, 0xc3, 0xb2, 0xa1, 2, 0], "ends within its header"),
            (Array(file(.pcap).prefix(20)) + [113, 0, 0, 0], "byte 20: its link type is 113"),
            (Array(file(.pcap).prefix(32)) + Array(repeating: 0xff, count: 60), "byte 32: frame 1"),
        ] {
            do throws(CaptureError) {
                _ = try read(bytes)
                Issue.record("\(part) was not said")
            } catch {
                #expect(error.description.contains(part), "\(error)")
            }
        }
    }

    @Test
    func `times in any resolution become nanoseconds`() {
        for (resolution, ticks, expected) in [
            (6, 1_500_000, 1_500_000_000), (9, 77, 77), (0, 3, 3_000_000_000),
            (3, 1500, 1_500_000_000), (12, 5000, 5), (0x80, 2, 2_000_000_000),
            (0x8a, 1536, 1_500_000_000), (0xa0, 1 << 31, 500_000_000), (127, 1, 0),
        ] as [(UInt8, UInt64, UInt64)] {
            #expect(
                CaptureReader.nanoseconds(ticks, resolution: resolution) == expected,
                "\(resolution)"
            )
        }
    }

    @Test
    func `other byte order is read`() throws {
        // A pcap file of a big-endian machine with one frame of 14 bytes.
        let frame = [UInt8](1...14)
        let big: [UInt8] =
            [
                0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0,
                0, 1,
            ]
            + [0, 0, 0, 5, 0, 0, 0, 7, 0, 0, 0, 14, 0, 0, 0, 20] + frame
        let (records, _) = try read(big)
        #expect(records.count == 1)
        #expect(records.first?.time == 5_000_007_000)
        #expect(records.first?.originalLength == 20)
    }
}
