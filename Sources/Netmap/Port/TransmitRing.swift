// Frames for a port: written into buffers in place, copied, or exchanged for what another port received.

public import CNetmap

/// The transmit direction of a port's ring: free slots to fill.
///
/// What was filled goes with the next `Port.syncTransmit`, `Port.poll` or `Port.wait`.
@safe public struct TransmitRing: ~Copyable, ~Escapable {
    @usableFromInline let ring: PortRing

    @_lifetime(borrow port)
    init(_ port: borrowing Port, _ index: Int) {
        ring = PortRing(port.core, RingNumber(.transmit, index))
    }

    /// Free slots.
    @inlinable public var space: Int { ring.count }
    /// Slots of the ring, of which one always stays with the engine.
    @inlinable public var slotCount: Int { ring.slotCount }
    /// Bytes of a slot's buffer.
    @inlinable public var bufferSize: Int { ring.bufferSize }
    /// Whether all that was given away has been sent (netmap's nm_tx_pending, negated).
    @inlinable public var isDrained: Bool {
        ring.slotCount == 0 || ring.count == ring.slotCount &- 1
    }

    // MARK: Whole frames

    /// Sends a copy of `frame`, in as many slots as it needs.
    ///
    /// - Returns: whether there was room.
    @discardableResult
    public mutating func send(_ frame: borrowing Span<UInt8>, flags: SlotFlags = []) -> Bool {
        let length = frame.count
        guard ring.slotCount > 0 else { return false }
        let needed = max(1, (length + ring.pieceSize - 1) / ring.pieceSize)
        guard needed <= ring.count, needed <= Int(NETMAP_MAX_FRAGS) else { return false }
        for slot in 0..<needed {
            let from = slot * ring.pieceSize
            let n = min(ring.pieceSize, length - from)
            let isLast = slot == needed - 1
            fill(at: slot, flags: isLast ? flags : flags.union(.moreFragments)) { buffer in
                unsafe frame.withUnsafeBufferPointer { bytes in
                    // SAFETY: `n` bytes from `from` on are inside of the frame, and fit the buffer.
                    unsafe buffer.withUnsafeMutableBufferPointer { room in
                        guard n > 0, let to = room.baseAddress,
                            let start = bytes.baseAddress
                        else { return }
                        unsafe nm_copy(to, start + from, n)
                    }
                }
                return n
            }
        }
        ring.advance(needed)
        return true
    }

    /// Sends a copy of `frame` to one port of the switch, whatever its addresses say.
    ///
    /// - Parameters:
    ///   - frame: what to send.
    ///   - number: the port's in VALE_LIST (`PortSpace.place(of:)`).
    /// - Returns: whether there was room; a number that no port has is counted as `no-destination`.
    @discardableResult
    public mutating func send(_ frame: borrowing Span<UInt8>, toPort number: Int) -> Bool {
        send(frame, flags: .port(number))
    }

    /// Fills up to `limit` free slots with a frame each, written in place.
    ///
    /// - Parameters:
    ///   - limit: most frames.
    ///   - body: gets the frame's number in the batch and a buffer with whatever is in it, and returns
    ///     the frame's length.
    /// - Returns: how many frames there are.
    @discardableResult @inlinable
    public mutating func send(
        limit: Int,
        _ body: (Int, inout MutableSpan<UInt8>) -> Int
    ) -> Int {
        let n = min(limit, ring.count)
        guard n > 0 else { return 0 }
        for index in 0..<n { fill(at: index) { body(index, &$0) } }
        ring.advance(n)
        return n
    }

    // MARK: Slots

    /// Writes the slot `offset` places after the first free one; `body` returns the length.
    @inlinable
    public mutating func fill(
        at offset: Int,
        flags: SlotFlags = [],
        _ body: (inout MutableSpan<UInt8>) -> Int
    ) {
        precondition(offset >= 0 && offset < ring.count, "filled a slot that is not free")
        let cell = unsafe ring.slot(offset)
        // SAFETY: the number is loaded once and brought into bounds; the body gets one buffer.
        let number = unsafe nm_load32(cell)
        var span = unsafe MutableSpan(
            _unsafeStart: ring.buffer(number).assumingMemoryBound(to: UInt8.self),
            count: ring.pieceSize
        )
        let length = body(&span)
        precondition(length >= 0 && length <= ring.pieceSize, "a frame longer than its buffer")
        unsafe nm_store64(
            cell,
            UInt64(number) | UInt64(length) &<< 32 | UInt64(flags.rawValue) &<< 48
        )
    }

    /// Says that the slot's buffer, as it is, holds `length` bytes to send.
    @inlinable
    public mutating func reuse(at offset: Int, length: Int, flags: SlotFlags = []) {
        precondition(offset >= 0 && offset < ring.count, "filled a slot that is not free")
        precondition(length >= 0 && length <= ring.pieceSize, "a frame longer than its buffer")
        let cell = unsafe ring.slot(offset)
        // SAFETY: a slot of the program's.
        let number = unsafe nm_load32(cell)
        unsafe nm_store64(
            cell,
            UInt64(number) | UInt64(length) &<< 32 | UInt64(flags.rawValue) &<< 48
        )
    }

    /// Sends what is in the buffers of up to `limit` free slots as frames of `length` bytes.
    ///
    /// - Returns: how many frames there are.
    @_noLocks @discardableResult @inlinable
    public mutating func reuse(limit: Int, length: Int) -> Int {
        precondition(length >= 0 && length <= ring.pieceSize, "a frame longer than its buffer")
        let n = min(limit, ring.count)
        guard n > 0 else { return 0 }
        var index = ring.head
        let high = UInt64(truncatingIfNeeded: length) &<< 32
        for left in 0..<n {
            // SAFETY: a slot of the program's, below `slotCount`.
            let cell = unsafe ring.base + NM_RING_SLOTS + index &* NM_SLOT_SIZE
            let flags = left == n &- 1 ? UInt64(NS_REPORT) &<< 48 : 0
            unsafe nm_store64(cell, UInt64(nm_load32(cell)) | high | flags)
            index = index &+ 1 == ring.slotCount ? 0 : index &+ 1
        }
        ring.advance(n)
        return n
    }

    /// Gives the first `n` slots away.
    @_noLocks @inlinable public mutating func advance(_ n: Int) {
        precondition(n >= 0 && n <= ring.count, "sent more slots than are free")
        ring.advance(n)
    }

    /// Has waiting end only when more slots come free, whatever is there already.
    @_noLocks @inlinable public mutating func wakeOnlyForMore() { ring.wakeOnlyForMore() }
}
