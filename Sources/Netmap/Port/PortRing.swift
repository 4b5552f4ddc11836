// A ring in a region as its program uses it. Everything is in shared memory, which others may write:
// each word is loaded once, checked against what was settled when the port was bound, and used from the copy.

public import CNetmap

/// What both directions have in common.
///
/// Owns nothing; the port that it was made from outlives it.
@safe @usableFromInline struct PortRing: BitwiseCopyable {
    @usableFromInline let base: UnsafeMutableRawPointer
    @usableFromInline let buffers: UnsafeMutableRawPointer
    @usableFromInline let slotCount: Int
    @usableFromInline let bufferSize: Int
    @usableFromInline let bufferCount: UInt32
    /// The longest that a slot can say.
    @usableFromInline var pieceSize: Int { @_noLocks get { min(bufferSize, 0xffff) } }

    init(_ core: PortCore, _ number: RingNumber) {
        let reference = unsafe core.reference(number)
        // A ring without slots (a null port's) has no memory: any address does, as no slot is ever used.
        unsafe base = unsafe reference.pointee.ring ?? core.region.base
        slotCount = unsafe reference.pointee.ring == nil ? 0 : Int(reference.pointee.slots)
        bufferSize = Int(core.binding.buffer_size)
        bufferCount = core.binding.buffer_count
        unsafe buffers = unsafe core.region.base + Int(core.binding.buffer_offset)
    }

    // SAFETY (whole type): base and slots were checked against the region when the port was bound; an
    // index is below `slotCount` and a buffer's number below `bufferCount` before an address is made of it.

    /// The first slot of the program's.
    @inlinable var head: Int {
        @_noLocks get {
            let head = unsafe Int(nm_load32(base + NM_RING_HEAD))
            return head < slotCount ? head : 0
        }
    }

    /// How many slots are the program's.
    @inlinable var count: Int {
        @_noLocks get {
            guard slotCount > 0 else { return 0 }
            let head = unsafe Int(nm_load32(base + NM_RING_HEAD))
            let tail = unsafe Int(nm_load32_acquire(base + NM_RING_TAIL))
            guard head < slotCount, tail < slotCount else { return 0 }
            return tail >= head ? tail &- head : tail &- head &+ slotCount
        }
    }

    /// The slot `offset` places behind head.
    @_noLocks @inlinable func slot(_ offset: Int) -> UnsafeMutableRawPointer {
        var index = head &+ offset
        if index >= slotCount { index = index &- slotCount }
        return unsafe base + NM_RING_SLOTS + index &* NM_SLOT_SIZE
    }

    /// Gives the first `n` slots away; `cur` stays at head or goes to tail.
    @_noLocks @inlinable func advance(_ n: Int) {
        var index = head &+ n
        if index >= slotCount { index = index &- slotCount }
        let value = UInt32(truncatingIfNeeded: index)
        unsafe nm_store32(base + NM_RING_CUR, value)
        unsafe nm_store32_release(base + NM_RING_HEAD, value)
    }

    /// Says that a wake-up is wanted only when tail moves, though slots are left.
    @_noLocks @inlinable func wakeOnlyForMore() {
        unsafe nm_store32(base + NM_RING_CUR, nm_load32(base + NM_RING_TAIL))
    }

    /// The buffer of that number; buffer 0, which nobody uses, for what is none.
    @_noLocks @inlinable func buffer(_ number: UInt32) -> UnsafeMutableRawPointer {
        let index = number < bufferCount ? Int(number) : 0
        return unsafe buffers + index &* bufferSize
    }
}

/// What a slot says about its frame; the numbers are netmap's NS_*.
public struct SlotFlags: OptionSet, Sendable, Hashable, BitwiseCopyable {
    /// NS_* as they are in the slot.
    public let rawValue: UInt16

    /// Makes a set of NS_* flags.
    @_noLocks @inlinable public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Tell when this slot was sent (NS_REPORT).
    @inlinable public static var report: SlotFlags { SlotFlags(rawValue: UInt16(NS_REPORT)) }
    /// Pass the frame to the host stack (NS_FORWARD).
    @inlinable public static var forward: SlotFlags { SlotFlags(rawValue: UInt16(NS_FORWARD)) }
    /// The switch is not to learn the frame's source (NS_NO_LEARN).
    @inlinable public static var noLearn: SlotFlags { SlotFlags(rawValue: UInt16(NS_NO_LEARN)) }
    /// The frame goes to this port of the sender's switch (NS_PORT beside NS_NO_LEARN).
    ///
    /// Whatever its addresses say; and its source is not learned. The number is the one in VALE_LIST
    /// (`PortSpace.place(of:)`). If no port has it, the frame is dropped: `no-destination`.
    ///
    /// - Parameter number: 1 to 254; ports beyond those cannot be named.
    /// - Returns: the flags for each slot of the frame.
    @inlinable public static func port(_ number: Int) -> SlotFlags {
        precondition((1..<255).contains(number), "a port's number is 1 to 254")
        return SlotFlags(rawValue: UInt16(NS_NO_LEARN) | UInt16(number) &<< UInt16(NS_PORT_SHIFT))
    }
    /// The frame goes on in the next slot (NS_MOREFRAG).
    @inlinable public static var moreFragments: SlotFlags {
        SlotFlags(rawValue: UInt16(NS_MOREFRAG))
    }
    /// A monitor saw the frame leave, not arrive (NS_TXMON).
    @inlinable public static var seenLeaving: SlotFlags { SlotFlags(rawValue: UInt16(NS_TXMON)) }
}
