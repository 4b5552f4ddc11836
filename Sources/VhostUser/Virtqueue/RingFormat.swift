// What a virtqueue's two formats have in common, so that everything above is written once.

/// Places on a ring: an index, and for packed rings the wrap counter in bit 16.
public typealias RingPosition = UInt32

/// A descriptor as it was loaded, once, from the guest's memory.
public struct Descriptor: BitwiseCopyable, Sendable {
    /// A guest address.
    @usableFromInline let address: UInt64
    /// Length in the low half; flags and next or id in the high half, by format.
    @usableFromInline let word: UInt64

    @_noLocks @inlinable init(address: UInt64, word: UInt64) {
        self.address = address
        self.word = word
    }

    @inlinable var length: Int {
        @_noLocks get { Int(UInt32(truncatingIfNeeded: word)) }
    }
}

/// The layout and the notification rules of a virtqueue (virtio 1.2, sections 2.7 and 2.8).
///
/// `Virtqueue` knows chains and frames, a format knows where descriptors and indices lie. The
/// compiler makes one virtqueue of each format; no format is looked up while frames move.
public protocol RingFormat: ~Copyable {
    /// Entries.
    var size: UInt16 { get }
    /// Where a queue begins that was set up with `SET_VRING_BASE` of this number.
    var start: RingPosition { get }

    /// Takes the rings of a checked set-up.
    init(_ setup: QueueSetup)

    /// Flags of a descriptor: 1 NEXT, 2 WRITE, 4 INDIRECT.
    static func flags(_ descriptor: Descriptor) -> UInt16
    /// The other half of a descriptor: its successor (split) or buffer id (packed).
    static func tag(_ descriptor: Descriptor) -> UInt16
    /// The place of the descriptor after `index` in an indirect table.
    static func successor(inTable index: Int, tag: UInt16) -> Int
    /// Whether an indirect table ends with `NEXT` clear (split) or with its last entry (packed).
    static var tablesAreLinked: Bool { get }

    /// Whether the guest has made an entry available at `position`.
    ///
    /// - Returns: 1 if so, 0 if not, -1 if the guest's index makes no sense.
    mutating func availability(_ position: RingPosition) -> Int
    /// Forgets what was known to be available, after a fault.
    mutating func forget(_ position: RingPosition)
    /// The place in the descriptor table of the entry at `position`; may be out of range.
    func head(_ position: RingPosition) -> UInt16
    /// The descriptor at place `index`, below `size`.
    func descriptor(_ index: Int) -> Descriptor
    /// The place of the descriptor after `index` in the ring.
    func successor(inRing index: Int, tag: UInt16) -> Int
    /// The position after a chain of `descriptors` at `position`.
    func advance(_ position: RingPosition, by descriptors: Int) -> RingPosition
    /// What identifies a chain to the guest, given the place of its first and tag of its last descriptor.
    static func identifier(head: UInt16, lastTag: UInt16) -> UInt16

    /// Returns a chain of so many `descriptors`, `length` bytes of which were written.
    ///
    /// Seen by the guest after `publish`.
    mutating func setUsed(_ position: RingPosition, id: UInt16, length: UInt32, descriptors: Int)
    /// Lets the guest see everything used before `position`.
    mutating func publish(_ position: RingPosition)
    /// Whether the guest wants an interrupt for what was published before `position`.
    mutating func needsInterrupt(_ position: RingPosition) -> Bool
    /// Asks for a kick at the entry at `position`.
    ///
    /// - Returns: whether there is one already.
    func arm(_ position: RingPosition) -> Bool
    /// Whether the guest has made an entry available at `position`, as far as can be seen without
    /// taking it.
    func hasEntry(_ position: RingPosition) -> Bool
    /// Says that kicks are not needed.
    func disarm()
    /// What `GET_VRING_BASE` answers for a ring stopped at `position`.
    func base(_ position: RingPosition) -> UInt32
}
