// Fields of a frame are big-endian and lie at any address. These few accessors are the only place
// where that is spelled out; everything else in Wire speaks of fields, not of bytes.

extension Span where Element == UInt8 {
    @inlinable
    func bigEndian16(_ offset: Int) -> UInt16 {
        UInt16(self[offset]) &<< 8 | UInt16(self[offset &+ 1])
    }

    @inlinable
    func bigEndian32(_ offset: Int) -> UInt32 {
        UInt32(bigEndian16(offset)) &<< 16 | UInt32(bigEndian16(offset &+ 2))
    }

    @inlinable
    func bigEndian64(_ offset: Int) -> UInt64 {
        UInt64(bigEndian32(offset)) &<< 32 | UInt64(bigEndian32(offset &+ 4))
    }

    @inlinable
    func littleEndian16(_ offset: Int) -> UInt16 {
        UInt16(self[offset]) | UInt16(self[offset &+ 1]) &<< 8
    }

    /// Six bytes, the first one lowest: a hardware address as `MACAddress` keeps it.
    @inlinable
    func littleEndian48(_ offset: Int) -> UInt64 {
        UInt64(littleEndian16(offset))
            | UInt64(littleEndian16(offset &+ 2)) &<< 16
            | UInt64(littleEndian16(offset &+ 4)) &<< 32
    }

    /// Whether `length` bytes exist from `offset` on; cannot overflow for any arguments.
    @inlinable
    func holds(_ length: Int, at offset: Int) -> Bool {
        // `&&` takes a closure; capturing the span in it is reference counting to `@_noLocks`.
        let count = count
        return offset >= 0 && length >= 0 && offset <= count && length <= count &- offset
    }
}

extension MutableSpan where Element == UInt8 {
    @inlinable
    mutating func storeBigEndian(_ value: UInt16, at offset: Int) {
        self[offset] = UInt8(truncatingIfNeeded: value &>> 8)
        self[offset &+ 1] = UInt8(truncatingIfNeeded: value)
    }

    @inlinable
    mutating func storeBigEndian(_ value: UInt32, at offset: Int) {
        storeBigEndian(UInt16(truncatingIfNeeded: value &>> 16), at: offset)
        storeBigEndian(UInt16(truncatingIfNeeded: value), at: offset &+ 2)
    }

    @inlinable
    mutating func storeLittleEndian(_ value: UInt16, at offset: Int) {
        self[offset] = UInt8(truncatingIfNeeded: value)
        self[offset &+ 1] = UInt8(truncatingIfNeeded: value &>> 8)
    }

    @inlinable
    mutating func store(_ address: MACAddress, at offset: Int) {
        storeLittleEndian(UInt16(truncatingIfNeeded: address.rawValue), at: offset)
        storeLittleEndian(UInt16(truncatingIfNeeded: address.rawValue &>> 16), at: offset &+ 2)
        storeLittleEndian(UInt16(truncatingIfNeeded: address.rawValue &>> 32), at: offset &+ 4)
    }
}
