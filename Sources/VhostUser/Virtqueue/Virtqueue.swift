// A virtqueue of a network device, seen from the device, whatever its format: its position, its
// faults, its guest's memory. The guest can write every byte that this reads, at any time.

public import CNetmap
import Netmap

/// Why a queue was stopped: what the guest did that no driver does.
public enum QueueFault: UInt8, Sendable {
    /// Nothing wrong.
    case none = 0
    /// The available index is further ahead than the ring is long.
    case availableIndex
    /// A descriptor number behind the end of its table.
    case descriptorIndex
    /// A chain that loops or is longer than any frame needs.
    case chainLength
    /// A buffer outside guest memory.
    case address
    /// A device-readable descriptor where a writable one belongs, or the reverse.
    case direction
    /// An indirect table that is empty, of odd length, nested or chained.
    case indirect

    /// The fault as the end of a sentence that begins with "the guest's driver".
    public var text: String {
        switch self {
        case .none: "did nothing wrong"
        case .availableIndex: "moved its available index further than its ring is long"
        case .descriptorIndex: "used a descriptor number behind the end of its table"
        case .chainLength: "made a descriptor chain that loops or is too long"
        case .address: "gave a buffer outside its memory"
        case .direction: "mixed up readable and writable descriptors"
        case .indirect: "gave a malformed indirect descriptor table"
        }
    }
}

/// A virtqueue in the split format.
public typealias SplitQueue = Virtqueue<SplitRing>
/// A virtqueue in the packed format.
public typealias PackedQueue = Virtqueue<PackedRing>

/// The device's side of one virtqueue of a network device.
///
/// The guest's memory must outlive it. Used by one thread at a time. Chains are used in the order in
/// which they became available, so one position serves both directions.
@safe public struct Virtqueue<Format: RingFormat & ~Copyable>: ~Copyable {
    @usableFromInline var ring: Format
    /// Where guest addresses are looked up: the guest's memory, or nothing behind an IOMMU.
    @usableFromInline let regions: UnsafeMutablePointer<MappedRegion>
    @usableFromInline let regionCount: Int
    /// The guest's memory, by our addresses.
    @usableFromInline let mapped: UnsafeBufferPointer<MappedRegion>
    /// Where guest addresses are looked up behind an IOMMU.
    @usableFromInline let translator: UnsafeMutablePointer<Translator>?
    /// Whether a frame may be spread over several chains (VIRTIO_NET_F_MRG_RXBUF).
    @usableFromInline let mergeable: Bool
    /// Bytes of virtio-net header before each frame: 12, or 10 for legacy guests.
    public let headerLength: Int
    /// Which offload requests the guest takes: bit 0 checksum, bit n gso_type n, bit 7 ECN.
    public let acceptedOffloads: UInt8

    /// The next entry to take.
    @usableFromInline var position: RingPosition
    @usableFromInline var published: RingPosition
    /// Chains of the batch that `collect` made last: id in the low half, descriptors in the high.
    @usableFromInline let collected: UnsafeMutablePointer<UInt32>
    @usableFromInline var collectedCount = 0
    /// Which chains of the collected batch have no frame in it, a bit each.
    @usableFromInline var withoutFrame: UInt64 = 0
    /// The first entry that was missing when a frame last had no room.
    @usableFromInline var missing: RingPosition
    /// How much of a worker the delivery at hand has taken (`VisitBudget`).
    @usableFromInline var work = 0
    @usableFromInline var faultCode: UInt8 = 0
    @usableFromInline var lastRegion = 0
    @usableFromInline let dirty: DirtyPages?

    /// Starts at the state that the set-up and the ring's memory give.
    public init(_ setup: QueueSetup) {
        ring = unsafe Format(setup)
        dirty = unsafe setup.dirty
        position = ring.start
        published = ring.start
        missing = ring.start
        let table = unsafe setup.memory.table
        let count = unsafe setup.memory.regions.count
        unsafe mapped = unsafe UnsafeBufferPointer(start: table, count: count)
        if let translations = unsafe setup.translations {
            unsafe translator = .allocate(capacity: 1)
            unsafe translator?.initialize(to: Translator(translations))
            // A region of no bytes, so that the short way never finds anything.
            unsafe regions = .allocate(capacity: 1)
            unsafe regions.initialize(to: MappedRegion(guest: 0, size: 0, host: table[0].host))
            regionCount = 0
        } else {
            unsafe translator = nil
            unsafe regions = unsafe table
            regionCount = count
        }
        let features = unsafe setup.features
        mergeable = features & Feature.mergeableBuffers != 0
        headerLength = features & (Feature.version1 | Feature.mergeableBuffers) != 0 ? 12 : 10
        acceptedOffloads = Feature.acceptedOffloads(features)
        unsafe collected = .allocate(capacity: FrameBatch.frameCapacity)
        unsafe collected.initialize(repeating: 0, count: FrameBatch.frameCapacity)
    }

