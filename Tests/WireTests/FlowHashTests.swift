// Which frames have the same number, and how numbers spread.

import Testing
import Wire

/// A UDP or TCP frame of a conversation; the two ends are numbers.
private func frame(
    _ from: UInt8,
    _ to: UInt8,
    _ fromPort: UInt16 = 1000,
    _ toPort: UInt16 = 80,
    isIPv6: Bool = false,
    kind: UInt8 = 6,
    fragment: UInt16 = 0,
    tagged: Bool = false
) -> [UInt8] {
    var bytes: [UInt8] = [2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from]
    if tagged { bytes += [0x81, 0x00, 0x00, from] }
    if isIPv6 {
        bytes += [0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, kind, 64]
        bytes += [0xfd] + [UInt8](repeating: 0, count: 14) + [from]
        bytes += [0xfd] + [UInt8](repeating: 0, count: 14) + [to]
    } else {
        bytes += [0x08, 0x00, 0x45, 0, 0, 40, 0, 1]
        bytes += [UInt8(fragment >> 8), UInt8(fragment & 255), 64, kind, 0, 0]
        bytes += [10, 0, 0, from, 10, 0, 0, to]
    }
    bytes += [UInt8(fromPort >> 8), UInt8(fromPort & 255), UInt8(toPort >> 8), UInt8(toPort & 255)]
    return bytes + [UInt8](repeating: 0, count: 16)
}

private func hash(_ bytes: [UInt8]) -> FlowHash { FlowHash(bytes.span) }

@Suite struct FlowHashTests {
    @Test(arguments: [false, true])
    func bothDirectionsHaveOneNumber(isIPv6: Bool) {
        for (from, to) in [(1, 2), (200, 3), (7, 7)] as [(UInt8, UInt8)] {
            let there = hash(frame(from, to, 1000, 80, isIPv6: isIPv6))
            #expect(there == hash(frame(to, from, 80, 1000, isIPv6: isIPv6)))
            #expect(there.isIP)
            #expect(there == hash(frame(from, to, 1000, 80, isIPv6: isIPv6, tagged: true)))
            #expect(there != hash(frame(from, to, 1001, 80, isIPv6: isIPv6)))
            #expect(there != hash(frame(from, to, 1000, 80, isIPv6: isIPv6, kind: 17)))
            // Protocols without ports have none.
            #expect(
                hash(frame(from, to, 1, 2, isIPv6: isIPv6, kind: 47))
                    == hash(frame(from, to, 3, 4, isIPv6: isIPv6, kind: 47))
            )
        }
    }

    @Test func allFragmentsOfAPacketHaveOneNumber() {
        let first = hash(frame(1, 2, 1000, 80, fragment: 0x2000))
        #expect(first == hash(frame(1, 2, 0x6162, 0x6364, fragment: 0x0010)))
        #expect(first == hash(frame(1, 2, 7, 8, fragment: 0x2008)))
        #expect(first.isIP)
    }

    @Test func whatIsNotIPGoesByItsStations() {
        var bytes = frame(1, 2)
        bytes[12] = 0x88
        bytes[13] = 0xb5
        var back = frame(2, 1, 99, 98)
        back[12] = 0x88
        back[13] = 0xb5
        #expect(!hash(bytes).isIP)
        #expect(hash(bytes) == hash(back))
        #expect(hash(bytes) != hash(frame(1, 2)))
    }

    @Test func anythingAtAllHasANumber() {
        var state: UInt64 = 1
        for length in 0..<120 {
            for turn in 0..<20 {
                var bytes = turn % 2 == 0 ? frame(1, 2, isIPv6: turn % 4 == 0) : []
                bytes = Array(bytes.prefix(length))
                while bytes.count < length {
                    state = state &* 6_364_136_223_846_793_005 &+ 1
                    bytes.append(UInt8(truncatingIfNeeded: state >> 56))
                }
                #expect((0..<7).contains(hash(bytes).place(of: 7)))
            }
        }
    }

    @Test func placesAreUsedEvenly() {
        var counts = [Int](repeating: 0, count: 8)
        for from in 0..<200 as Range<UInt8> {
            for port in 0..<40 as Range<UInt16> {
                counts[hash(frame(from, 250, 1024 + port)).place(of: 8)] += 1
            }
        }
        // 1000 each, and five standard deviations.
        #expect(counts.allSatisfy { abs($0 - 1000) < 150 }, "\(counts)")
    }
}
