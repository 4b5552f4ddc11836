// The switch's side of a netmap ring: where a batch of frames comes from and where it goes.

public import CNetmap

/// The switch's private view of a ring in a region (netmap's word for it).
///
/// Everything in the ring can be rewritten by its owner at any time, so the indices that count are
/// the private ones here, and a slot is loaded once, checked, and used from the copy
/// (netmap-spec 2.6). Used by one thread at a time; the `Region` must outlive it.
@safe public struct Kring: ~Copyable {
    /// Where its owner publishes how far it came.
    @usableFromInline let headCell: UnsafeMutableRawPointer
    /// Where the switch publishes what it is done with, and what is the owner's.
    @usableFromInline let hwcurCell: UnsafeMutableRawPointer
    @usableFromInline let hwtailCell: UnsafeMutableRawPointer
    @usableFromInline let slotBase: UnsafeMutableRawPointer
    @usableFromInline let buffers: UnsafeMutableRawPointer
    @usableFromInline let slotCount: Int
    @usableFromInline let bufferSize: Int
    @usableFromInline let bufferCount: UInt32
    /// The most that a slot's length can say, in buffers of 64 KiB one byte less than they have.
    @usableFromInline var pieceSize: Int { @_noLocks get { min(bufferSize, 0xffff) } }
    /// The ring's `nm_kring`, through which both sides wake each other; nil where they share a thread.
    @usableFromInline let control: UnsafeMutableRawPointer?
    /// The `nm_kring` of the switch at the other side of a `SpliceRing`, in which that one sleeps.
    let partner: UnsafeMutableRawPointer?
    /// Where programs count the syncs of the port that they rejected.
    let complaintsCell: UnsafeMutableRawPointer?
    /// What was there when the control plane was told.
    var complaints: UInt32 = 0
    /// Whether frames go from the owner to the switch.
    @usableFromInline let isTransmit: Bool

    /// The first slot that the switch has not processed yet.
    @usableFromInline var hwcur: Int
    /// The first slot that the switch keeps for itself.
    @usableFromInline var hwtail: Int
    /// Slots of the frames in the batch that `collect` made last.
    @usableFromInline var collected = 0
    /// How many slots there are before frame n of that batch beyond one for each frame before it, counted
    /// from frame n - 1; meaningful if `isUneven`, which few batches are.
    @usableFromInline let extras: UnsafeMutablePointer<UInt16>
    @usableFromInline var isUneven = false
    /// Whether the slots that `collect` looks at reach up to the owner's head.
    @usableFromInline var reachesHead = false
    /// Whether the slots up to the next without NS_MOREFRAG are the rest of a frame that is too long.
    @usableFromInline var isSkipping = false
    /// The same before the batch that `collect` made last.
    @usableFromInline var wasSkipping = false
    /// Bytes of a pipe's frame whose end has not crossed yet.
    var openBytes = 0
    /// `hwtail` as the owner knows it.
    @usableFromInline var published = 0
    /// Whether slots were given back, or filled, since `needsNotice` was asked.
    @usableFromInline var hasNews = false
    /// Address of the `Watchers`, or 0; replaced by the control plane.
    public var watchers: UInt64 = 0
    /// Address of the `Listeners`, or 0; replaced by the control plane.
    package var listeners: UInt64 = 0
    /// Held by whoever fills a monitor's ring, which several rings may do.
    var guardWord: UInt32 = 0
    /// Bytes of a virtio-net header before each frame: 0, 10 or 12 (netmap-spec 2.16).
    public var headerLength = 0

    /// A ring at `ring` whose indices are in its own header: both sides share a thread, or poll.
    init(
        unsafeRing ring: UnsafeMutableRawPointer,
        slots: Int,
        buffers: UnsafeMutableRawPointer,
        bufferSize: Int,
        bufferCount: Int,
        transmit: Bool
    ) {
        unsafe headCell = unsafe ring + NM_RING_HEAD
        // Nobody asks there how far the switch is with slots that stay its own.
        unsafe hwcurCell = unsafe ring + NM_RING_PADDING
        unsafe hwtailCell = unsafe ring + NM_RING_TAIL
        unsafe slotBase = unsafe ring + NM_RING_SLOTS
        unsafe self.buffers = unsafe buffers
        self.slotCount = slots
        self.bufferSize = bufferSize
        self.bufferCount = UInt32(bufferCount)
        unsafe control = nil
        unsafe partner = nil
        unsafe complaintsCell = nil
        isTransmit = transmit
        hwcur = 0
        hwtail = transmit ? slots - 1 : 0
        unsafe extras = .allocate(capacity: FrameBatch.frameCapacity + 1)
        unsafe extras.initialize(repeating: 0, count: FrameBatch.frameCapacity + 1)
    }

