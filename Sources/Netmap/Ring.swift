// The owner's side of a netmap ring: what a program reads frames from and writes frames to.

public import CNetmap

/// One direction of a port, as its owner sees it: the slots `head ..< tail` are the owner's.
///
/// A ring owns nothing; the `Region` that it was made from must outlive it.
@safe public struct Ring: ~Copyable {
    @usableFromInline let base: UnsafeMutableRawPointer
    @usableFromInline let buffers: UnsafeMutableRawPointer
    /// Slots in the ring, of which one always stays with the switch.
    public let slotCount: Int
    /// Bytes a buffer.
    public let bufferSize: Int
    @usableFromInline var head = 0

    init(unsafeBase base: UnsafeMutableRawPointer, slots: Int) {
        // SAFETY: `Region` laid the ring out at `base`; its constant fields are read once.
        unsafe self.base = unsafe base
        unsafe buffers = unsafe base + Int(base.load(as: Int64.self))
        slotCount = slots
        bufferSize = Int(unsafe nm_load32(base + 12))
        head = Int(unsafe nm_load32(base + NM_RING_HEAD))
    }

    /// How many slots are the owner's: free ones to transmit, or filled ones to receive.
    @inlinable public var count: Int {
        // SAFETY: the field's offset is fixed by the ABI and the region outlives the ring.
        let tail = Int(unsafe nm_load32_acquire(base + NM_RING_TAIL))
        return tail >= head ? tail &- head : tail &- head &+ slotCount
    }

    /// The bytes of the frame in the slot `offset` places after head.
    ///
    /// - Returns: what `body` returns for a buffer of `slot length` bytes.
    public func withFrame<Result>(
        at offset: Int,
        _ body: (borrowing RawSpan) -> Result
    ) -> Result {
        precondition(offset >= 0 && offset < count, "read a slot that is not ours")
        let cell = unsafe slotCell(offset)
        // SAFETY: the slot is ours (checked), its buffer index was put there by the switch's own
        // layout, and the length is clamped to the buffer.
        let word = unsafe nm_load64(cell)
        let length = min(Int((word &>> 32) & 0xffff), bufferSize)
        let address = unsafe buffers + Int(UInt32(truncatingIfNeeded: word)) * bufferSize
        return body(unsafe RawSpan(_unsafeStart: address, byteCount: length))
    }

    /// Fills the slot `offset` places after head: `body` writes the frame and returns its length.
    public func fill(at offset: Int, _ body: (inout MutableRawSpan) -> Int) {
        precondition(offset >= 0 && offset < count, "wrote a slot that is not ours")
        let cell = unsafe slotCell(offset)
        // SAFETY: as in `withFrame`; the body gets the whole buffer and no more.
        let index = unsafe nm_load32(cell)
        let address = unsafe buffers + Int(index) * bufferSize
        var span = unsafe MutableRawSpan(_unsafeStart: address, byteCount: bufferSize)
        let length = body(&span)
        precondition((0...bufferSize).contains(length), "a frame longer than its buffer")
        unsafe nm_store64(cell, UInt64(index) | UInt64(length) &<< 32)
    }

    /// Gives the first `n` slots to the switch: frames to send, or buffers that were read.
    @inlinable public mutating func advance(_ n: Int) {
        precondition(n >= 0 && n <= count, "gave away more slots than the ring holds")
        head = head &+ n >= slotCount ? head &+ n &- slotCount : head &+ n
        let value = UInt32(truncatingIfNeeded: head)
        // SAFETY: fixed offsets inside the ring's header.
        unsafe nm_store32(base + NM_RING_CUR, value)
        unsafe nm_store32_release(base + NM_RING_HEAD, value)
    }

    private func slotCell(_ offset: Int) -> UnsafeMutableRawPointer {
        let index = (head &+ offset) % slotCount
        return unsafe base + NM_RING_SLOTS + index &* NM_SLOT_SIZE
    }
}
