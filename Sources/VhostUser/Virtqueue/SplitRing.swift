// The split format: a descriptor table, a ring of available heads, a ring of used heads
// (virtio 1.2, section 2.7).

public import CNetmap

/// A split ring, seen from the device.
///
/// Indices run free in 16 bits.
@safe public struct SplitRing: RingFormat, ~Copyable {
    @usableFromInline let descriptors: UnsafeMutableRawPointer
    @usableFromInline let available: UnsafeMutableRawPointer
    @usableFromInline let used: UnsafeMutableRawPointer
    /// Entries. (`RingFormat`)
    public let size: UInt16
    @usableFromInline let mask: UInt16
    @usableFromInline let eventIndex: Bool
    @usableFromInline var seen: UInt16
    @usableFromInline var interrupts: InterruptState
    /// Where the queue begins. (`RingFormat`)
    public let start: RingPosition

    /// Begins at used.idx, whatever the base.
    ///
    /// After a crash of the back-end the two can differ; the entries between were never returned, so
    /// they are taken again (vhost-user-spec 2.6, rule 4).
    public init(_ setup: QueueSetup) {
        // SAFETY: the setup's rings are mapped in full (its contract).
        unsafe descriptors = unsafe setup.descriptors
        unsafe available = unsafe setup.available
        unsafe used = unsafe setup.used
        size = unsafe setup.size
        mask = unsafe setup.size &- 1
        eventIndex = unsafe setup.features & Feature.eventIndex != 0
        let index = unsafe nm_load16_acquire(setup.used + NM_VRING_USED_IDX)
        seen = index
        interrupts = InterruptState(index)
        start = RingPosition(index)
        disarm()
    }

    /// NEXT, WRITE and INDIRECT. (`RingFormat`)
    @_noLocks @inlinable public static func flags(_ descriptor: Descriptor) -> UInt16 {
        UInt16(truncatingIfNeeded: descriptor.word &>> 32)
    }

    /// The other half of the word. (`RingFormat`)
    @_noLocks @inlinable public static func tag(_ descriptor: Descriptor) -> UInt16 {
        UInt16(truncatingIfNeeded: descriptor.word &>> 48)
    }

    /// The place of the next descriptor. (`RingFormat`)
    @_noLocks @inlinable public static func successor(inTable index: Int, tag: UInt16) -> Int {
        Int(tag)
    }

    /// How indirect tables end. (`RingFormat`)
    @inlinable public static var tablesAreLinked: Bool { @_noLocks get { true } }

    /// Whether there is an entry at `position`. (`RingFormat`)
    @_noLocks @inlinable
    public mutating func availability(_ position: RingPosition) -> Int {
        let index = UInt16(truncatingIfNeeded: position)
        if index != seen { return 1 }
        // SAFETY: a fixed offset in the available ring.
        let now = unsafe nm_load16_acquire(available + NM_VRING_AVAIL_IDX)
        if now == index { return 0 }
        if now &- index > size { return -1 }
        seen = now
        return 1
    }

    /// After a fault. (`RingFormat`)
    @_noLocks @inlinable
    public mutating func forget(_ position: RingPosition) {
        seen = UInt16(truncatingIfNeeded: position)
    }

    /// The chain at `position`. (`RingFormat`)
    @_noLocks @inlinable
    public func head(_ position: RingPosition) -> UInt16 {
        let index = Int(UInt16(truncatingIfNeeded: position) & mask)
        // SAFETY: masked, so inside the ring.
        return unsafe nm_load16(available + NM_VRING_AVAIL_RING + 2 &* index)
    }

    /// One load of two words. (`RingFormat`)
    @_noLocks @inlinable
    public func descriptor(_ index: Int) -> Descriptor {
        // SAFETY: `index` is below `size` (caller), so inside the table.
        let cell = unsafe descriptors + index &* NM_VRING_DESC_SIZE
        return unsafe Descriptor(address: nm_load64(cell), word: nm_load64(cell + 8))
    }

