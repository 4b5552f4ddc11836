// What a way to the outside is to hear of a segment. passt is made for one guest: it answers for every address that
// anybody asks for, and takes whoever spoke last for the guest. Beside others it must hear only what is meant for it.

import Netmap

/// Chooses the frames to all that go to a NAT: requests for its own addresses, for an address or a router.
public struct OutsideFilter: BitwiseCopyable, Sendable {
    /// Addresses that it answers for, in network byte order as they lie in memory.
    private let first: UInt32
    private let second: UInt32

    /// Makes a filter for a NAT with the addresses of a router and a name server, each four bytes.
    public init(_ first: [UInt8], _ second: [UInt8]) {
        self.first = OutsideFilter.word(first)
        self.second = OutsideFilter.word(second)
    }

    private static func word(_ bytes: [UInt8]) -> UInt32 {
        bytes.prefix(4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// Whether frame `index` is for the NAT; frames to one station always are, as the switch sends no others.
    @_noLocks
    func admits(_ batch: borrowing FrameBatch, _ index: Int) -> Bool {
        if batch.littleEndian(index, from: 0, length: 1) & 1 == 0 { return true }
        let type = batch.littleEndian(index, from: 12, length: 2)
        if type == 0x0608 {
            // ARP (RFC 826): the target's address is at 24 of its 28 bytes.
            let target = UInt32(truncatingIfNeeded: batch.littleEndian(index, from: 38, length: 4))
            return target == first || target == second
        }
        if type == 0x0008 {
            let head =
                Int(truncatingIfNeeded: batch.littleEndian(index, from: 14, length: 1) & 15) &* 4
            guard batch.littleEndian(index, from: 23, length: 1) == 17 else { return false }
            // BOOTP's server (RFC 2131).
            return batch.littleEndian(index, from: 14 &+ head &+ 2, length: 2) == 0x4300
        }
        if type == 0xdd86 {
            let next = batch.littleEndian(index, from: 20, length: 1)
            // A router solicitation (RFC 4861), or DHCPv6's server (RFC 8415).
            if next == 58 { return batch.littleEndian(index, from: 54, length: 1) == 133 }
            return next == 17 && batch.littleEndian(index, from: 56, length: 2) == 0x2302
        }
        return false
    }
}
