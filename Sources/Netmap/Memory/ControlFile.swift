// The control file of a port: where its rings are synced (netmap_wire.h).

import CNetmap
import Glibc

/// The control file of a port, or of both ends of a pipe.
@safe package final class ControlFile {
    package let file: OwnedDescriptor
    package let mapping: Mapping
    /// How many krings are in it.
    package let count: Int

    init(count: Int) throws(NetmapError) {
        self.count = count
        let length = NM_CONTROL_KRINGS + count * NM_KRING_SIZE
        (file, mapping) = try NetmapRegion.memory("netmap control file", (length + 4095) & ~4095)
        // SAFETY: the file is a page at least.
        unsafe mapping.base.storeBytes(of: NM_CONTROL_MAGIC, as: UInt64.self)
        unsafe nm_store32(mapping.base + 8, UInt32(NM_WIRE_VERSION))
        unsafe nm_store32(mapping.base + 12, UInt32(count))
    }

    /// Puts a kring at its beginning: all slots are the engine's (RX) or all but one the program's.
    func begin(_ kring: Int, ring: RingNumber, slots: Int, offset: Int, mode: Int, peer: Int) {
        unsafe memset(mapping.base + at(kring), 0, NM_KRING_SIZE)
        let tail = ring.firstTail(slots: slots)
        store(tail, kring, NM_KRING_TAIL)
        store(tail, kring, NM_KRING_HWTAIL)
        store(slots, kring, NM_KRING_SLOTS)
        store(peer, kring, NM_KRING_PEER)
        unsafe nm_store64(mapping.base + at(kring) + NM_KRING_RING, UInt64(offset))
        setMode(mode, kring)
    }

    /// Says who moves the ring's slots from now on (NM_KRING_*).
    func setMode(_ mode: Int, _ kring: Int) { store(mode, kring, NM_KRING_MODE) }

    /// Says what a loop that drives the ring is to do (NM_LOOP_*).
    func setLoop(_ state: Int, _ kring: Int) { store(state, kring, NM_KRING_LOOP) }

    /// A field of a kring; who else writes there is not to be believed.
    func load(_ kring: Int, _ field: Int) -> Int {
        Int(unsafe nm_load32(mapping.base + at(kring) + field))
    }

    private func store(_ value: Int, _ kring: Int, _ field: Int) {
        // SAFETY: `at` checks the kring, and a field is one of the ABI's offsets in it.
        unsafe nm_store32_release(mapping.base + at(kring) + field, UInt32(clamping: value))
    }

    private func at(_ kring: Int) -> Int {
        precondition((0..<count).contains(kring))
        return NM_CONTROL_KRINGS + kring * NM_KRING_SIZE
    }
}
