// How far a packed ring came, noted where it outlives the engine.
//
// A network device returns buffers in the order in which it took them. A split ring has its used index
// in the guest's memory, so whoever comes next finds its place; of a packed ring nobody but the device
// knows it, and a batch that was being returned when the device died cannot be told from the ring alone.
// So a device notes what it is about to return, then returns it, then notes its new place.

public import CNetmap

/// The record of one ring (layout: CNetmap/virtio_abi.h).
///
/// An address inside a mapping that must outlive it.
@safe public struct RingRecord: BitwiseCopyable {
    @usableFromInline let base: UnsafeMutableRawPointer

    /// Takes the address of `NM_RECORD_STRIDE` bytes, aligned to 8.
    public init(unsafeBase base: UnsafeMutableRawPointer) { unsafe self.base = unsafe base }

    // SAFETY (whole type): fixed offsets in the record. A front-end that has it mapped may write to it
    // at any time, so each word is loaded once and checked.

    /// A chain that was about to be returned.
    @usableFromInline struct Chain: BitwiseCopyable {
        @usableFromInline let word: UInt64

        @_noLocks @inlinable init(word: UInt64) { self.word = word }

        @_noLocks @inlinable
        init(_ position: RingPosition, id: UInt16, length: UInt32, descriptors: Int) {
            let place = UInt64(position & 0x7fff) | UInt64(position &>> 16 & 1) &<< 15
            word =
                place | UInt64(id) &<< 16 | UInt64(length & 0x1_ffff) &<< 32
                | UInt64(truncatingIfNeeded: descriptors) &<< 49
        }

        var position: RingPosition {
            RingPosition(word & 0x7fff) | RingPosition(word >> 15 & 1) << 16
        }
        var id: UInt16 { UInt16(truncatingIfNeeded: word >> 16) }
        var length: UInt32 { UInt32(word >> 32 & 0x1_ffff) }
        var descriptors: Int { Int(word >> 49) }
    }

    /// What a device of a ring of `size` entries noted before it died; nil if the ring did not run then.
    func read(size: UInt16) -> (position: RingPosition, chains: [Chain])? {
        let count = unsafe Int(nm_load16_acquire(base + NM_RECORD_COUNT))
        let position = unsafe nm_load32(base + NM_RECORD_POSITION)
        guard unsafe nm_load16(base + NM_RECORD_VERSION) == UInt16(NM_RECORD_VERSION_PACKED),
            unsafe nm_load16(base + NM_RECORD_SIZE) == size, count <= NM_RECORD_CAPACITY,
            position & 0xffff < size, position >> 17 == 0
        else { return nil }
        let chains = (0..<count).map {
            unsafe Chain(word: nm_load64(base + NM_RECORD_CHAINS + 8 * $0))
        }
        return (position, chains)
    }

    /// Begins to note the place of a ring of `size` entries.
    func begin(_ position: RingPosition, size: UInt16) {
        settle(position)
        unsafe nm_store16(base + NM_RECORD_VERSION, UInt16(NM_RECORD_VERSION_PACKED))
        unsafe nm_store16_release(base + NM_RECORD_SIZE, size)
    }

    /// Notes that the ring does not run: its front-end was told its place.
    public func end() { unsafe nm_store16_release(base + NM_RECORD_SIZE, 0) }

    /// The front-end's process, as whoever began the record knew it.
    public var owner: UInt32 {
        get { unsafe nm_load32(base + NM_RECORD_OWNER) }
        nonmutating set { unsafe nm_store32(base + NM_RECORD_OWNER, newValue) }
    }

    /// Notes a chain that is about to be returned, the `index`th since the last `settle`.
    @_noLocks @inlinable
    func intend(_ index: Int, _ chain: Chain) {
        if index < NM_RECORD_CAPACITY {
            unsafe nm_store64(base + NM_RECORD_CHAINS + 8 &* index, chain.word)
        }
        // More than fit (a frame in 128 buffers): a device that dies just now cannot be followed.
        unsafe nm_store16_release(base + NM_RECORD_COUNT, UInt16(truncatingIfNeeded: index &+ 1))
    }

    /// Notes that all that was noted is returned.
    @_noLocks @inlinable
    func settle(_ position: RingPosition) {
        unsafe nm_store32_release(base + NM_RECORD_POSITION, position)
        unsafe nm_store16_release(base + NM_RECORD_COUNT, 0)
    }
}