    /// A ring of an adapter, synced through the adapter's control file.
    ///
    /// - Parameters:
    ///   - adapter: has memory and a control file, which outlive the kring.
    ///   - ring: one of its rings that exists.
    package init?(_ adapter: Adapter, _ ring: RingNumber) {
        guard let region = adapter.region, let file = adapter.control,
            let offset = adapter.ringOffsets[ring]
        else { return nil }
        let number = adapter.kring(ring)
        precondition(number < file.count)
        // SAFETY: the device laid ring and kring out inside their mappings.
        let control =
            unsafe file.mapping.base + Int(NM_CONTROL_KRINGS) + number * Int(NM_KRING_SIZE)
        unsafe self.control = unsafe control
        unsafe partner = nil
        unsafe complaintsCell = unsafe file.mapping.base + Int(NM_CONTROL_COMPLAINTS)
        unsafe headCell = unsafe control + Int(NM_KRING_HEAD)
        unsafe hwcurCell = unsafe control + Int(NM_KRING_HWCUR)
        unsafe hwtailCell = unsafe control + Int(NM_KRING_HWTAIL)
        unsafe slotBase = unsafe region.mapping.base + offset + NM_RING_SLOTS
        unsafe buffers = unsafe region.mapping.base + region.bufferOffset
        slotCount = adapter.slots(ring.direction)
        bufferSize = region.bufferSize
        bufferCount = UInt32(region.bufferCount)
        headerLength = adapter.headerLength
        isTransmit = ring.direction == .transmit
        hwcur = 0
        hwtail = isTransmit ? slotCount - 1 : 0
        unsafe extras = .allocate(capacity: FrameBatch.frameCapacity + 1)
        unsafe extras.initialize(repeating: 0, count: FrameBatch.frameCapacity + 1)
    }

    /// One side's view of a ring between two switches: what one has done is what the other may do.
    package init(_ splice: SpliceRing, transmit: Bool) {
        // SAFETY: offsets of the ABI in krings, slots and buffers that the splice laid out; it outlives us.
        let own = unsafe splice.control(transmit: transmit)
        let other = unsafe splice.control(transmit: !transmit)
        unsafe control = unsafe own
        unsafe partner = unsafe other
        unsafe complaintsCell = nil
        unsafe headCell = unsafe other + Int(transmit ? NM_KRING_HWTAIL : NM_KRING_HWCUR)
        unsafe hwcurCell = unsafe own + Int(NM_KRING_HWCUR)
        unsafe hwtailCell = unsafe own + Int(NM_KRING_HWTAIL)
        unsafe slotBase = unsafe splice.slotBase
        unsafe buffers = unsafe splice.buffers
        slotCount = splice.slots
        bufferSize = SpliceRing.bufferSize
        bufferCount = UInt32(splice.slots)
        headerLength = SpliceRing.headerLength
        isTransmit = transmit
        hwcur = 0
        hwtail = transmit ? slotCount - 1 : 0
        unsafe extras = .allocate(capacity: FrameBatch.frameCapacity + 1)
        unsafe extras.initialize(repeating: 0, count: FrameBatch.frameCapacity + 1)
    }

    deinit { unsafe extras.deallocate() }

