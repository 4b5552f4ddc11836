// What the tests compare against: slow, obvious code that shares nothing with the module, a seeded
// generator, and frames made by another implementation.

import Testing
import Wire

/// A seeded generator (SplitMix64), so that a failure can be repeated.
struct Seeded: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
    }
}

/// The folded sum of RFC 1071, two bytes at a time.
func naiveSum(_ bytes: [UInt8]) -> UInt16 {
    var sum = 0
    for i in bytes.indices {
        sum += i % 2 == 0 ? Int(bytes[i]) << 8 : Int(bytes[i])
        if sum > 0xffff { sum -= 0xffff }
    }
    return UInt16(sum)
}

func word(_ bytes: [UInt8], _ at: Int) -> Int { Int(bytes[at]) << 8 | Int(bytes[at + 1]) }

func long(_ bytes: [UInt8], _ at: Int) -> UInt32 {
    UInt32(word(bytes, at)) << 16 | UInt32(word(bytes, at + 2))
}

func bigEndian(_ value: Int) -> [UInt8] {
    [UInt8(truncatingIfNeeded: value >> 8), UInt8(truncatingIfNeeded: value)]
}

func hex(_ text: String) -> [UInt8] {
    let digits = text.compactMap(\.hexDigitValue)
    return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

/// Frames from scapy 2.8, checksums included.
enum Sample {
    static let tcp4 = hex(
        """
        525400abcdef 525400123456 0800 45000041123440004006148 10a0000010a000002
        13890050010203040a0b0c0d801801f6d1690000 0101080a0000000100000002
        68656c6c6f2c20776f726c6421
        """
    )
    static let udp6 = hex(
        """
        525400abcdef 525400123456 88a80064 8100a007 86dd
        60000000001b004020010db8000000000000000000000001fe800000000000000001000000000002
        3c00010400000000 1100010400000000 0035 14e9 000b eb17 6f6464
        """
    )
    static let arp = hex(
        """
        ffffffffffff 525400123456 0806 0001080006040001
        525400123456 0a000001 000000000000 0a000002
        """
    )
    static let icmp = hex(
        """
        525400abcdef 525400123456 0800 4700002c000100004001e979c0a80101c0a801fe 0707040000000000
        0800667000010001 6162636465666768
        """
    )
    static let rarp = hex(
        """
        ffffffffffff 525400123456 8035 0001080006040003
        525400123456 00000000 525400123456 00000000
        """ + String(repeating: "00", count: 18)
    )
    static let sourceRouted = hex(
        """
        525400abcdef 525400123456 0800 470000300001000040065235 0a0000010a000002 018307040a000009
        0014005000000000000000005002200 07b750000
        """
    )
    static let all = [tcp4, udp6, arp, icmp, rarp, sourceRouted]
}

// A span cannot be an argument inside `#expect`, whose expansion captures arguments; an array can.

extension MACAddress {
    init?(in bytes: [UInt8], at offset: Int = 0) { self.init(bytes.span, at: offset) }
}

extension EthernetAddresses {
    init?(in bytes: [UInt8]) { self.init(bytes.span) }
}

extension EthernetHeader {
    init?(in bytes: [UInt8]) { self.init(bytes.span) }
}

extension IPv4Header {
    init?(in bytes: [UInt8], at offset: Int) { self.init(bytes.span, at: offset) }
}

extension IPv6Header {
    init?(in bytes: [UInt8], at offset: Int) { self.init(bytes.span, at: offset) }
}

extension TCPHeader {
    init?(in bytes: [UInt8], at offset: Int) { self.init(bytes.span, at: offset) }
}

extension UDPHeader {
    init?(in bytes: [UInt8], at offset: Int) { self.init(bytes.span, at: offset) }
}

extension ARPPacket {
    init?(in bytes: [UInt8], at offset: Int) { self.init(bytes.span, at: offset) }
}

extension VirtioNetHeader {
    init?(in bytes: [UInt8], length: Int = Self.length) { self.init(bytes.span, length: length) }
}

extension FrameSummary {
    init(in bytes: [UInt8], length: Int? = nil) { self.init(bytes.span, length: length) }
}
