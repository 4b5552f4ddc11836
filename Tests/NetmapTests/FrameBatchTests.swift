// Reading frames that lie in pieces, wherever the pieces end.

import CNetmap
import TestSupport
import Testing

@testable import Netmap

@Suite("A batch")
struct FrameBatchTests {
    static let cuts: [[Int]] = {
        var cuts: [[Int]] = [
            [20], [Int](repeating: 1, count: 20), [0, 20], [20, 0], [0, 0, 20, 0],
        ]
        for first in 0...20 {
            for second in first...20 { cuts.append([first, second - first, 20 - second]) }
        }
        return cuts
    }()

    func withFrame(_ cut: [Int], _ body: (borrowing FrameBatch, [UInt8]) -> Void) {
        var random = Seeded(cut.count)
        let other = random.bytes(9)
        let frame = random.bytes(20)
        var batch = FrameBatch()
        let set = FrameSet([other, frame], into: &batch) { $0 == 9 ? [4, 5] : cut }
        body(batch, frame)
        withExtendedLifetime(set) {}
    }

    @Test("copies any part of a frame, cut at every byte")
    func copies() {
        for cut in FrameBatchTests.cuts {
            withFrame(cut) { batch, frame in
                for offset in 0...22 {
                    for length in [0, 1, 2, 7, 20, 30] {
                        var target = [UInt8](repeating: 0xcc, count: 40)
                        let n = unsafe target.withUnsafeMutableBytes { buffer -> Int in
                            guard let base = buffer.baseAddress else { return -1 }
                            return unsafe batch.copy(1, from: offset, length: length, to: base)
                        }
                        let expected = Array(frame.dropFirst(offset).prefix(length))
                        #expect(n == expected.count, "\(cut) \(offset) \(length)")
                        #expect(Array(target[..<expected.count]) == expected, "\(cut) \(offset)")
                        #expect(target[expected.count...].allSatisfy { $0 == 0xcc })
                    }
                }
            }
        }
    }

    @Test("reads integers across pieces, and zeroes behind the end")
    func integers() {
        for cut in FrameBatchTests.cuts {
            withFrame(cut) { batch, frame in
                for offset in 0...22 {
                    for length in 0...8 {
                        var expected: UInt64 = 0
                        for k in 0..<length where offset + k < 20 {
                            expected |= UInt64(frame[offset + k]) << UInt64(8 * k)
                        }
                        #expect(
                            batch.littleEndian(1, from: offset, length: length) == expected,
                            "\(cut) \(offset) \(length)"
                        )
                    }
                }
            }
        }
    }

    @Test("names the memory of any part of a frame")
    func slices() {
        let out = UnsafeMutablePointer<Segment>.allocate(capacity: 64)
        defer { unsafe out.deallocate() }
        for cut in FrameBatchTests.cuts {
            withFrame(cut) { batch, frame in
                for lower in 0...20 {
                    for upper in [lower, (lower + 20) / 2, 20] {
                        let count = unsafe batch.slice(1, lower..<upper, into: out)
                        var bytes: [UInt8] = []
                        for k in 0..<count {
                            let piece = unsafe out[k]
                            #expect(unsafe piece.length > 0)
                            for i in 0..<(unsafe piece.length) {
                                bytes.append(unsafe nm_load8(piece.address + i))
                            }
                        }
                        #expect(bytes == Array(frame[lower..<upper]), "\(cut) \(lower) \(upper)")
                    }
                }
            }
        }
    }

    @Test("writes a header and a frame into pieces of any size", arguments: [0, 10, 12])
    func scatters(headerLength: Int) {
        let header: (UInt64, UInt32) = (0x0807_0605_0403_0201, 0x0c0b_0a09)
        let headerBytes = (1...12).map { UInt8($0) }
        let total = headerLength + 20
        for first in 0...total {
            for second in stride(from: first, through: total, by: 3) {
                let lengths = [first, second - first, 0, total - second + 5]
                withFrame([5, 0, 8, 7]) { batch, frame in
                    let memory = UnsafeMutableRawBufferPointer.allocate(
                        byteCount: 200,
                        alignment: 1
                    )
                    let pieces = UnsafeMutablePointer<Segment>.allocate(capacity: 4)
                    defer {
                        unsafe memory.deallocate()
                        unsafe pieces.deallocate()
                    }
                    for k in 0..<200 { unsafe memory[k] = 0xcc }
                    guard let base = memory.baseAddress else { return }
                    var offset = 10
                    for (k, length) in lengths.enumerated() {
                        unsafe (pieces + k).initialize(
                            to: Segment(address: base + offset, length: length)
                        )
                        offset += length + 10
                    }
                    unsafe batch.scatter(
                        batch.frames[1],
                        header: header,
                        headerLength: headerLength,
                        into: pieces,
                        4
                    )
                    var got: [UInt8] = []
                    offset = 10
                    for length in lengths {
                        #expect(unsafe memory[offset - 1] == 0xcc)
                        for k in 0..<length { got.append(unsafe memory[offset + k]) }
                        offset += length + 10
                    }
                    let expected = Array(headerBytes[..<headerLength]) + frame
                    #expect(Array(got[..<total]) == expected, "\(lengths)")
                    #expect(got[total...].allSatisfy { $0 == 0xcc }, "\(lengths)")
                }
            }
        }
    }
}
