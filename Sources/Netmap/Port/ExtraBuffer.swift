// Buffers of a region that are in no ring: where frames wait that no ring has room for.

import CNetmap

/// A buffer of a port's region that the program has for itself.
///
/// Exchanged with a slot's buffer, it holds a received frame without a copy for as long as the program
/// likes. It goes back to its port at the end of its life, and keeps the port bound until then.
@safe public struct ExtraBuffer: ~Copyable, Sendable {
    private let core: PortCore
    private var number: UInt32

    init?(_ core: PortCore) {
        guard let number = core.takeExtra() else { return nil }
        self.core = core
        self.number = number
    }

    deinit { core.putExtra(number) }

    /// The bytes in it.
    public var bytes: MutableSpan<UInt8> {
        @_lifetime(&self) mutating get {
            // SAFETY: a buffer of the region that nobody else has; the core keeps it mapped.
            let span = unsafe MutableSpan(
                _unsafeStart: core.buffer(number).assumingMemoryBound(to: UInt8.self),
                count: Int(core.binding.buffer_size)
            )
            return unsafe _overrideLifetime(span, mutating: &self)
        }
    }

    /// Takes the frame in the slot `offset` places after the oldest, and leaves this buffer there.
    ///
    /// - Returns: the frame's length; nil if the ring is in another region or the slot's buffer is none.
    public mutating func exchange(
        with ring: inout ReceiveRing,
        at offset: Int = 0
    ) -> Int? {
        precondition(offset >= 0 && offset < ring.count, "exchanged a slot that holds no frame")
        guard let word = exchange(ring.ring, offset) else { return nil }
        return min(Int((word &>> 32) & 0xffff), Int(core.binding.buffer_size))
    }

    /// Has the free slot at `offset` send `length` bytes of this buffer, for which its own comes back.
    ///
    /// - Returns: false if the ring is in another region or the slot's buffer is none.
    public mutating func exchange(
        with ring: inout TransmitRing,
        at offset: Int = 0,
        length: Int
    ) -> Bool {
        precondition(offset >= 0 && offset < ring.space, "exchanged a slot that is not free")
        guard exchange(ring.ring, offset) != nil else { return false }
        ring.reuse(at: offset, length: length)
        return true
    }

    private mutating func exchange(_ ring: PortRing, _ offset: Int) -> UInt64? {
        let slot = unsafe ring.slot(offset)
        // SAFETY: a slot of the program's; the number in it is checked before it becomes ours.
        let word = unsafe nm_load64(slot)
        let other = UInt32(truncatingIfNeeded: word)
        let own = unsafe core.region.base + Int(core.binding.buffer_offset)
        guard unsafe ring.buffers == own, other >= 2, other < core.binding.buffer_count else {
            return nil
        }
        unsafe nm_store64(slot, UInt64(number) | UInt64(NS_BUF_CHANGED) &<< 48)
        number = other
        return word
    }
}
