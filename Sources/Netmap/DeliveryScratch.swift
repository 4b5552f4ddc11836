// Memory that a worker lends to the sinks while they deliver a batch.

import CNetmap

/// Room for the descriptor chains that one frame is spread over.
///
/// One worker owns it.
@safe public struct DeliveryScratch: ~Copyable {
    /// Segments and chains that one frame may take at its receiver.
    @inlinable public static var capacity: Int { @_noLocks get { 1024 } }
    /// Where the frame goes, piece by piece.
    public let segments: UnsafeMutablePointer<Segment>
    /// Each chain's id, and in the high half how many descriptors it takes on its ring.
    public let chains: UnsafeMutablePointer<UInt32>
    /// How many bytes each chain gets.
    public let rooms: UnsafeMutablePointer<UInt32>

    /// Allocates it.
    public init() {
        let n = DeliveryScratch.capacity
        unsafe segments = .allocate(capacity: n)
        unsafe chains = .allocate(capacity: n)
        unsafe rooms = .allocate(capacity: n)
        // SAFETY: trivial types, read only where written before.
        unsafe UnsafeMutableRawPointer(segments).initializeMemory(
            as: UInt8.self,
            repeating: 0,
            count: n * MemoryLayout<Segment>.stride
        )
        unsafe chains.initialize(repeating: 0, count: n)
        unsafe rooms.initialize(repeating: 0, count: n)
    }

    deinit {
        unsafe segments.deallocate()
        unsafe chains.deallocate()
        unsafe rooms.deallocate()
    }
}

extension FrameBatch {
    /// Writes a virtio-net header and the bytes of `frame` into `pieces`, one after the other.
    ///
    /// - Parameters:
    ///   - frame: a frame of this batch.
    ///   - header: bytes 0 to 7 and 8 to 11 of the header.
    ///   - headerLength: how many of those bytes to write, 0 to 12.
    ///   - pieces: writable memory of at least `headerLength + frame.length` bytes.
    ///   - pieceCount: how many segments that is.
    @_noLocks
    public func scatter(
        _ frame: Frame,
        header: (UInt64, UInt32),
        headerLength: Int,
        into pieces: UnsafeMutablePointer<Segment>,
        _ pieceCount: Int
    ) {
        // SAFETY: the source checked the frame's segments, the sink the pieces; both loops stop at
        // the ends of either.
        var target = unsafe pieces[0]
        var piece = 0
        for i in 0..<headerLength {
            while unsafe target.length == 0 {
                piece += 1
                if piece == pieceCount { return }
                unsafe target = unsafe pieces[piece]
            }
            let byte =
                i < 8
                ? UInt8(truncatingIfNeeded: header.0 &>> UInt64(8 * i))
                : UInt8(truncatingIfNeeded: header.1 &>> UInt32(8 * (i - 8)))
            unsafe nm_store8(target.address, byte)
            unsafe target.address += 1
            unsafe target.length -= 1
        }
        var source = unsafe Segment(address: frame.address, length: Int(frame.headLength))
        var next = unsafe Int(frame.firstExtra)
        let end = unsafe next + Int(frame.extraCount)
        while true {
            while unsafe source.length == 0 {
                if next == end { return }
                unsafe source = unsafe segments[next]
                next += 1
            }
            while unsafe target.length == 0 {
                piece += 1
                if piece == pieceCount { return }
                unsafe target = unsafe pieces[piece]
            }
            let n = unsafe min(source.length, target.length)
            unsafe nm_copy(target.address, source.address, n)
            unsafe source.address += n
            unsafe source.length -= n
            unsafe target.address += n
            unsafe target.length -= n
        }
    }
}
