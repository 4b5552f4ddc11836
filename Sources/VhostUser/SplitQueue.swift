// A split virtqueue (virtio 1.2, section 2.7) seen from the device: its rings, its indices, its
// notifications. The guest can write every byte that this reads, at any time.

public import CNetmap
import Netmap

/// Why a queue was stopped: what the guest did that no driver does.
public enum QueueFault: UInt8, Sendable {
    /// Nothing wrong.
    case none = 0
    /// avail.idx is further ahead than the ring is long.
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
        case .availableIndex: "moved avail.idx further than its ring is long"
        case .descriptorIndex: "used a descriptor number behind the end of its table"
        case .chainLength: "made a descriptor chain that loops or is too long"
        case .address: "gave a buffer outside its memory"
        case .direction: "mixed up readable and writable descriptors"
        case .indirect: "gave a malformed indirect descriptor table"
        }
    }
}

/// What a queue was configured with, checked and translated.
@unsafe public struct QueueSetup {
    /// Entries; a power of two, at most 32768.
    public var size: UInt16
    /// The three rings, each mapped in full.
    public var descriptors: UnsafeMutableRawPointer
    /// The driver's ring.
    public var available: UnsafeMutableRawPointer
    /// The device's ring.
    public var used: UnsafeMutableRawPointer
    /// Index of the next available entry (`SET_VRING_BASE`).
    public var base: UInt16
    /// The virtio features that the guest acknowledged.
    public var features: UInt64
    /// The guest's memory, which must outlive the queue.
    public var memory: GuestMemory

    /// Puts a set-up together; whoever does has translated the addresses and knows that the rings
    /// are mapped in full.
    public init(
        size: UInt16,
        descriptors: UnsafeMutableRawPointer,
        available: UnsafeMutableRawPointer,
        used: UnsafeMutableRawPointer,
        base: UInt16,
        features: UInt64,
        memory: GuestMemory
    ) {
        unsafe self.size = size
        unsafe self.descriptors = unsafe descriptors
        unsafe self.available = unsafe available
        unsafe self.used = unsafe used
        unsafe self.base = base
        unsafe self.features = features
        unsafe self.memory = memory
    }
}

/// The device's side of one split virtqueue of a network device.
///
/// Owns nothing: the guest's memory must outlive it. Used by one thread at a time. Indices run
/// free in their own width and are compared by wrapping subtraction (house rule 3).
@safe public struct SplitQueue: ~Copyable {
    @usableFromInline let descriptors: UnsafeMutableRawPointer
    @usableFromInline let available: UnsafeMutableRawPointer
    @usableFromInline let used: UnsafeMutableRawPointer
    @usableFromInline let regions: UnsafeMutablePointer<MappedRegion>
    @usableFromInline let regionCount: Int
    @usableFromInline let size: UInt16
    @usableFromInline let mask: UInt16
    @usableFromInline let eventIndex: Bool
    /// Whether a frame may be spread over several chains (VIRTIO_NET_F_MRG_RXBUF).
    @usableFromInline let mergeable: Bool
    /// Bytes of virtio-net header before each frame: 12, or 10 for legacy guests.
    public let headerLength: Int
    /// Which offload requests the guest takes: bit 0 checksum, bit n gso_type n, bit 7 ECN.
    public let acceptedOffloads: UInt8

    /// The next entry of the available ring to look at.
    public var nextAvailable: UInt16
    @usableFromInline var seenAvailable: UInt16
    @usableFromInline var nextUsed: UInt16
    @usableFromInline var signalled: UInt16
    @usableFromInline var signalledValid = false
    @usableFromInline var collectedChains: UInt16 = 0
    /// Which chains of the collected batch have no frame in it, a bit each.
    @usableFromInline var withoutFrame: UInt64 = 0
    @usableFromInline var faultCode: UInt8 = 0
    @usableFromInline var lastRegion = 0

    /// Starts at the state that the setup and the rings' memory give.
    ///
    /// After a crash of the back-end `base` can differ from used.idx; the entries between were
    /// never returned, so they are taken again (vhost-user-spec 2.6, rule 4).
    public init(_ setup: QueueSetup) {
        unsafe descriptors = unsafe setup.descriptors
        unsafe available = unsafe setup.available
        unsafe used = unsafe setup.used
        unsafe regions = unsafe setup.memory.table
        regionCount = unsafe setup.memory.regions.count
        size = unsafe setup.size
        mask = unsafe setup.size &- 1
        let features = unsafe setup.features
        eventIndex = features & Feature.eventIndex != 0
        mergeable = features & Feature.mergeableBuffers != 0
        headerLength = features & (Feature.version1 | Feature.mergeableBuffers) != 0 ? 12 : 10
        acceptedOffloads = Feature.acceptedOffloads(features)
        // SAFETY: the setup's rings are mapped in full (its contract).
        let index = unsafe nm_load16_acquire(setup.used + NM_VRING_USED_IDX)
        nextAvailable = index
        seenAvailable = index
        nextUsed = index
        signalled = index
        // Polled until somebody arms it.
        if !eventIndex { unsafe nm_store16(used + NM_VRING_USED_FLAGS, 1) }
    }

    /// Bytes that the three rings of a queue of `size` entries take.
    public static func ringSizes(
        _ size: UInt16
    ) -> (descriptors: Int, available: Int, used: Int) {
        let n = Int(size)
        return (n * NM_VRING_DESC_SIZE, 6 + 2 * n, 6 + NM_VRING_USED_ELEM_SIZE * n)
    }

