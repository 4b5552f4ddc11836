// What a virtqueue is made of.

/// What a queue was configured with, checked and translated.
@unsafe public struct QueueSetup {
    /// Entries, at most 32768; a power of two for split rings.
    public var size: UInt16
    /// Descriptor table or packed ring, mapped in full.
    public var descriptors: UnsafeMutableRawPointer
    /// The driver's ring or event area, mapped in full.
    public var available: UnsafeMutableRawPointer
    /// The device's ring or event area, mapped in full.
    public var used: UnsafeMutableRawPointer
    /// Where to begin (`SET_VRING_BASE`).
    public var base: UInt32
    /// The virtio features that the guest acknowledged.
    public var features: UInt64
    /// The guest's memory, which must outlive the queue.
    public var memory: GuestMemory
    /// Where to note which pages are written, while the guest is being migrated.
    public var dirty: DirtyPages?
    /// Where buffers are looked up, if they are behind an IOMMU; must outlive the queue.
    public var translations: TranslationTable?
    /// Where a packed ring's place is noted and found again; must outlive the queue.
    public var record: RingRecord?

    /// Puts a set-up together; whoever does has translated the addresses and knows that the rings
    /// are mapped in full.
    public init(
        size: UInt16,
        descriptors: UnsafeMutableRawPointer,
        available: UnsafeMutableRawPointer,
        used: UnsafeMutableRawPointer,
        base: UInt32,
        features: UInt64,
        memory: GuestMemory,
        dirty: DirtyPages? = nil,
        translations: TranslationTable? = nil,
        record: RingRecord? = nil
    ) {
        unsafe self.size = size
        unsafe self.descriptors = unsafe descriptors
        unsafe self.available = unsafe available
        unsafe self.used = unsafe used
        unsafe self.base = base
        unsafe self.features = features
        unsafe self.memory = memory
        unsafe self.dirty = dirty
        unsafe self.translations = translations
        unsafe self.record = record
    }
}
