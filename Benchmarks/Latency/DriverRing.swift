// The driver's half of a split ring as a polling driver has it: every descriptor has one buffer for ever,
// so that a step costs the stores that the format asks for and nothing else.

import CNetmap
import Glibc
import Netmap
import VhostUser

/// A ring and its buffers at one place of a memory that lives at least as long.
@safe struct DriverRing: ~Copyable {
    /// Buffers of a ring; descriptors of a longer one share them.
    static let bufferCount = 256
    static let headerLength = 12
    /// Room for a whole frame behind its header.
    private static let stride = 2304
    /// Descriptors.
    let entries: Int
    private let available: Int
    private let used: Int
    private let buffers: Int

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

    /// Where the areas of a ring lie: on pages of their own, so that no line is shared with another ring's.
    private static func areas(_ entries: Int) -> (available: Int, used: Int, buffers: Int) {
        func page(_ n: Int) -> Int { (n + 4095) & ~4095 }
        let available = page(entries * NM_VRING_DESC_SIZE)
        let used = available + page(6 + 2 * entries)
        return (available, used, used + page(6 + NM_VRING_USED_ELEM_SIZE * entries))
    }

    /// Bytes that a ring takes.
    static func length(_ entries: Int) -> Int {
        (areas(entries).buffers + bufferCount * stride + 4095) & ~4095
    }

    /// A ring at `offset` of `memory`, which begins at `start` for the back-end.
    init(
        in memory: Mapping,
        at offset: Int,
        start: UInt64,
        writable: Bool,
        entries: Int = bufferCount,
        frameLength: Int = Trip.frameLength
    ) throws {
        precondition(
            offset + DriverRing.length(entries) <= memory.length,
            "a ring beyond its memory"
        )
        self.entries = entries
        (available, used, buffers) = DriverRing.areas(entries)
        let descriptors = try [0, 1].map { _ in
            OwnedDescriptor(try SystemError.check(nm_eventfd(), "eventfd"))
        }
        (kick, call) = (descriptors[0], descriptors[1])
        address = start + UInt64(offset)
        // SAFETY: all of the ring lies in the mapping (checked above), which the caller keeps.
        unsafe base = unsafe memory.base + offset
        let bytes = writable ? DriverRing.stride : DriverRing.headerLength + frameLength
        for i in 0..<entries {
            let cell = unsafe base + i * NM_VRING_DESC_SIZE
            let slot = i & (DriverRing.bufferCount - 1)
            let buffer = address + UInt64(buffers + slot * DriverRing.stride)
            unsafe nm_store64(cell, buffer)
            unsafe nm_store64(cell + 8, UInt64(bytes) | (writable ? 2 : 0) &<< 32)
            unsafe nm_store16(
                base + available + NM_VRING_AVAIL_RING + 2 * i,
                UInt16(i)
            )
        }
        // Whoever polls wants no interrupts.
        unsafe nm_store16(base + available + NM_VRING_AVAIL_FLAGS, 1)
    }

    var areas: (descriptors: UInt64, available: UInt64, used: UInt64) {
        (address, address + UInt64(available), address + UInt64(used))
    }

    /// Where the frame of buffer `index` begins, behind its virtio-net header.
    func frame(_ index: Int) -> UnsafeMutableRawPointer {
        // SAFETY: masked, so inside the ring's memory.
        unsafe base + buffers + (index & (DriverRing.bufferCount - 1)) * DriverRing.stride
            + DriverRing.headerLength
    }

    /// The buffer that is offered next, or nil while the device has all of them.
    var free: Int? {
        let done = unsafe nm_load16(base + used + NM_VRING_USED_IDX)
        return Int(offered &- done) < entries ? Int(offered) & (entries - 1) : nil
    }

    /// Offers the next `count` buffers, and wakes a device that asks for it.
    mutating func offer(_ count: Int = 1) {
        offered &+= UInt16(count)
        unsafe nm_store16_release(base + available + NM_VRING_AVAIL_IDX, offered)
        // The device announces that it sleeps and looks once more; we publish and look at what it announced.
        nm_fence()
        if unsafe nm_load16(base + used + NM_VRING_USED_FLAGS) & 1 == 0 { notify() }
    }

    mutating func notify() {
        kicks &+= 1
        _ = nm_eventfd_ring(kick.number)
    }

    /// The next buffer that the device filled, if there is one.
    mutating func take() -> Int? {
        let index = unsafe nm_load16_acquire(base + used + NM_VRING_USED_IDX)
        guard index != seen else { return nil }
        let slot = Int(seen) & (entries - 1)
        let element =
            unsafe base + used + NM_VRING_USED_RING
            + slot * NM_VRING_USED_ELEM_SIZE
        seen &+= 1
        return Int(unsafe nm_load32(element))
    }

    /// Sends up to `limit` frames with the numbers from `number` on in them.
    ///
    /// - Returns: how many there was room for.
    mutating func produce(_ limit: Int, from number: UInt64) -> Int {
        let done = unsafe nm_load16_acquire(base + used + NM_VRING_USED_IDX)
        let count = min(entries - Int(offered &- done), limit)
        guard count > 0 else { return 0 }
        for k in 0..<count {
            let frame = unsafe frame(Int(offered) + k)
            unsafe nm_store64(frame - DriverRing.headerLength, 0)
            unsafe nm_store64(frame + Trip.numberOffset, number &+ UInt64(k))
        }
        offer(count)
        return count
    }

    /// Looks at up to `limit` frames and gives their buffers back.
    ///
    /// - Returns: how many there were.
    mutating func consume(_ limit: Int, into sum: inout UInt64) -> Int {
        let end = unsafe nm_load16_acquire(base + used + NM_VRING_USED_IDX)
        let count = min(Int(end &- seen), limit)
        guard count > 0 else { return 0 }
        for k in 0..<count {
            let slot = Int(seen &+ UInt16(k)) & (entries - 1)
            let element =
                unsafe base + used + NM_VRING_USED_RING + slot * NM_VRING_USED_ELEM_SIZE
            let buffer = unsafe Int(nm_load32(element))
            sum &+= unsafe nm_load64(frame(buffer))
            put(buffer, k)
        }
        seen &+= UInt16(count)
        offer(count)
        return count
    }

    /// Offers again whatever the device has returned.
    mutating func offerAll() {
        let done = unsafe nm_load16(base + used + NM_VRING_USED_IDX)
        let count = entries - Int(offered &- done)
        if count > 0 { offer(count) }
    }

    /// Gives a taken buffer back to the device.
    mutating func giveBack(_ buffer: Int) {
        put(buffer, 0)
        offer()
    }

    /// Names the buffer that is offered `ahead` after the next.
    private func put(_ buffer: Int, _ ahead: Int) {
        let slot = (Int(offered) + ahead) & (entries - 1)
        unsafe nm_store16(
            base + available + NM_VRING_AVAIL_RING + 2 * slot,
            UInt16(truncatingIfNeeded: buffer)
        )
    }
}
