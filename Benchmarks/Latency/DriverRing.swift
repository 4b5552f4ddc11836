// The driver's half of a split ring as a polling driver has it: every descriptor owns one buffer for ever,
// so that a step costs the stores that the format asks for and nothing else.

import CNetmap
import Glibc
import Netmap
import VhostUser

/// A ring and its buffers at one place of a memory that lives at least as long.
@safe struct DriverRing: ~Copyable {
    static let entries = 256
    static let headerLength = 12
    /// Room for a whole frame behind its header.
    private static let stride = 2304
    // Areas on pages of their own: no line is shared with another ring's.
    private static let available = 4096
    private static let used = 8192
    private static let buffers = 16384
    /// Bytes that a ring takes.
    static let length = buffers + entries * stride

    /// Where the ring begins, as the back-end is told.
    let address: UInt64
    let kick: OwnedDescriptor
    /// Never waited for, but a back-end may want one before it starts the ring.
    let call: OwnedDescriptor
    /// How often the back-end wanted to be woken.
    private(set) var kicks = 0
    private let base: UnsafeMutableRawPointer
    private var offered: UInt16 = 0
    private var seen: UInt16 = 0

    /// A ring at `offset` of `memory`, which begins at `start` for the back-end.
    init(in memory: Mapping, at offset: Int, start: UInt64, writable: Bool) throws {
        precondition(offset + DriverRing.length <= memory.length, "a ring beyond its memory")
        let descriptors = try [0, 1].map { _ in
            OwnedDescriptor(try SystemError.check(nm_eventfd(), "eventfd"))
        }
        (kick, call) = (descriptors[0], descriptors[1])
        address = start + UInt64(offset)
        // SAFETY: all of the ring lies in the mapping (checked above), which the caller keeps.
        unsafe base = unsafe memory.base + offset
        let bytes = writable ? DriverRing.stride : DriverRing.headerLength + Trip.frameLength
        for i in 0..<DriverRing.entries {
            let cell = unsafe base + i * NM_VRING_DESC_SIZE
            let buffer = address + UInt64(DriverRing.buffers + i * DriverRing.stride)
            unsafe nm_store64(cell, buffer)
            unsafe nm_store64(cell + 8, UInt64(bytes) | (writable ? 2 : 0) &<< 32)
            unsafe nm_store16(
                base + DriverRing.available + NM_VRING_AVAIL_RING + 2 * i,
                UInt16(i)
            )
        }
        // Whoever polls wants no interrupts.
        unsafe nm_store16(base + DriverRing.available + NM_VRING_AVAIL_FLAGS, 1)
    }

    var areas: (descriptors: UInt64, available: UInt64, used: UInt64) {
        (address, address + UInt64(DriverRing.available), address + UInt64(DriverRing.used))
    }

    /// Where the frame of buffer `index` begins, behind its virtio-net header.
    func frame(_ index: Int) -> UnsafeMutableRawPointer {
        // SAFETY: masked, so inside the ring's memory.
        unsafe base + DriverRing.buffers + (index & (DriverRing.entries - 1)) * DriverRing.stride
            + DriverRing.headerLength
    }

    /// The buffer that is offered next, or nil while the device has all of them.
    var free: Int? {
        let used = unsafe nm_load16(base + DriverRing.used + NM_VRING_USED_IDX)
        return offered &- used < DriverRing.entries ? Int(offered) & (DriverRing.entries - 1) : nil
    }

    /// Offers the next `count` buffers, and wakes a device that asks for it.
    mutating func offer(_ count: Int = 1) {
        offered &+= UInt16(count)
        unsafe nm_store16_release(base + DriverRing.available + NM_VRING_AVAIL_IDX, offered)
        // The device announces that it sleeps and looks once more; we publish and look at what it announced.
        nm_fence()
        if unsafe nm_load16(base + DriverRing.used + NM_VRING_USED_FLAGS) & 1 == 0 { notify() }
    }

    mutating func notify() {
        kicks &+= 1
        _ = nm_eventfd_ring(kick.number)
    }

    /// The next buffer that the device filled, if there is one.
    mutating func take() -> Int? {
        let index = unsafe nm_load16_acquire(base + DriverRing.used + NM_VRING_USED_IDX)
        guard index != seen else { return nil }
        let slot = Int(seen) & (DriverRing.entries - 1)
        let element =
            unsafe base + DriverRing.used + NM_VRING_USED_RING
            + slot * NM_VRING_USED_ELEM_SIZE
        seen &+= 1
        return Int(unsafe nm_load32(element))
    }

    /// Gives a taken buffer back to the device.
    mutating func giveBack(_ buffer: Int) {
        let slot = Int(offered) & (DriverRing.entries - 1)
        unsafe nm_store16(
            base + DriverRing.available + NM_VRING_AVAIL_RING + 2 * slot,
            UInt16(truncatingIfNeeded: buffer)
        )
        offer()
    }
}
