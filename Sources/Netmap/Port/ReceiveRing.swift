// Frames that have come to a port, where they lie.

public import CNetmap

/// One frame of a receive ring, in one or more buffers.
@safe public struct ReceivedFrame: ~Copyable, ~Escapable {
    @usableFromInline let ring: PortRing
    @usableFromInline let first: Int
    /// How many slots it takes.
    public let slotCount: Int

    @usableFromInline @_lifetime(borrow source)
    init(_ source: borrowing ReceiveRing, at first: Int, slots: Int) {
        ring = source.ring
        self.first = first
        slotCount = slots
    }

    /// Bytes of the whole frame.
    @inlinable public var length: Int {
        var length = 0
        for index in 0..<slotCount { length = length &+ bytes(ofSlot: index).count }
        return length
    }

    /// The frame, or what of it is in its first buffer.
    @inlinable public var bytes: Span<UInt8> {
        @_lifetime(borrow self) get { bytes(ofSlot: 0) }
    }

    /// The bytes in one of its buffers.
    @_lifetime(borrow self) @inlinable
    public func bytes(ofSlot index: Int) -> Span<UInt8> {
        precondition((0..<slotCount).contains(index), "the frame has fewer slots")
        // SAFETY: a buffer's number and a length, loaded once and brought into bounds.
        let word = unsafe nm_load64(ring.slot(first &+ index))
        let length = min(Int((word &>> 32) & 0xffff), ring.bufferSize)
        let address = unsafe ring.buffer(UInt32(truncatingIfNeeded: word))
        let start = unsafe address.assumingMemoryBound(to: UInt8.self)
        let span = unsafe Span(_unsafeStart: start, count: length)
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    /// What its first slot says.
    @inlinable public var flags: SlotFlags {
        SlotFlags(rawValue: unsafe nm_load16(ring.slot(first) + NM_SLOT_FLAGS))
    }

    /// Copies the frame, as far as it fits.
    ///
    /// - Returns: how many bytes were copied.
    public func copy(into span: inout MutableSpan<UInt8>) -> Int {
        unsafe span.withUnsafeMutableBufferPointer { room in
            var done = 0
            for index in 0..<slotCount {
                let piece = bytes(ofSlot: index)
                let n = min(piece.count, room.count - done)
                guard n > 0, let to = room.baseAddress else { continue }
                unsafe piece.withUnsafeBufferPointer { from in
                    guard let start = from.baseAddress else { return }
                    // SAFETY: `n` bytes are there on both sides.
                    unsafe nm_copy(to + done, start, n)
                }
                done += n
            }
            return done
        }
    }

    /// A copy of the frame.
    public var array: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: length)
        var span = bytes.mutableSpan
        _ = copy(into: &span)
        return bytes
    }
}

/// The receive direction of a port's ring: frames that have come and were not given back.
///
/// `Port.syncReceive`, `Port.poll` and `Port.wait` bring new ones, and give back those that were released.
@safe public struct ReceiveRing: ~Copyable, ~Escapable {
    @usableFromInline let ring: PortRing

    @_lifetime(borrow port)
    init(_ port: borrowing Port, _ index: Int) {
        ring = PortRing(port.core, RingNumber(.receive, index))
    }

    /// Slots that hold frames.
    @inlinable public var count: Int { ring.count }
    /// Slots of the ring, of which one always stays with the engine.
    @inlinable public var slotCount: Int { ring.slotCount }
    /// Bytes of a slot's buffer.
    @inlinable public var bufferSize: Int { ring.bufferSize }

    /// Hands whole frames to `body`, the oldest first, and releases them.
    ///
    /// - Returns: how many frames there were, at most `limit`.
    @discardableResult @inlinable
    public mutating func receive<E: Error>(
        limit: Int = .max,
        _ body: (borrowing ReceivedFrame) throws(E) -> Void
    ) throws(E) -> Int {
        let available = count
        var frames = 0
        var done = 0
        // All that `body` is done with is released at once, also if it throws.
        defer { if done > 0 { ring.advance(done) } }
        while frames < limit {
            let slots = frameSlots(at: done, available)
            if slots == 0 { break }
            try body(ReceivedFrame(self, at: done, slots: slots))
            done = done &+ slots
            frames = frames &+ 1
        }
        return frames
    }

    /// How many slots the frame takes that begins `offset` slots after the oldest; 0 if there is none, or
    /// its end has not come yet.
    @_noLocks @inlinable
    public func frameSlots(at offset: Int = 0) -> Int { frameSlots(at: offset, count) }

    @_noLocks @inlinable
    func frameSlots(at offset: Int, _ available: Int) -> Int {
        var slots = 0
        while offset &+ slots < available {
            // SAFETY: inside of the program's part of the ring.
            let flags = unsafe nm_load16(ring.slot(offset &+ slots) + NM_SLOT_FLAGS)
            slots = slots &+ 1
            if flags & UInt16(NS_MOREFRAG) == 0 { return slots }
        }
        // A chain that fills the whole ring never ends.
        return offset == 0 && available == ring.slotCount &- 1 ? slots : 0
    }

    /// The frame of `slots` slots that begins `offset` slots after the oldest.
    @_lifetime(borrow self) @inlinable
    public func frame(at offset: Int, slots: Int = 1) -> ReceivedFrame {
        precondition(
            offset >= 0 && slots > 0 && offset <= count &- slots,
            "looked at slots that hold no frames"
        )
        return ReceivedFrame(self, at: offset, slots: slots)
    }

    /// Lets `body` change the bytes of the slot at `offset` where they are.
    @inlinable
    public mutating func edit<Result>(
        at offset: Int,
        _ body: (inout MutableSpan<UInt8>) -> Result
    ) -> Result {
        precondition(offset >= 0 && offset < count, "edited a slot that holds no frame")
        // SAFETY: as in `ReceivedFrame.bytes`.
        let word = unsafe nm_load64(ring.slot(offset))
        let length = min(Int((word &>> 32) & 0xffff), ring.bufferSize)
        let address = unsafe ring.buffer(UInt32(truncatingIfNeeded: word))
        let start = unsafe address.assumingMemoryBound(to: UInt8.self)
        var span = unsafe MutableSpan(_unsafeStart: start, count: length)
        return body(&span)
    }

    /// Releases the oldest `n` slots; the next sync gives them back.
    @_noLocks @inlinable public mutating func release(_ n: Int) {
        precondition(n >= 0 && n <= count, "released more slots than hold frames")
        ring.advance(n)
    }

    /// Has waiting end only when more frames come, whatever is there already.
    @_noLocks @inlinable public mutating func wakeOnlyForMore() { ring.wakeOnlyForMore() }

    /// When the ring was synced last: seconds and microseconds of the clock on the wall.
    @inlinable public var timestamp: (seconds: Int64, microseconds: Int64) {
        // SAFETY: fields of the ring's header.
        unsafe (
            Int64(bitPattern: nm_load64(ring.base + NM_RING_TS)),
            Int64(bitPattern: nm_load64(ring.base + NM_RING_TS + 8))
        )
    }
}
