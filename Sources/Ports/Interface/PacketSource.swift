// Frames from the ring of a packet socket, handed out where the kernel put them.
//
// The kernel fills a block and gives it to us, frame after frame in a list of offsets; we give it back when
// its last frame is through. A tag that the kernel has taken off is put back into the ring itself, so that a
// frame that is handed out twice is the same frame.

import CNetmap
public import Netmap

/// The receive ring of a packet socket (TPACKET_V3).
///
/// One worker serves it. Does not own the ring.
@safe public struct PacketSource: ~Copyable {
    // SAFETY (whole type): `base` has `blocks * blockSize` bytes (init). Offsets in it come from the kernel, and
    // are checked all the same before they are followed.
    private let base: UnsafeMutableRawPointer
    private let blocks: Int
    private let blockSize: Int
    private let file: Int32
    private let counters: DirectionCounters

    /// A place in the open block.
    private struct Mark: BitwiseCopyable {
        /// Where the header of the next frame is.
        var offset = 0
        /// How many frames there are from it on.
        var left = 0
    }

    private var block = 0
    private var isOpen = false
    /// The oldest frame that is not through.
    private var first = Mark()
    /// The first that no batch has taken.
    private var next = Mark()
    /// How many frames are through.
    public private(set) var place: UInt32 = 0
    /// Why nothing comes any more; never: the control plane watches the interface.
    public var fault: Int32 { @_noLocks get { 0 } }

    /// Reads a ring that outlives the source.
    ///
    /// - Parameters:
    ///   - base: the ring.
    ///   - blocks: of how many blocks.
    ///   - blockSize: of how many bytes.
    ///   - file: the socket, which is asked for losses; -1 for none.
    ///   - counters: where those are counted.
    public init(
        unsafeBase base: UnsafeMutableRawPointer,
        blocks: Int,
        blockSize: Int,
        file: Int32,
        counters: DirectionCounters
    ) {
        unsafe self.base = base
        self.blocks = blocks
        self.blockSize = blockSize
        self.file = file
        self.counters = counters
    }

    deinit { countLosses() }

    private var start: UnsafeMutableRawPointer {
        @_noLocks get { unsafe base + block &* blockSize }
    }

    /// Takes the next batch, at most `limit` frames, all of one block.
    @_noLocks
    public mutating func collect(
        into batch: inout FrameBatch,
        counters: DirectionCounters,
        limit: Int
    ) {
        guard open() else { return }
        let begin = batch.count
        var bytes = 0
        var offloaded = 0
        while next.left > 0, batch.count &- begin < limit, batch.count < FrameBatch.frameCapacity {
            let offset = next.offset
            // SAFETY: `isSound` has found the header inside the block.
            let header = unsafe start + offset
            next.left = next.left &- 1
            next.offset = unsafe offset &+ Int(nm_load32(header + Int(NM_TPACKET_NEXT)))
            if next.left > 0, !isSound(next.offset) {
                // Nothing behind it can be found.
                counters.drop(.malformed, next.left)
                next.left = 0
            }
            // What we sent ourselves; kernels from 4.20 on leave it out.
            if unsafe nm_load8(header + Int(NM_TPACKET_KIND))
                == UInt8(NM_PACKET_OUTGOING)
            {
                continue
            }
            if let reason = unsafe read(header, offset, into: &batch) {
                counters.drop(reason)
                continue
            }
            let frame = unsafe batch.frames[batch.count]
            if unsafe frame.offload { offloaded = offloaded &+ 1 }
            bytes = unsafe bytes &+ Int(frame.length)
            batch.count = batch.count &+ 1
        }
        counters.count(packets: batch.count &- begin, bytes: bytes, offloaded: offloaded)
    }

    /// Opens the next block if none is open.
    @_noLocks
    private mutating func open() -> Bool {
        if isOpen { return true }
        for _ in 0..<blocks {
            let status = unsafe nm_load32_acquire(start + Int(NM_BLOCK_STATUS))
            guard status & UInt32(NM_TP_USER) != 0 else { return false }
            if status & UInt32(NM_TP_LOSING) != 0 { countLosses() }
            first.left = unsafe Int(nm_load32(start + Int(NM_BLOCK_FRAMES)))
            first.offset = unsafe Int(nm_load32(start + Int(NM_BLOCK_FIRST)))
            if first.left > 0, !isSound(first.offset) {
                counters.drop(.malformed, first.left)
                first.left = 0
            }
            next = first
            isOpen = true
            if first.left > 0 { return true }
            close()
        }
        return false
    }

    /// Gives the block back to the kernel.
    @_noLocks
    private mutating func close() {
        unsafe nm_store32_release(
            start + Int(NM_BLOCK_STATUS),
            UInt32(NM_TP_KERNEL)
        )
        block = block &+ 1 == blocks ? 0 : block &+ 1
        isOpen = false
    }