    /// Appends the owner's next frames to `batch`, in place.
    ///
    /// A slot with a bad buffer or length ends its frame there; the frame is then too short and is
    /// dropped by the switch as malformed. A frame without an end ends at head.
    @_noLocks @inlinable
    public mutating func collect(
        into batch: inout FrameBatch,
        counters: DirectionCounters,
        limit: Int = Int.max
    ) {
        // SAFETY: offsets are the ABI's; every index is bounded by `slotCount` before it is used and
        // every buffer index by `bufferCount`, so all addresses lie inside the region.
        let head = Int(unsafe nm_load32_acquire(headCell))
        collected = 0
        wasSkipping = isSkipping
        guard head < slotCount, head != hwcur else { return }
        var available = head &- hwcur
        if available < 0 { available = available &+ slotCount }
        // Whatever the owner wrote, it never gets more slots processed than it was given.
        var given = hwtail &- hwcur
        if given < 0 { given = given &+ slotCount }
        reachesHead = available <= given && available <= limit
        if available > given { available = given }
        if available > limit { available = limit }
        isUneven = false
        let next = unsafe nm_load64(slotBase + hwcur &* NM_SLOT_SIZE)
        batch.isUnlearned = next & (UInt64(NS_NO_LEARN) &<< 48) != 0
        if headerLength != 0 || isSkipping || batch.isUnlearned {
            collectFramed(available, into: &batch, counters)
            return
        }

        var j = hwcur
        var bytes = 0
        let capacity = FrameBatch.frameCapacity
        let special = UInt32(NS_MOREFRAG) | UInt32(NS_NO_LEARN)
        let frames = unsafe batch.frames
        var count = batch.count
        let first = count
        var taken = 0
        while taken < available && count < capacity {
            let word = unsafe nm_load64(slotBase + j &* NM_SLOT_SIZE)
            let index = UInt32(truncatingIfNeeded: word)
            let length = Int((word &>> 32) & 0xffff)
            let flags = UInt32(truncatingIfNeeded: word &>> 48)
            guard index < bufferCount, length <= bufferSize, flags & special == 0 else {
                batch.count = count
                let used = collectFragments(from: j, available &- taken, into: &batch, counters)
                if used == 0 { break }
                taken = taken &+ used
                if batch.count != count {
                    bytes = bytes &+ Int(unsafe frames[count].length)
                    count = batch.count
                }
                j = j &+ used
                if j >= slotCount { j = j &- slotCount }
                // The owner has rewritten the first slot meanwhile.
                if batch.isUnlearned { break }
                continue
            }
            let address = unsafe buffers + Int(index) &* bufferSize
            unsafe nm_prefetch(address)
            unsafe frames[count] = unsafe Frame(
                address: address,
                length: UInt32(truncatingIfNeeded: length)
            )
            count = count &+ 1
            bytes = bytes &+ length
            taken = taken &+ 1
            j = j &+ 1
            if j == slotCount { j = 0 }
        }
        batch.count = count
        collected = taken
        if count != first { counters.count(packets: count &- first, bytes: bytes) }
    }

    /// Gives the collected slots back to the owner, as VALE does: the sender always gets its ring.
    @_noLocks @inlinable
    public mutating func completeCollected() {
        guard collected != 0 else { return }
        if watchers != 0 { showCollected() }
        hwcur = hwcur &+ collected
        if hwcur >= slotCount { hwcur = hwcur &- slotCount }
        hwtail = hwcur == 0 ? slotCount &- 1 : hwcur &- 1
        collected = 0
        hasNews = true
        // SAFETY: cells of the ring's own, which outlive it.
        // The first is the head of a receive ring at the other side of a splice.
        unsafe nm_store32_release(hwcurCell, UInt32(truncatingIfNeeded: hwcur))
        unsafe nm_store32_release(hwtailCell, UInt32(truncatingIfNeeded: hwtail))
    }

    @usableFromInline @inline(never) @_noLocks
    func showCollected() {
        show(hwcur, collected)
        swap(hwcur, collected)
    }

    /// Where the next slot is taken.
    @inlinable public var place: UInt32 {
        UInt32(truncatingIfNeeded: hwcur)
    }

    /// How many slots of the collected batch come before its frame `index`.
    package func slots(before index: Int) -> Int {
        guard isUneven else { return index }
        // SAFETY: a batch has at most `frameCapacity` frames, and one entry more.
        return (0...min(index, FrameBatch.frameCapacity)).reduce(index) {
            unsafe $0 + Int(extras[$1])
        }
    }

    /// Notes that `used` slots were taken for the frame before `index`, or for none.
    @_noLocks
    func noteUneven(_ used: Int, isFrame: Bool, before index: Int) {
        // SAFETY: as in `slots(before:)`.
        let sum = unsafe Int(extras[index]) + used - (isFrame ? 1 : 0)
        unsafe extras[index] = UInt16(truncatingIfNeeded: sum)
    }

    /// Leaves the collected slots where they are, to be collected again.
    package mutating func forgetCollected() {
        collected = 0
        isSkipping = wasSkipping
    }
}
