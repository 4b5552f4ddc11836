// The Internet checksum (RFC 1071), built for frames that lie in several pieces: a guest's buffers
// end where they like, odd lengths included.

/// A running ones-complement sum over bytes that arrive in pieces.
///
/// Three facts make it fast and let it stop anywhere:
///
/// * Ones-complement addition is addition modulo 2^16 - 1, and 2^16 - 1 divides 2^64 - 1. So the
///   sum may run over 64-bit words, adding each carry back in, and be folded to 16 bits at the end.
/// * The sum does not care about byte order as long as all words have the same one (RFC 1071,
///   section 2 B): words are loaded as the machine likes them and swapped once, at the end.
/// * A piece that starts at an odd offset has all its bytes in the other half of their 16-bit word.
///   Swapping the halves is multiplication by 2^8, which modulo 2^64 - 1 is a rotation by 8.
public struct Checksum: Sendable, BitwiseCopyable {
    /// Congruent, modulo 2^16 - 1, to the sum of the 16-bit words in the machine's byte order.
    @usableFromInline var sum: UInt64

    /// Whether an odd number of bytes has been summed, so that the next one is the second of a word.
    @usableFromInline var isOdd: Bool

    /// An empty sum.
    @inlinable
    public init() {
        sum = 0
        isOdd = false
    }

    // MARK: Pieces

    /// Adds all bytes of a piece that follows what was summed so far.
    @inlinable
    public mutating func add(_ bytes: borrowing RawSpan) {
        let count = bytes.byteCount
        // SAFETY: exactly the span's own bytes are read, while it is borrowed.
        let piece = unsafe bytes.withUnsafeBytes { unsafe Self.sum(of: $0.baseAddress, count) }
        append(piece, count)
    }

    /// Adds all bytes of a piece that follows what was summed so far.
    @inlinable
    public mutating func add(_ bytes: borrowing Span<UInt8>) {
        let count = bytes.count
        // SAFETY: as above.
        let piece = unsafe bytes.withUnsafeBytes { unsafe Self.sum(of: $0.baseAddress, count) }
        append(piece, count)
    }

    /// Adds some bytes of a span; the range is clamped to it.
    @inlinable
    public mutating func add(_ bytes: borrowing Span<UInt8>, in range: Range<Int>) {
        let start = min(max(range.lowerBound, 0), bytes.count)
        let count = min(max(range.upperBound, start), bytes.count) &- start
        // SAFETY: start and count were just clamped to the span.
        let piece = unsafe bytes.withUnsafeBytes {
            unsafe Self.sum(of: $0.baseAddress.map { unsafe $0 + start }, count)
        }
        append(piece, count)
    }

    /// Adds a 16-bit field.
    @inlinable
    public mutating func add(_ field: UInt16) {
        append(UInt64(field.bigEndian), 2)
    }

    /// Adds a 32-bit field.
    @inlinable
    public mutating func add(_ field: UInt32) {
        append(UInt64(field.bigEndian), 4)
    }

    /// Adds a 64-bit field.
    @inlinable
    public mutating func add(_ field: UInt64) {
        append(field.bigEndian, 8)
    }

    /// Adds what another sum has summed, as if its bytes followed here.
    @inlinable
    public mutating func append(_ other: Checksum) {
        append(other.sum, other.isOdd ? 1 : 0)
    }

    @inlinable
    mutating func append(_ piece: UInt64, _ count: Int) {
        sum = Self.add(sum, isOdd ? piece &<< 8 | piece &>> 56 : piece)
        isOdd = isOdd != (count & 1 != 0)
    }

    // MARK: Result

    /// The sum of everything added, folded to 16 bits and not complemented.
    ///
    /// This is what `VIRTIO_NET_HDR_F_NEEDS_CSUM` wants in the checksum field when only the pseudo
    /// header was added. Like every field here it is a number, to be stored high byte first.
    @inlinable
    public func folded() -> UInt16 {
        // Two carries can occur: 32 + 32 bits, then 16 + 16.
        let low = (sum & 0xffff_ffff) &+ (sum &>> 32)
        let middle = (low & 0xffff) &+ (low &>> 16 & 0xffff) &+ (low &>> 32)
        let high = (middle & 0xffff) &+ (middle &>> 16)
        return UInt16(bigEndian: UInt16(truncatingIfNeeded: high &+ (high &>> 16)))
    }

    /// The checksum: the complement of the folded sum.
    ///
    /// Over bytes that contain their own, correct checksum it is 0.
    @inlinable
    public func finish() -> UInt16 {
        ~folded()
    }

    /// The checksum as UDP stores it: 0 would mean "none", so 0xffff stands for it (RFC 768).
    @inlinable
    public func finishUDP() -> UInt16 {
        let value = finish()
        return value == 0 ? 0xffff : value
    }

    // MARK: Words

    /// Ones-complement addition of two 64-bit words: the carry comes back in at the bottom.
    @inlinable
    static func add(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let (partial, carry) = a.addingReportingOverflow(b)
        // Cannot overflow again: with a carry, partial is at most 2^64 - 2.
        return partial &+ (carry ? 1 : 0)
    }

    /// The sum of `count` bytes at any address, whose first byte is the first of a word.
    ///
    /// Four sums run side by side because each addition waits for the carry of the one before it.
    @inlinable
    static func sum(of base: UnsafeRawPointer?, _ count: Int) -> UInt64 {
        guard let base = unsafe base else { return 0 }
        var (a, b, c, d) = (UInt64(0), UInt64(0), UInt64(0), UInt64(0))
        var i = 0
        // SAFETY: callers own `count` readable bytes at `base`; every load ends at or before it.
        // The bytes may be shared with a guest that changes them: any value is a valid integer.
        while count &- i >= 32 {
            a = add(a, unsafe base.loadUnaligned(fromByteOffset: i, as: UInt64.self))
            b = add(b, unsafe base.loadUnaligned(fromByteOffset: i &+ 8, as: UInt64.self))
            c = add(c, unsafe base.loadUnaligned(fromByteOffset: i &+ 16, as: UInt64.self))
            d = add(d, unsafe base.loadUnaligned(fromByteOffset: i &+ 24, as: UInt64.self))
            i &+= 32
        }
        while count &- i >= 8 {
            a = add(a, unsafe base.loadUnaligned(fromByteOffset: i, as: UInt64.self))
            i &+= 8
        }
        if count &- i >= 4 {
            let word = unsafe base.loadUnaligned(fromByteOffset: i, as: UInt32.self)
            b = add(b, UInt64(word))
            i &+= 4
        }
        if count &- i >= 2 {
            let word = unsafe base.loadUnaligned(fromByteOffset: i, as: UInt16.self)
            c = add(c, UInt64(word))
            i &+= 2
        }
        if count &- i >= 1 {
            // The last word's missing second byte counts as 0.
            let byte = unsafe base.load(fromByteOffset: i, as: UInt8.self)
            d = add(d, UInt64(UInt16(byte).littleEndian))
        }
        return add(add(a, b), add(c, d))
    }
}