    /// What the guest did wrong, if anything; a queue with a fault moves nothing any more.
    public var fault: QueueFault { QueueFault(rawValue: faultCode) ?? .none }

    /// Whether the queue has stopped itself.
    @inlinable public var isFaulty: Bool { @_noLocks get { faultCode != 0 } }

    @usableFromInline @inline(never) @_noLocks
    mutating func fail(_ code: QueueFault) {
        if faultCode == 0 { faultCode = code.rawValue }
        // Nothing is available any more, so no path needs to ask again.
        seenAvailable = nextAvailable
    }

    /// How many entries wait from `nextAvailable + offset` on, or 0 if the index makes no sense.
    @_noLocks @inlinable
    mutating func refreshAvailable() -> UInt16 {
        // SAFETY: the available ring is mapped in full.
        seenAvailable = unsafe nm_load16_acquire(available + NM_VRING_AVAIL_IDX)
        let pending = seenAvailable &- nextAvailable
        if pending > size {
            fail(.availableIndex)
            return 0
        }
        return pending
    }

    /// The head descriptor in the available ring at free-running position `position`.
    @_noLocks @inlinable
    func head(at position: UInt16) -> UInt16 {
        // SAFETY: masked, so inside the ring.
        unsafe nm_load16(available + NM_VRING_AVAIL_RING + 2 &* Int(position & mask))
    }

    /// Notes a chain as used at free-running position `position`; `publish` makes it visible.
    @_noLocks @inlinable
    func setUsed(at position: UInt16, head: UInt16, length: UInt32) {
        // SAFETY: masked, so inside the ring.
        unsafe nm_store64(
            used + NM_VRING_USED_RING + NM_VRING_USED_ELEM_SIZE &* Int(position & mask),
            UInt64(head) | UInt64(length) &<< 32
        )
    }

    /// Lets the guest see the used entries before `nextUsed`.
    @_noLocks @inlinable
    func publish() {
        // SAFETY: a fixed offset in the used ring.
        unsafe nm_store16_release(used + NM_VRING_USED_IDX, nextUsed)
    }

    /// Whether the guest wants an interrupt for what was published since the last call (virtio 1.2,
    /// section 2.7.10).
    ///
    /// Call it once per batch, after `publish`.
    @_noLocks @inlinable
    public mutating func needsInterrupt() -> Bool {
        let old = signalled
        if signalledValid && old == nextUsed { return false }
        // The used index must be visible before we read whether the guest looks at it.
        nm_fence()
        signalled = nextUsed
        // SAFETY: fixed offsets in the available ring; used_event follows its entries.
        guard eventIndex else {
            signalledValid = true
            return unsafe nm_load16(available + NM_VRING_AVAIL_FLAGS) & 1 == 0
        }
        guard signalledValid else {
            signalledValid = true
            return true
        }
        let event = unsafe nm_load16(available + NM_VRING_AVAIL_RING + 2 &* Int(size))
        return nextUsed &- event &- 1 < nextUsed &- old
    }

    /// Asks the guest to kick when it adds a buffer, and looks once more.
    ///
    /// - Returns: whether there is work after all, so that nobody may sleep.
    @_noLocks @inlinable
    public mutating func arm() -> Bool {
        if isFaulty { return false }
        // SAFETY: fixed offsets in the used ring; avail_event follows its entries.
        if eventIndex {
            unsafe nm_store16(
                used + NM_VRING_USED_RING + NM_VRING_USED_ELEM_SIZE &* Int(size),
                nextAvailable
            )
        } else {
            unsafe nm_store16(used + NM_VRING_USED_FLAGS, 0)
        }
        nm_fence()
        return unsafe nm_load16_acquire(available + NM_VRING_AVAIL_IDX) != nextAvailable
    }

    /// Tells the guest that kicks are a waste: somebody polls.
    @_noLocks @inlinable
    public func disarm() {
        // With event-idx the event stays behind and is not met again for 65536 entries.
        // SAFETY: a fixed offset in the used ring.
        if !eventIndex { unsafe nm_store16(used + NM_VRING_USED_FLAGS, 1) }
    }

    /// Translates `length` bytes at guest address `address` if they lie in one region.
    @_noLocks @inlinable
    mutating func translate(_ address: UInt64, _ length: Int) -> UnsafeMutableRawPointer? {
        // SAFETY: `lastRegion` and `index` are below `regionCount`, the table's length.
        let region = unsafe regions[lastRegion]
        let offset = unsafe address &- region.guest
        if unsafe offset < region.size, unsafe UInt64(length) <= region.size &- offset {
            return unsafe region.host + Int(offset)
        }
        return unsafe translateElsewhere(address, length)
    }

    @usableFromInline @inline(never) @_noLocks
    mutating func translateElsewhere(
        _ address: UInt64,
        _ length: Int
    ) -> UnsafeMutableRawPointer? {
        for index in 0..<regionCount {
            let region = unsafe regions[index]
            let offset = unsafe address &- region.guest
            if unsafe offset < region.size, unsafe UInt64(length) <= region.size &- offset {
                lastRegion = index
                return unsafe region.host + Int(offset)
            }
        }
        return nil
    }
}
