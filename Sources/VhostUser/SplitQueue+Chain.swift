// Descriptor chains: the part of a virtqueue where guests attack first (vhost-user-spec 2.10).

import CNetmap
public import Netmap

extension SplitQueue {
    /// What walking a chain yielded.
    @usableFromInline struct Chain: BitwiseCopyable {
        @usableFromInline var segments: Int
        @usableFromInline var bytes: Int
        @usableFromInline var isValid: Bool

        @_noLocks @usableFromInline init(segments: Int, bytes: Int, isValid: Bool) {
            self.segments = segments
            self.bytes = bytes
            self.isValid = isValid
        }
    }

    /// Walks the chain that begins at descriptor `head` and writes its pieces to `out`.
    ///
    /// Each descriptor is loaded once as two words. The walk ends after as many descriptors as any
    /// table has entries, so a loop is found; a buffer that crosses memory regions becomes several
    /// pieces (CVE-2018-1059 assumed that it does not). A fault stops the queue.
    ///
    /// - Parameters:
    ///   - head: the chain's first descriptor.
    ///   - writable: whether the descriptors must be device-writable (receive) or readable (transmit).
    ///   - out: where the pieces go.
    ///   - capacity: how many segments `out` has room for.
    /// - Returns: how many pieces and bytes, and whether that is the whole chain.
    @usableFromInline @inline(never) @_noLocks
    mutating func walk(
        _ head: UInt16,
        writable: Bool,
        into out: UnsafeMutablePointer<Segment>,
        capacity: Int
    ) -> Chain {
        let bad = Chain(segments: 0, bytes: 0, isValid: false)
        var table = unsafe descriptors
        var tableLength = Int(size)
        var tableAddress: UInt64 = 0
        var inIndirect = false
        var split = false
        var index = Int(head)
        var budget = Int(size)
        var count = 0
        var bytes = 0
        guard index < tableLength else {
            fail(.descriptorIndex)
            return bad
        }
        while true {
            guard budget > 0 else {
                fail(.chainLength)
                return bad
            }
            budget -= 1
            var cell = unsafe table + index * NM_VRING_DESC_SIZE
            if split {
                // An indirect table across regions: find each descriptor on its own.
                guard
                    let found = unsafe translate(
                        tableAddress &+ UInt64(index * NM_VRING_DESC_SIZE),
                        NM_VRING_DESC_SIZE
                    )
                else {
                    fail(.address)
                    return bad
                }
                unsafe cell = unsafe found
            }
            // SAFETY: `index` is below the table's length, and the table is mapped in full.
            let address = unsafe nm_load64(cell)
            let word = unsafe nm_load64(cell + 8)
            let length = Int(UInt32(truncatingIfNeeded: word))
            let flags = UInt16(truncatingIfNeeded: word &>> 32)
            if flags & 4 != 0 {
                // INDIRECT: the table replaces the rest of the chain; its own WRITE flag says nothing.
                let entries = length / NM_VRING_DESC_SIZE
                guard !inIndirect, flags & 1 == 0, entries > 0,
                    entries <= FrameBatch.segmentsPerFrame, length % NM_VRING_DESC_SIZE == 0
                else {
                    fail(.indirect)
                    return bad
                }
                inIndirect = true
                tableAddress = address
                tableLength = entries
                budget = entries
                index = 0
                if let whole = unsafe translate(address, length) {
                    unsafe table = unsafe whole
                } else {
                    split = true
                }
                continue
            }
            guard (flags & 2 != 0) == writable else {
                fail(.direction)
                return bad
            }
            var at = address
            var left = length
            while left > 0 {
                guard count < capacity else {
                    fail(.chainLength)
                    return bad
                }
                var piece = left
                var host = unsafe translate(at, piece)
                if unsafe host == nil {
                    piece = min(left, contiguous(at))
                    unsafe host = piece > 0 ? unsafe translate(at, piece) : nil
                }
                guard let host = unsafe host else {
                    fail(.address)
                    return bad
                }
                unsafe out[count] = unsafe Segment(address: host, length: piece)
                count += 1
                at = at &+ UInt64(piece)
                left -= piece
            }
            bytes += length
            if flags & 1 == 0 { return Chain(segments: count, bytes: bytes, isValid: true) }
            index = Int(UInt16(truncatingIfNeeded: word &>> 48))
            guard index < tableLength else {
                fail(.descriptorIndex)
                return bad
            }
        }
    }

    /// How many bytes from `address` on lie in one region.
    @_noLocks
    private func contiguous(_ address: UInt64) -> Int {
        for index in 0..<regionCount {
            // SAFETY: below `regionCount`, the table's length.
            let region = unsafe regions[index]
            let offset = unsafe address &- region.guest
            if unsafe offset < region.size { return unsafe Int(region.size - offset) }
        }
        return 0
    }
}