    /// The place of the next descriptor. (`RingFormat`)
    @_noLocks @inlinable
    public func successor(inRing index: Int, tag: UInt16) -> Int { Int(tag) }

    /// The position behind a chain. (`RingFormat`)
    @_noLocks @inlinable
    public func advance(_ position: RingPosition, by descriptors: Int) -> RingPosition {
        RingPosition(UInt16(truncatingIfNeeded: position) &+ 1)
    }

    /// What the guest knows the chain by. (`RingFormat`)
    @_noLocks @inlinable
    public static func identifier(head: UInt16, lastTag: UInt16) -> UInt16 { head }

    /// Returns a chain. (`RingFormat`)
    @_noLocks @inlinable
    public mutating func setUsed(
        _ position: RingPosition,
        id: UInt16,
        length: UInt32,
        descriptors: Int
    ) {
        let index = Int(UInt16(truncatingIfNeeded: position) & mask)
        // SAFETY: masked, so inside the ring.
        unsafe nm_store64(
            used + NM_VRING_USED_RING + NM_VRING_USED_ELEM_SIZE &* index,
            UInt64(id) | UInt64(length) &<< 32
        )
    }

    /// Shows what was returned. (`RingFormat`)
    @_noLocks @inlinable
    public mutating func publish(_ position: RingPosition) {
        // SAFETY: a fixed offset in the used ring.
        unsafe nm_store16_release(used + NM_VRING_USED_IDX, UInt16(truncatingIfNeeded: position))
        interrupts.hasNews = true
    }

    /// Whether to interrupt. (`RingFormat`)
    ///
    /// virtio 1.2, section 2.7.10.
    @_noLocks @inlinable
    public mutating func needsInterrupt(_ position: RingPosition) -> Bool {
        let new = UInt16(truncatingIfNeeded: position)
        guard let (old, isFirst) = interrupts.ask(new) else { return false }
        // The used index must be visible before we read whether the guest looks at it.
        nm_fence()
        // SAFETY: fixed offsets in the available ring; used_event follows its entries.
        guard eventIndex else {
            return unsafe nm_load16(available + NM_VRING_AVAIL_FLAGS) & 1 == 0
        }
        let event = unsafe nm_load16(available + NM_VRING_AVAIL_RING + 2 &* Int(size))
        return isFirst || new &- event &- 1 < new &- old
    }

    /// Asks for a kick. (`RingFormat`)
    @_noLocks @inlinable
    public func arm(_ position: RingPosition) -> Bool {
        let index = UInt16(truncatingIfNeeded: position)
        // SAFETY: fixed offsets in the used ring; avail_event follows its entries.
        if eventIndex {
            unsafe nm_store16(
                used + NM_VRING_USED_RING + NM_VRING_USED_ELEM_SIZE &* Int(size),
                index
            )
        } else {
            unsafe nm_store16(used + NM_VRING_USED_FLAGS, 0)
        }
        nm_fence()
        return hasEntry(position)
    }

    /// Looks without taking. (`RingFormat`)
    @_noLocks @inlinable
    public func hasEntry(_ position: RingPosition) -> Bool {
        // SAFETY: a fixed offset in the available ring.
        unsafe nm_load16_acquire(available + NM_VRING_AVAIL_IDX)
            != UInt16(truncatingIfNeeded: position)
    }

    /// Asks for no kicks. (`RingFormat`)
    @_noLocks @inlinable
    public func disarm() {
        // With event-idx the event stays behind and is not met again for 65536 entries.
        // SAFETY: a fixed offset in the used ring.
        if !eventIndex { unsafe nm_store16(used + NM_VRING_USED_FLAGS, 1) }
    }

    /// What `GET_VRING_BASE` answers. (`RingFormat`)
    @_noLocks @inlinable
    public func base(_ position: RingPosition) -> UInt32 { position & 0xffff }
}
