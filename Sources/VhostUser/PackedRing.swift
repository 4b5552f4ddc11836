// The packed format: one ring of descriptors that driver and device both write, told apart by two
// flag bits and a wrap counter (virtio 1.2, section 2.8).

public import CNetmap

/// A packed ring, seen from the device.
///
/// A position is a slot and, in bit 16, the wrap counter with which the device is in that slot. The
/// device uses chains in the order in which they became available, so the place where a chain is
/// returned is the place where it was found.
@safe public struct PackedRing: RingFormat, ~Copyable {
    @usableFromInline let ring: UnsafeMutableRawPointer
    @usableFromInline let driverEvent: UnsafeMutableRawPointer
    @usableFromInline let deviceEvent: UnsafeMutableRawPointer
    /// Entries. (`RingFormat`)
    public let size: UInt16
    @usableFromInline let eventIndex: Bool
    @usableFromInline var signalled: UInt16
    @usableFromInline var signalledValid = false
    @usableFromInline var hasNews = false
    // The first chain returned since `publish`, kept back: the driver looks at slots in order, so
    // nothing behind it is seen before it is.
    @usableFromInline var heldSlot = -1
    @usableFromInline var heldWord: UInt64 = 0
    /// Where the queue begins. (`RingFormat`)
    public let start: RingPosition

    /// Begins where `SET_VRING_BASE` says.
    ///
    /// Bits 0 to 15 are the available slot and its wrap counter, 16 to 31 the used ones, which some
    /// front-ends leave zero. Where both are given and differ, what was not returned is taken again.
    public init(_ setup: QueueSetup) {
        // SAFETY: the setup's rings are mapped in full (its contract).
        unsafe ring = unsafe setup.descriptors
        unsafe driverEvent = unsafe setup.available
        unsafe deviceEvent = unsafe setup.used
        size = unsafe setup.size
        eventIndex = unsafe setup.features & Feature.eventIndex != 0
        let base = unsafe setup.base
        let half = base &>> 16 == 0 ? base & 0xffff : base &>> 16
        let slot = half & 0x7fff
        start = (slot < UInt32(unsafe setup.size) ? slot : 0) | (half &>> 15) &<< 16
        signalled = UInt16(truncatingIfNeeded: slot)
        disarm()
    }

    /// NEXT, WRITE and INDIRECT. (`RingFormat`)
    @_noLocks @inlinable public static func flags(_ descriptor: Descriptor) -> UInt16 {
        UInt16(truncatingIfNeeded: descriptor.word &>> 48)
    }

    /// The other half of the word. (`RingFormat`)
    @_noLocks @inlinable public static func tag(_ descriptor: Descriptor) -> UInt16 {
        UInt16(truncatingIfNeeded: descriptor.word &>> 32)
    }

    /// The place of the next descriptor. (`RingFormat`)
    @_noLocks @inlinable public static func successor(inTable index: Int, tag: UInt16) -> Int {
        index &+ 1
    }

    /// How indirect tables end. (`RingFormat`)
    @inlinable public static var tablesAreLinked: Bool { @_noLocks get { false } }

    /// Whether there is an entry at `position`. (`RingFormat`)
    @_noLocks @inlinable
    public mutating func availability(_ position: RingPosition) -> Int {
        hasEntry(position) ? 1 : 0
    }

    /// Looks without taking. (`RingFormat`)
    @_noLocks @inlinable
    public func hasEntry(_ position: RingPosition) -> Bool {
        let slot = Int(position & 0xffff)
        // SAFETY: a position's slot is below `size`.
        let word = unsafe nm_load64_acquire(ring + slot &* NM_VRING_DESC_SIZE + 8)
        // Available: AVAIL (bit 7 of the flags) equals the wrap counter and USED (bit 15) does not.
        let available = (word &>> 55) & 1
        return available == UInt64(position &>> 16) && (word &>> 63) & 1 != available
    }

    /// After a fault. (`RingFormat`)
    @_noLocks @inlinable
    public mutating func forget(_ position: RingPosition) {}

    /// The chain at `position`. (`RingFormat`)
    @_noLocks @inlinable
    public func head(_ position: RingPosition) -> UInt16 { UInt16(truncatingIfNeeded: position) }

