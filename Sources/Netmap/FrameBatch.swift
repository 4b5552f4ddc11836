// What a source hands to the switch and the switch to a sink: views of frames that stay where their
// sender put them (guest RAM, a netmap buffer), so that a frame is copied once, to its destination.

import CNetmap

/// A piece of memory that holds part of a frame.
@unsafe public struct Segment: BitwiseCopyable {
    /// Where the piece begins, in the engine's address space.
    public var address: UnsafeMutableRawPointer
    /// Its length in bytes.
    public var length: Int

    /// Makes a segment of `length` bytes at `address`, which the maker has checked.
    @_noLocks @inlinable public init(address: UnsafeMutableRawPointer, length: Int) {
        unsafe self.address = unsafe address
        unsafe self.length = length
    }
}

/// One frame of a batch: its first segment in place, further segments by index.
@unsafe public struct Frame: BitwiseCopyable {
    /// Where the frame begins (at the Ethernet header, behind any virtio-net header).
    public var address: UnsafeMutableRawPointer
    /// Bytes of the frame in its first segment.
    public var headLength: UInt32
    /// Bytes of the whole frame.
    public var length: UInt32
    /// What most frames do not have, in one word that is zero for them: index of the second segment
    /// (32 bits), how many segments follow the first (16 bits), whether there is an offload request.
    @usableFromInline var rest: UInt64

    /// Index of the second segment in the batch's segments.
    @inlinable public var firstExtra: UInt32 {
        @_noLocks get { unsafe UInt32(truncatingIfNeeded: rest) }
    }
    /// How many segments follow the first.
    @inlinable public var extraCount: UInt16 {
        @_noLocks get { unsafe UInt16(truncatingIfNeeded: rest &>> 32) }
    }
    /// Whether the frame asks its receiver for a checksum or segmentation (see `FrameBatch.headers`).
    @inlinable public var offload: Bool {
        @_noLocks get { unsafe rest & (1 &<< 48) != 0 }
        @_noLocks set { unsafe rest = rest & ~(1 &<< 48) | (newValue ? 1 &<< 48 : 0) }
    }
    /// Whether the frame is one segment and complete.
    @inlinable public var isPlain: Bool { @_noLocks get { unsafe rest == 0 } }

    /// Makes a complete frame in one segment; the maker has checked address and length.
    @_noLocks @inlinable public init(address: UnsafeMutableRawPointer, length: UInt32) {
        unsafe self.address = unsafe address
        unsafe headLength = length
        unsafe self.length = length
        unsafe rest = 0
    }

    /// Makes a frame of several segments; the maker has checked every address and length.
    @_noLocks @inlinable public init(
        address: UnsafeMutableRawPointer,
        headLength: UInt32,
        length: UInt32,
        firstExtra: UInt32 = 0,
        extraCount: UInt16 = 0
    ) {
        unsafe self.address = unsafe address
        unsafe self.headLength = headLength
        unsafe self.length = length
        // Without further segments their index says nothing, and the frame is plain.
        unsafe rest = extraCount == 0 ? 0 : UInt64(firstExtra) | UInt64(extraCount) &<< 32
    }
}

/// The first ten bytes of a virtio-net header, as its sender wrote them, in two words.
public struct RawOffload: BitwiseCopyable, Sendable {
    /// Bytes 0 to 7: flags, gso_type, hdr_len, gso_size, csum_start.
    public var low: UInt64
    /// Bytes 8 and 9: csum_offset.
    public var high: UInt16

    /// Makes a header from its bytes, read once from the sender's memory.
    @_noLocks @inlinable public init(low: UInt64, high: UInt16) {
        self.low = low
        self.high = high
    }

    /// No checksum and no segmentation asked for.
    @inlinable public static var none: RawOffload { @_noLocks get { RawOffload(low: 0, high: 0) } }

    /// `VIRTIO_NET_HDR_F_*`.
    @inlinable public var flags: UInt8 { @_noLocks get { UInt8(truncatingIfNeeded: low) } }
    /// `VIRTIO_NET_HDR_GSO_*`, with the ECN bit.
    @inlinable public var gsoType: UInt8 { @_noLocks get { UInt8(truncatingIfNeeded: low &>> 8) } }
    /// Where the checksum begins.
    @inlinable public var checksumStart: Int {
        @_noLocks get { Int(truncatingIfNeeded: low &>> 48) }
    }

    /// The header of a frame whose own headers have become longer, or shorter, at their beginning.
    ///
    /// The caller has made sure that no offset leaves its field.
    @_noLocks public func shifted(by distance: Int) -> RawOffload {
        var word = low
        if flags & 1 != 0 { word = word &+ UInt64(bitPattern: Int64(distance)) &<< 48 }
        let headerLength = Int(truncatingIfNeeded: (word &>> 16) & 0xffff)
        if headerLength != 0 {
            let moved = UInt64(truncatingIfNeeded: min(0xffff, max(0, headerLength &+ distance)))
            word = word & ~(0xffff &<< 16) | moved &<< 16
        }
        return RawOffload(low: word, high: high)
    }

    /// Whether the receiver has anything to do.
    @inlinable public var isRequest: Bool { @_noLocks get { flags & 1 != 0 || gsoType != 0 } }
}

