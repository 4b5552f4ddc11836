// A wire from one switch to another: a ring that the first fills as it fills any port's receive ring, and
// that the second empties as any port's transmit ring. No program has it, so it needs no memory file.

import CNetmap

/// The memory of such a ring: indices, slots and buffers, which two `Kring`s see from either side.
///
/// Both must be gone before it.
@safe package final class SpliceRing {
    let memory: UnsafeMutableRawPointer
    let slots: Int

    static let bufferSize = 2048
    /// Requests for checksums and segmentation cross as they are.
    static let headerLength = 12

    private static let slotOffset = 2 * Int(NM_KRING_SIZE)
    /// At least so many that the longest frame fits.
    private static let leastSlots = 128

    /// Makes an empty ring of `slots` slots.
    package init(slots: Int) {
        let count = max(SpliceRing.leastSlots, slots)
        self.slots = count
        let length = SpliceRing.bufferOffset(count) + count * SpliceRing.bufferSize
        unsafe memory = .allocate(byteCount: length, alignment: 64)
        // SAFETY: the two krings and the slots lie in front of the buffers, whose contents nobody reads
        // before they are written.
        unsafe memory.initializeMemory(
            as: UInt8.self,
            repeating: 0,
            count: SpliceRing.bufferOffset(count)
        )
        for slot in 0..<count {
            unsafe nm_store32(memory + SpliceRing.slotOffset + slot * NM_SLOT_SIZE, UInt32(slot))
        }
    }

    deinit { unsafe memory.deallocate() }

    private static func bufferOffset(_ slots: Int) -> Int {
        (slotOffset + slots * NM_SLOT_SIZE + 63) & ~63
    }

    /// The kring of one side.
    func control(transmit: Bool) -> UnsafeMutableRawPointer {
        unsafe memory + (transmit ? Int(NM_KRING_SIZE) : 0)
    }

    var slotBase: UnsafeMutableRawPointer { unsafe memory + SpliceRing.slotOffset }
    var buffers: UnsafeMutableRawPointer { unsafe memory + SpliceRing.bufferOffset(slots) }
}