    deinit {
        unsafe collected.deallocate()
        guard let translator = unsafe translator else { return }
        unsafe translator.deinitialize(count: 1)
        unsafe translator.deallocate()
        unsafe regions.deallocate()
    }

    /// What the guest did wrong, if anything; a queue with a fault moves nothing any more.
    public var fault: QueueFault { QueueFault(rawValue: faultCode) ?? .none }

    /// Whether the queue has stopped itself.
    @inlinable public var isFaulty: Bool { faultCode != 0 }

    /// Where the next entry is taken.
    @inlinable public var place: RingPosition { position }

    /// What `GET_VRING_BASE` answers.
    public var base: UInt32 { ring.base(position) }

    @inlinable @inline(never)
    mutating func fail(_ code: QueueFault) {
        // What is not translated yet will be; the queue goes on from there.
        if isTranslationMissing { return }
        if faultCode == 0 { faultCode = code.rawValue }
        // Nothing is available any more, so no path needs to ask again.
        ring.forget(position)
    }

    /// Lets the guest see everything used before `position`, and logs the ring if it is migrated.
    @inlinable
    mutating func publishRing() {
        ring.publish(position)
        if let dirty { dirty.markRing() }
    }

    /// Notes that `length` bytes at `host` were written.
    @inlinable @inline(never)
    func markWritten(_ host: UnsafeMutableRawPointer, _ length: Int) {
        guard let dirty else { return }
        let at = UInt(bitPattern: host)
        for index in unsafe 0..<mapped.count {
            let region = unsafe mapped[index]
            let offset = unsafe UInt64(at &- UInt(bitPattern: region.host))
            if unsafe offset < region.size {
                unsafe dirty.mark(region.guest &+ offset, length)
                return
            }
        }
    }

    /// Whether the guest wants an interrupt for what was published since the last call.
    ///
    /// Call it once per batch.
    @inlinable
    public mutating func needsInterrupt() -> Bool { ring.needsInterrupt(position) }

    /// Asks the guest to kick when it adds a buffer, and looks once more.
    ///
    /// - Returns: whether there is work after all, so that nobody may sleep.
    @inlinable
    public mutating func arm() -> Bool {
        // Work that waits for a translation is none yet; the control plane wakes workers when it comes.
        if let translator = unsafe translator, unsafe translator.pointee.isWaiting { return false }
        return !isFaulty && ring.arm(position)
    }

    /// Tells the guest that kicks are a waste: somebody polls.
    @inlinable
    public func disarm() { ring.disarm() }

    /// Asks the cache for the beginnings of the next `count` buffers.
    ///
    /// All at once, instead of waiting for one after the other. Decides nothing and checks nothing: a
    /// prefetch cannot fault.
    @inlinable
    mutating func warm(_ count: Int, writing: Bool) {
        // SAFETY: `lastRegion` is below `regionCount`; the addresses are made but never dereferenced.
        let region = unsafe regions[lastRegion]
        let shift = unsafe Int(bitPattern: region.host) &- Int(truncatingIfNeeded: region.guest)
        var at = position
        var left = count
        while left > 0, ring.availability(at) > 0 {
            let head = ring.head(at)
            if head >= ring.size { return }
            let address = Int(truncatingIfNeeded: ring.descriptor(Int(head)).address) &+ shift
            if let host = unsafe UnsafeRawPointer(bitPattern: address) {
                // Two lines: drivers align the frame and put the header before it.
                if writing {
                    unsafe nm_prefetch_write(host)
                    unsafe nm_prefetch_write(host + headerLength)
                } else {
                    unsafe nm_prefetch(host)
                    unsafe nm_prefetch(host + headerLength)
                }
            }
            at = ring.advance(at, by: 1)
            left = left &- 1
        }
    }
}