/// Up to `frameCapacity` frames from one source, valid until the source takes them back.
///
/// Owns the arrays, not the frames. One worker uses it; nothing in it is shared.
@safe public struct FrameBatch: ~Copyable {
    /// How many frames fit: the sweet spot of batching is 32 to 64 (docs/performance.md).
    @inlinable public static var frameCapacity: Int { @_noLocks get { 64 } }
    /// How many segments one frame may have.
    @inlinable public static var segmentsPerFrame: Int { @_noLocks get { 1024 } }
    /// The largest frame that any port accepts: what the longest IPv6 payload makes with two VLAN tags.
    @inlinable public static var maximumFrameLength: Int { @_noLocks get { 65_597 } }

    /// How many frames there are.
    public var count = 0
    /// How many of the extra segments are in use.
    public var extraSegments = 0
    /// Whether the switch is not to learn where these frames came from (NS_NO_LEARN).
    public var isUnlearned = false
    /// The ports on the switch that frames are for, by their number in VALE_LIST.
    ///
    /// 0 leaves it to the addresses. Meaningful if `isUnlearned`.
    public let ports: UnsafeMutablePointer<UInt8>
    /// The frames.
    public let frames: UnsafeMutablePointer<Frame>
    /// The second and further segments of frames that have them.
    public let segments: UnsafeMutablePointer<Segment>
    /// The offload request of each frame; meaningful where `Frame.offload` is set.
    public let headers: UnsafeMutablePointer<RawOffload>
    /// How many extra segments fit.
    public let segmentCapacity: Int

    /// Makes an empty batch.
    ///
    /// The arrays are initialised so that a stale index reads zeroes, never a stale address.
    ///
    /// - Parameter more: how many extra segments it has room for beyond those that any source needs.
    public init(moreSegments more: Int = 0) {
        segmentCapacity = 2 * FrameBatch.segmentsPerFrame + more
        let frameCount = FrameBatch.frameCapacity
        unsafe frames = .allocate(capacity: frameCount)
        unsafe segments = .allocate(capacity: segmentCapacity)
        unsafe headers = .allocate(capacity: frameCount)
        unsafe ports = .allocate(capacity: frameCount)
        unsafe ports.initialize(repeating: 0, count: frameCount)
        // SAFETY: all three are trivial types, and every bit pattern of zeroes is a value that no
        // reader reaches before the source has written it (readers stop at `count`).
        unsafe UnsafeMutableRawPointer(frames)
            .initializeMemory(
                as: UInt8.self,
                repeating: 0,
                count: frameCount * MemoryLayout<Frame>.stride
            )
        unsafe UnsafeMutableRawPointer(segments)
            .initializeMemory(
                as: UInt8.self,
                repeating: 0,
                count: segmentCapacity * MemoryLayout<Segment>.stride
            )
        unsafe headers.initialize(repeating: .none, count: frameCount)
    }

    deinit {
        unsafe frames.deallocate()
        unsafe segments.deallocate()
        unsafe headers.deallocate()
        unsafe ports.deallocate()
    }

    /// Forgets all frames.
    @_noLocks @inlinable public mutating func removeAll() {
        count = 0
        extraSegments = 0
        isUnlearned = false
    }

    /// Whether a frame of the largest number of segments still fits.
    @inlinable public var hasRoom: Bool {
        @_noLocks get {
            count < FrameBatch.frameCapacity
                && extraSegments &+ FrameBatch.segmentsPerFrame <= segmentCapacity
        }
    }

    /// Copies bytes `offset ..< offset + length` of frame `index` to `destination`.
    ///
    /// - Returns: how many bytes there were, at most `length`.
    @_noLocks @discardableResult
    public func copy(
        _ index: Int,
        from offset: Int,
        length: Int,
        to destination: UnsafeMutableRawPointer
    ) -> Int {
        // SAFETY: every segment was checked against its owner's memory by the source that made the
        // batch; `destination` holds `length` bytes, which the caller promises.
        let frame = unsafe frames[index]
        var skip = offset
        var done = 0
        var segment = unsafe Segment(address: frame.address, length: Int(frame.headLength))
        var next = unsafe Int(frame.firstExtra)
        let end = unsafe next + Int(frame.extraCount)
        while done < length {
            if unsafe skip < segment.length {
                let n = unsafe min(length - done, segment.length - skip)
                unsafe nm_copy(destination + done, segment.address + skip, n)
                done += n
                skip = 0
            } else {
                skip -= unsafe segment.length
            }
            if next == end { break }
            unsafe segment = unsafe segments[next]
            next += 1
        }
        return done
    }

    /// Up to eight bytes of frame `index` as a little-endian number, across segments.
    ///
    /// Each byte is loaded once; bytes behind the frame's end count as zero.
    @_noLocks
    public func littleEndian(_ index: Int, from offset: Int, length: Int) -> UInt64 {
        // SAFETY: as in `copy`.
        let frame = unsafe frames[index]
        var segment = unsafe Segment(address: frame.address, length: Int(frame.headLength))
        var next = unsafe Int(frame.firstExtra)
        let end = unsafe next + Int(frame.extraCount)
        var position = -offset
        var value: UInt64 = 0
        while position < length {
            var i = max(0, -position)
            while unsafe i < segment.length && position + i < length {
                value |= UInt64(unsafe nm_load8(segment.address + i)) &<< UInt64(8 * (position + i))
                i += 1
            }
            position += unsafe segment.length
            if next == end { break }
            unsafe segment = unsafe segments[next]
            next += 1
        }
        return value
    }
}