    /// One load of two words. (`RingFormat`)
    @_noLocks @inlinable
    public func descriptor(_ index: Int) -> Descriptor {
        // SAFETY: `index` is below `size` (caller), so inside the ring.
        let cell = unsafe ring + index &* NM_VRING_DESC_SIZE
        return unsafe Descriptor(address: nm_load64(cell), word: nm_load64(cell + 8))
    }

    /// The place of the next descriptor. (`RingFormat`)
    @_noLocks @inlinable
    public func successor(inRing index: Int, tag: UInt16) -> Int {
        index &+ 1 == Int(size) ? 0 : index &+ 1
    }

    /// The position behind a chain. (`RingFormat`)
    @_noLocks @inlinable
    public func advance(_ position: RingPosition, by descriptors: Int) -> RingPosition {
        let slot = Int(position & 0xffff) &+ descriptors
        return slot < Int(size)
            ? position & 0x1_0000 | UInt32(truncatingIfNeeded: slot)
            : (position & 0x1_0000) ^ 0x1_0000 | UInt32(truncatingIfNeeded: slot &- Int(size))
    }

    /// What the guest knows the chain by. (`RingFormat`)
    @_noLocks @inlinable
    public static func identifier(head: UInt16, lastTag: UInt16) -> UInt16 { lastTag }

    /// Returns a chain. (`RingFormat`)
    @_noLocks @inlinable
    public mutating func setUsed(_ position: RingPosition, id: UInt16, length: UInt32) {
        let slot = Int(position & 0xffff)
        // Used: AVAIL and USED both equal the device's wrap counter; WRITE says that length counts.
        var flags: UInt64 = position & 0x1_0000 != 0 ? 0x8080 : 0
        if length != 0 { flags |= 2 }
        let word = UInt64(length) | UInt64(id) &<< 32 | flags &<< 48
        if heldSlot < 0 {
            heldSlot = slot
            heldWord = word
        } else {
            // SAFETY: a position's slot is below `size`.
            unsafe nm_store64(ring + slot &* NM_VRING_DESC_SIZE + 8, word)
        }
    }

    /// Shows what was returned. (`RingFormat`)
    @_noLocks @inlinable
    public mutating func publish(_ position: RingPosition) {
        if heldSlot < 0 { return }
        // SAFETY: `heldSlot` came from a position.
        unsafe nm_store64_release(ring + heldSlot &* NM_VRING_DESC_SIZE + 8, heldWord)
        heldSlot = -1
        hasNews = true
    }

    /// Whether to interrupt. (`RingFormat`)
    ///
    /// virtio 1.2, section 2.8.10; the event's slot is compared as if the ring never wrapped.
    @_noLocks @inlinable
    public mutating func needsInterrupt(_ position: RingPosition) -> Bool {
        guard hasNews else { return false }
        hasNews = false
        let new = UInt16(truncatingIfNeeded: position)
        var old = signalled
        nm_fence()
        signalled = new
        let isFirst = !signalledValid
        signalledValid = true
        // SAFETY: the driver's event area is four bytes.
        let area = unsafe nm_load32(driverEvent)
        let flags = area &>> 16 & 3
        guard flags == 2, eventIndex else { return flags != 1 }
        if isFirst { return true }
        var event = UInt16(truncatingIfNeeded: area) & 0x7fff
        if new <= old { old = old &- size }
        if (area &>> 15) & 1 != position &>> 16 { event = event &- size }
        return new &- event &- 1 < new &- old
    }

    /// Asks for a kick. (`RingFormat`)
    @_noLocks @inlinable
    public func arm(_ position: RingPosition) -> Bool {
        // SAFETY: the device's event area is four bytes.
        let event = position & 0x7fff | (position &>> 16) &<< 15
        unsafe nm_store32(deviceEvent, eventIndex ? event | 2 &<< 16 : 0)
        nm_fence()
        return hasEntry(position)
    }

    /// Asks for no kicks. (`RingFormat`)
    @_noLocks @inlinable
    public func disarm() {
        // SAFETY: the device's event area is four bytes.
        unsafe nm_store32(deviceEvent, 1 &<< 16)
    }

    /// What `GET_VRING_BASE` answers. (`RingFormat`)
    @_noLocks @inlinable
    public func base(_ position: RingPosition) -> UInt32 {
        let half = position & 0x7fff | (position &>> 16) &<< 15
        return half | half &<< 16
    }
}
