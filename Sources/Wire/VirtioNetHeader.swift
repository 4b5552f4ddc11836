// The header that precedes a frame on virtio queues, tap devices and netmap ports that accept it
// (virtio 1.2, section 5.1.6). A guest writes it, so it is a wish, not a fact, until it was checked.

/// A virtio-net header: which parts of sending a frame were left to somebody else.
///
///      0      1      2         4         6           8            10           12
///     +------+------+---------+---------+-----------+------------+------------+
///     |flags |gso   |hdr_len  |gso_size |csum_start |csum_offset |num_buffers |
///     |      |_type |         |         |           |            | (12 only)  |
///     +------+------+---------+---------+-----------+------------+------------+
///
/// Little-endian (virtio 1.x). All offsets count from the first byte of the frame behind it.
public struct VirtioNetHeader: Sendable, Hashable, BitwiseCopyable {
    /// The length with `num_buffers`: virtio 1.x, or mergeable receive buffers.
    @inlinable public static var length: Int { @_noLocks get { 12 } }

    /// The length without: legacy devices and plain tap.
    @inlinable public static var legacyLength: Int { @_noLocks get { 10 } }

    /// In `flags`: the checksum at `csumStart + csumOffset` is still to be computed.
    @inlinable public static var needsChecksum: UInt8 { @_noLocks get { 1 } }

    /// In `flags`: the checksum was found right (towards a guest only).
    @inlinable public static var dataValid: UInt8 { @_noLocks get { 2 } }

    /// In `gsoType`: the congestion-window-reduced flag belongs on the first segment only.
    @inlinable public static var ecn: UInt8 { @_noLocks get { 0x80 } }

    /// What kind of segmentation a frame still needs.
    public enum Segmentation: UInt8, Sendable, Hashable, CaseIterable, BitwiseCopyable {
        /// None.
        case none = 0
        /// TCP over IPv4.
        case tcpv4 = 1
        /// Fragmentation of a UDP datagram by IP ("UFO").
        case udp = 3
        /// TCP over IPv6.
        case tcpv6 = 4
        /// Several UDP datagrams of one size ("USO").
        case udpL4 = 5

        /// The kind in a `gso_type` byte, whatever its ECN bit; nil where it is unknown.
        @_noLocks @inlinable
        public init?(gsoType: UInt8) {
            switch gsoType & ~VirtioNetHeader.ecn {
            case 0: self = .none
            case 1: self = .tcpv4
            case 3: self = .udp
            case 4: self = .tcpv6
            case 5: self = .udpL4
            default: return nil
            }
        }

        /// Whether two kinds are the same; written out so that it can be inlined elsewhere.
        @_noLocks @inlinable
        public static func == (a: Segmentation, b: Segmentation) -> Bool {
            a.rawValue == b.rawValue
        }
    }

    /// Flag bits; those unknown here are ignored.
    public var flags: UInt8

    /// A `Segmentation`, possibly with the ECN bit.
    public var gsoType: UInt8

    /// A hint at the length of all headers.
    ///
    /// Never trusted, never used.
    public var hdrLen: UInt16

    /// Payload per segment.
    public var gsoSize: UInt16

    /// Where the bytes that the checksum covers begin; they end with the frame.
    public var csumStart: UInt16

    /// Where the checksum is to be stored, counted from `csumStart`.
    public var csumOffset: UInt16

    /// How many buffers hold the frame (towards a guest only).
    public var numBuffers: UInt16

    /// Makes a header; without arguments, that of a complete frame.
    @_noLocks @inlinable
    public init(
        flags: UInt8 = 0,
        gsoType: UInt8 = 0,
        hdrLen: UInt16 = 0,
        gsoSize: UInt16 = 0,
        csumStart: UInt16 = 0,
        csumOffset: UInt16 = 0,
        numBuffers: UInt16 = 0
    ) {
        self.flags = flags
        self.gsoType = gsoType
        self.hdrLen = hdrLen
        self.gsoSize = gsoSize
        self.csumStart = csumStart
        self.csumOffset = csumOffset
        self.numBuffers = numBuffers
    }

    /// Whether the checksum is still to be computed.
    @inlinable public var needsChecksum: Bool { @_noLocks get { flags & Self.needsChecksum != 0 } }

    /// What kind of segmentation is still to be done, or nil where it is unknown.
    @inlinable public var segmentation: Segmentation? {
        @_noLocks get { Segmentation(gsoType: gsoType) }
    }

    /// Whether the ECN bit is set.
    @inlinable public var hasECN: Bool { @_noLocks get { gsoType & Self.ecn != 0 } }

    /// Where the checksum is to be stored, counted from the beginning of the frame.
    @inlinable public var checksumPosition: Int {
        @_noLocks get { Int(csumStart) &+ Int(csumOffset) }
    }
}

// MARK: Bytes

extension VirtioNetHeader {
    /// Reads a header from the beginning of a span, or fails where it is shorter.
    ///
    /// - Parameters:
    ///   - bytes: A private copy: a header that stays in shared memory can change while it is read.
    ///   - length: 12, or 10 for a header without `numBuffers`, which is then 0.
    @inlinable
    public init?(_ bytes: borrowing Span<UInt8>, length: Int = Self.length) {
        guard length >= Self.legacyLength, bytes.count >= length else { return nil }
        flags = bytes[0]
        gsoType = bytes[1]
        hdrLen = bytes.littleEndian16(2)
        gsoSize = bytes.littleEndian16(4)
        csumStart = bytes.littleEndian16(6)
        csumOffset = bytes.littleEndian16(8)
        numBuffers = length >= Self.length ? bytes.littleEndian16(10) : 0
    }

    /// Writes the header to the beginning of a span, which must have room for it.
    ///
    /// - Parameters:
    ///   - bytes: Where to write.
    ///   - length: 12, or 10 to leave `numBuffers` out.
    @inlinable
    public func encode(into bytes: inout MutableSpan<UInt8>, length: Int = Self.length) {
        precondition(length >= Self.legacyLength, "a virtio-net header takes 10 or 12 bytes")
        precondition(bytes.count >= length, "no room for the virtio-net header")
        bytes[0] = flags
        bytes[1] = gsoType
        bytes.storeLittleEndian(hdrLen, at: 2)
        bytes.storeLittleEndian(gsoSize, at: 4)
        bytes.storeLittleEndian(csumStart, at: 6)
        bytes.storeLittleEndian(csumOffset, at: 8)
        if length >= Self.length { bytes.storeLittleEndian(numBuffers, at: 10) }
    }
}