    /// Whether a header can lie at an offset.
    @_noLocks
    private func isSound(_ offset: Int) -> Bool {
        offset >= 0 && offset &+ Int(NM_TPACKET_KIND) < blockSize && offset & 7 == 0
    }

    /// Enters the frame behind a header into a batch, whose count stays.
    ///
    /// - Returns: why it is not handed out, or nil.
    @_noLocks
    private func read(
        _ header: UnsafeMutableRawPointer,
        _ offset: Int,
        into batch: inout FrameBatch
    ) -> DropReason? {
        let captured = unsafe Int(nm_load32(header + Int(NM_TPACKET_CAPTURED)))
        let length = unsafe Int(nm_load32(header + Int(NM_TPACKET_LENGTH)))
        let mac = unsafe Int(nm_load16(header + Int(NM_TPACKET_MAC)))
        if captured < length || length &+ 4 > FrameBatch.maximumFrameLength { return .oversize }
        let room = Int(NM_TPACKET_SIZE) &+ Int(NM_VNET_HEADER) &+ 4
        guard length >= 14, mac >= room, offset &+ mac &+ captured <= blockSize else {
            return .malformed
        }
        unsafe PacketSource.restoreTag(header)
        let start = unsafe header + Int(nm_load16(header + Int(NM_TPACKET_MAC)))
        var frame = unsafe Frame(
            address: start,
            length: nm_load32(header + Int(NM_TPACKET_LENGTH))
        )
        let offload = unsafe RawOffload(low: nm_load64(start - 10), high: nm_load16(start - 2))
        if offload.isRequest {
            unsafe frame.offload = true
            unsafe batch.headers[batch.count] = offload
        }
        unsafe batch.frames[batch.count] = unsafe frame
        return nil
    }

    /// Puts a VLAN tag that the kernel holds beside a frame back into it.
    ///
    /// The frame and the virtio-net header before it begin four bytes earlier then.
    @_noLocks
    static func restoreTag(_ header: UnsafeMutableRawPointer) {
        // SAFETY: the caller has checked that there is room before the frame.
        let status = unsafe nm_load32(header + Int(NM_TPACKET_STATUS))
        guard status & UInt32(NM_TP_TAGGED) != 0 else { return }
        let mac = unsafe nm_load16(header + Int(NM_TPACKET_MAC)) &- 4
        let frame = unsafe header + Int(mac)
        var low = unsafe nm_load64(frame - 6)
        let high = unsafe nm_load16(frame + 2)
        // What the checksum covers begins behind the tag.
        if low & 1 != 0 { low = low &+ (4 &<< 48) }
        unsafe nm_store64(frame - 10, low)
        unsafe nm_store16(frame - 2, high)
        let hasType = status & UInt32(NM_TP_TPID) != 0
        let type = unsafe hasType ? nm_load16(header + Int(NM_TPACKET_TPID)) : 0x8100
        let tag = unsafe nm_load32(header + Int(NM_TPACKET_TCI)) & 0xffff
        unsafe insert(UInt32(type) &<< 16 | tag, before: frame + 4)
        unsafe nm_store16(header + Int(NM_TPACKET_MAC), mac)
        let captured = unsafe header + Int(NM_TPACKET_CAPTURED)
        unsafe nm_store32(captured, nm_load32(captured) &+ 4)
        let length = unsafe header + Int(NM_TPACKET_LENGTH)
        unsafe nm_store32(length, nm_load32(length) &+ 4)
        unsafe nm_store32(
            header + Int(NM_TPACKET_STATUS),
            status & ~UInt32(NM_TP_TAGGED)
        )
    }

    /// Puts a tag behind the addresses of a frame, which begins four bytes earlier then.
    @_noLocks
    static func insert(_ tag: UInt32, before frame: UnsafeMutableRawPointer) {
        // SAFETY: the caller has checked that four bytes before the frame are free, and that it has addresses.
        let addresses = unsafe (nm_load64(frame), nm_load32(frame + 8))
        unsafe nm_store64(frame - 4, addresses.0)
        unsafe nm_store32(frame + 4, addresses.1)
        unsafe nm_store32(frame + 8, tag.bigEndian)
    }

    /// Frees the frames that were collected.
    @_noLocks
    public mutating func completeCollected() {
        guard isOpen else { return }
        place = place &+ UInt32(truncatingIfNeeded: first.left &- next.left)
        first = next
        if first.left == 0 { close() }
    }

    /// Leaves what was collected where it is, to be collected again.
    @_noLocks public mutating func forgetCollected() { next = first }

    /// Looks once more before the worker sleeps.
    ///
    /// - Returns: whether there is something after all.
    @_noLocks
    public mutating func arm() -> Bool {
        countLosses()
        return open()
    }

    /// Counts what the kernel had to drop, because the ring was full.
    @_noLocks
    private func countLosses() {
        guard file >= 0 else { return }
        let n = nm_packet_losses(file)
        if n > 0 { counters.drop(.ringFull, Int(n)) }
    }
}
