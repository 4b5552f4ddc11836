// Checksums that were left open are seen, and only those.

import CNetmap
import Netmap
import TestSupport
import Testing
import Wire

@testable import Ports

@Suite struct PartialChecksumTests {
    static let kinds: [(isIPv6: Bool, isTCP: Bool, tags: Int)] = [false, true].flatMap { six in
        [false, true].flatMap { tcp in (0...2).map { (six, tcp, $0) } }
    }

    /// A frame with its checksum left open, and where that is.
    static func frame(
        _ kind: (isIPv6: Bool, isTCP: Bool, tags: Int),
        _ random: inout Seeded
    ) -> (bytes: [UInt8], start: Int, offset: Int) {
        var bytes = random.bytes(12)
        for _ in 0..<kind.tags { bytes += [0x81, 0, 0x60, 5] }
        let size = (kind.isTCP ? 20 : 8) + 40
        let number: UInt8 = kind.isTCP ? 6 : 17
        let addresses = random.bytes(kind.isIPv6 ? 32 : 8)
        if kind.isIPv6 {
            bytes += [0x86, 0xdd, 0x60, 0, 0, 0, 0, UInt8(size), number, 64] + addresses
        } else {
            bytes += [8, 0, 0x45, 0, 0, UInt8(size + 20), 0, 0, 0x40, 0, 64, number, 0, 0]
            bytes += addresses
        }
        let start = bytes.count
        bytes += random.bytes(size)
        let offset = kind.isTCP ? 16 : 6
        var sum = UInt32(number) + UInt32(size)
        for k in stride(from: 0, to: addresses.count, by: 2) {
            sum += UInt32(addresses[k]) << 8 | UInt32(addresses[k + 1])
        }
        while sum > 0xffff { sum = (sum & 0xffff) + (sum >> 16) }
        bytes[start + offset] = UInt8(sum >> 8)
        bytes[start + offset + 1] = UInt8(sum & 0xff)
        return (bytes, start, offset)
    }

    private func offload(_ bytes: [UInt8]) -> RawOffload? {
        var bytes = bytes
        let batch = FrameBatch()
        // SAFETY: the bytes are alive during the call.
        return unsafe bytes.withUnsafeMutableBytes { buffer in
            guard let base = buffer.baseAddress else { return nil }
            unsafe batch.frames[0] = unsafe Frame(address: base, length: UInt32(buffer.count))
            return PartialChecksum.offload(batch, 0)
        }
    }

    @Test(arguments: kinds.indices)
    func `an open checksum is found, behind tags too`(_ index: Int) throws {
        var random = Seeded(index)
        for _ in 0..<50 {
            let (bytes, start, offset) = Self.frame(Self.kinds[index], &random)
            let header = try #require(offload(bytes)).header
            #expect(header.needsChecksum && header.gsoType == 0)
            #expect(Int(header.csumStart) == start && Int(header.csumOffset) == offset)
            // With one byte more or less it is a frame like any other.
            var other = bytes
            other[start + offset + 1] ^= 1
            #expect(offload(other) == nil)
        }
    }

    @Test func `fragments, short frames and other protocols are left alone`() {
        var random = Seeded(9)
        let (bytes, start, _) = Self.frame((false, true, 0), &random)
        var fragment = bytes
        fragment[20] |= 0x20
        #expect(offload(fragment) == nil)
        var icmp = bytes
        icmp[23] = 1
        #expect(offload(icmp) == nil)
        for length in 0..<bytes.count where length < start + 18 {
            #expect(offload(Array(bytes[..<length])) == nil)
        }
        // Noise never reads beyond its end (AddressSanitizer looks on).
        for _ in 0..<2000 { _ = offload(random.bytes(random.below(80))) }
    }
}
