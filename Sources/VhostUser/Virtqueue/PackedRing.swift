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
    @usableFromInline var interrupts: InterruptState
    // The first chain returned since `publish`, kept back: the driver looks at slots in order, so
    // nothing behind it is seen before it is.
    @usableFromInline var heldSlot = -1
    @usableFromInline var heldWord: UInt64 = 0
    @usableFromInline let record: RingRecord?
    /// Chains noted in the record since `publish`.
    @usableFromInline var noted = 0
    /// Where the queue begins. (`RingFormat`)
    public private(set) var start: RingPosition

    /// Begins where the device before this one ended, if it died, or else where `SET_VRING_BASE` says.
    public init(_ setup: QueueSetup) {
        // SAFETY: the setup's rings are mapped in full (its contract).
        unsafe ring = unsafe setup.descriptors
        unsafe driverEvent = unsafe setup.available
        unsafe deviceEvent = unsafe setup.used
        size = unsafe setup.size
        eventIndex = unsafe setup.features & Feature.eventIndex != 0
        record = unsafe setup.record
        let base = unsafe setup.base
        // Bits 0 to 15 are the available slot and its wrap counter, 16 to 31 the used ones, which some
        // front-ends leave zero. Where both are given and differ, what was not returned is taken again.
        let half = base &>> 16 == 0 ? base & 0xffff : base &>> 16
        let slot = half & 0x7fff < UInt32(unsafe setup.size) ? half & 0x7fff : 0
        start = slot | (half &>> 15) &<< 16
        interrupts = InterruptState(UInt16(truncatingIfNeeded: start))
        if let record {
            if let resumed = resume(record) {
                start = resumed
                interrupts = InterruptState(UInt16(truncatingIfNeeded: resumed))
                interrupts.hasNews = true
            }
            record.begin(start, size: size)
        }
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
    public mutating func setUsed(
        _ position: RingPosition,
        id: UInt16,
        length: UInt32,
        descriptors: Int
    ) {
        if let record {
            record.intend(
                noted,
                RingRecord.Chain(position, id: id, length: length, descriptors: descriptors)
            )
            noted = noted &+ 1
        }
        let slot = Int(position & 0xffff)
        let word = PackedRing.used(position, id: id, length: length)
        if heldSlot < 0 {
            heldSlot = slot
            heldWord = word
        } else {
            // SAFETY: a position's slot is below `size`.
            unsafe nm_store64(ring + slot &* NM_VRING_DESC_SIZE + 8, word)
        }
    }

    /// The second word of a descriptor that is returned.
    @_noLocks @inlinable
    static func used(_ position: RingPosition, id: UInt16, length: UInt32) -> UInt64 {
        // Used: AVAIL and USED both equal the device's wrap counter; WRITE says that length counts.
        var flags: UInt64 = position & 0x1_0000 != 0 ? 0x8080 : 0
        if length != 0 { flags |= 2 }
        return UInt64(length) | UInt64(id) &<< 32 | flags &<< 48
    }

    /// Shows what was returned. (`RingFormat`)
    @_noLocks @inlinable
    public mutating func publish(_ position: RingPosition) {
        if heldSlot < 0 { return }
        // SAFETY: `heldSlot` came from a position.
        unsafe nm_store64_release(ring + heldSlot &* NM_VRING_DESC_SIZE + 8, heldWord)
        if let record {
            record.settle(position)
            noted = 0
        }
        heldSlot = -1
        interrupts.hasNews = true
    }

    /// Whether to interrupt. (`RingFormat`)
    ///
    /// virtio 1.2, section 2.8.10; the event's slot is compared as if the ring never wrapped.
    @_noLocks @inlinable
    public mutating func needsInterrupt(_ position: RingPosition) -> Bool {
        let new = UInt16(truncatingIfNeeded: position)
        guard let (before, isFirst) = interrupts.ask(new) else { return false }
        var old = before
        nm_fence()
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

extension PackedRing {
    /// Finishes what a device was returning when it died.
    ///
    /// The driver may have begun anew since. In a ring as drivers set it up no descriptor has the USED
    /// flag, in one that has been in use some have; so the record is believed only there.
    ///
    /// - Returns: where to go on, or nil if the record is not of this ring.
    private func resume(_ record: RingRecord) -> RingPosition? {
        guard let noted = record.read(size: size),
            (0..<Int(size)).contains(where: { flags($0) & 0x8000 != 0 })
        else { return nil }
        var position = noted.position
        var words: [(slot: Int, word: UInt64)] = []
        // Returned already, all of it, if the driver can see the first.
        let isReturned = !hasEntry(noted.position)
        for chain in noted.chains {
            // The record is as hostile as the ring: no chain leads out of it.
            guard chain.position == position, chain.descriptors > 0, chain.descriptors <= Int(size)
            else { break }
            if !isReturned {
                let word = PackedRing.used(position, id: chain.id, length: chain.length)
                words.append((Int(position & 0xffff), word))
            }
            position = advance(position, by: chain.descriptors)
        }
        // The first last: nothing behind it is seen before it is.
        for (slot, word) in words.reversed() {
            // SAFETY: slots of positions, below `size`.
            unsafe nm_store64_release(ring + slot * NM_VRING_DESC_SIZE + 8, word)
        }
        return position
    }

    private func flags(_ slot: Int) -> UInt16 {
        // SAFETY: below `size`.
        unsafe nm_load16(ring + slot * NM_VRING_DESC_SIZE + 14)
    }
}
