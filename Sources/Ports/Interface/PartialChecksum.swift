// Checksums that a sender on this host has left open. AF_XDP hands out a frame's bytes and nothing else, so
// what the stack knows of a frame from a veth's other end, that its checksum is still to be computed, is lost. But it
// can be seen: the field holds the sum of the pseudo header, and nothing of the data.
//
// A frame that is complete has that value once in 65536 times, and then it is right: computing it again gives
// the same, since the data decide it.

import CNetmap
import Netmap

enum PartialChecksum {
    /// The request to complete the checksum of frame `index`, if it was left open.
    @_noLocks
    static func offload(_ batch: borrowing FrameBatch, _ index: Int) -> RawOffload? {
        // SAFETY: reads end before `length`, the bytes of the first segment.
        let frame = unsafe batch.frames[index]
        let start = unsafe frame.address
        let length = unsafe Int(frame.headLength)
        let end = unsafe Int(frame.length)
        var at = 12
        guard length >= 14 + 20 + 8 else { return nil }
        var type = unsafe nm_load16(start + at).bigEndian
        for _ in 0..<2 where type == 0x8100 || type == 0x88a8 {
            at = at &+ 4
            type = unsafe nm_load16(start + at).bigEndian
        }
        at = at &+ 2
        var sum: UInt32 = 0
        var layer = 0
        var kind: UInt8 = 0
        var payload = 0
        if type == 0x0800, at &+ 20 <= length {
            let size = unsafe Int(nm_load8(start + at) & 15) &* 4
            let total = unsafe Int(nm_load16(start + at + 2).bigEndian)
            // Neither a fragment nor shorter than its header.
            let fragment = unsafe nm_load16(start + at + 6).bigEndian & 0x3fff
            guard fragment == 0, size >= 20, total >= size else { return nil }
            kind = unsafe nm_load8(start + at + 9)
            layer = at &+ size
            payload = total &- size
            unsafe sum = words(start + at + 12, 4)
        } else if type == 0x86dd, at &+ 40 <= length {
            kind = unsafe nm_load8(start + at + 6)
            layer = at &+ 40
            payload = unsafe Int(nm_load16(start + at + 4).bigEndian)
            unsafe sum = words(start + at + 8, 16)
        } else {
            return nil
        }
        let place = kind == 6 ? 16 : kind == 17 ? 6 : -1
        guard place >= 0, layer &+ place &+ 2 <= length, layer &+ payload <= end,
            payload >= place &+ 2
        else { return nil }
        sum = sum &+ UInt32(kind) &+ UInt32(truncatingIfNeeded: payload)
        sum = (sum & 0xffff) &+ (sum &>> 16)
        sum = (sum & 0xffff) &+ (sum &>> 16)
        guard unsafe UInt32(nm_load16(start + layer + place).bigEndian) == sum else { return nil }
        return RawOffload(low: 1 | UInt64(layer) &<< 48, high: UInt16(place))
    }

    /// The sum of `count` big-endian words.
    @_noLocks
    private static func words(_ start: UnsafeMutableRawPointer, _ count: Int) -> UInt32 {
        var sum: UInt32 = 0
        for k in 0..<count { sum = unsafe sum &+ UInt32(nm_load16(start + 2 &* k).bigEndian) }
        return sum
    }
}
