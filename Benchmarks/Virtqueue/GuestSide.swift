// The guest's half of a virtqueue, reduced to what a polling driver with preallocated buffers does:
// every descriptor owns one buffer for ever, and offering one is a step of avail.idx.

import CNetmap
import Glibc
import Netmap
import VhostUser

/// A guest with one queue: its memory in a memfd, its driver, and the switch's view of the queue.
@safe struct GuestSide: ~Copyable {
    /// Bytes from one buffer to the next: what a DPDK mbuf takes.
    static let stride = 2304
    static let headerLength = 12
    private static let bufferStart = 512 * 1024

    var queue: SplitQueue
    let entries: Int
    private let memory: GuestMemory
    private let base: UnsafeMutableRawPointer
    private let available: Int
    private let used: Int
    private var index: UInt16 = 0

    /// Sets up a queue of `entries` descriptors with `bufferLength` bytes each.
    init(entries: Int, bufferLength: Int, writable: Bool) throws {
        let sizes = RingSetup.areas(UInt16(entries), isPacked: false)
        let available = (sizes.descriptors + 4095) & ~4095
        let used = available + (sizes.available + 4095) & ~4095
        precondition(used + sizes.used <= GuestSide.bufferStart, "the rings reach into the buffers")
        let length = (GuestSide.bufferStart + entries * GuestSide.stride + 4095) & ~4095
        let file = OwnedDescriptor(
            try SystemError.check(
                unsafe nm_memfd_create("bench-guest", UInt64(length)),
                "memfd_create"
            )
        )
        // Guest addresses that are not ours, as in life.
        let start: UInt64 = 0x1_0000_0000
        let region = MemoryRegion(
            guestAddress: start,
            size: UInt64(length),
            userAddress: start,
            fileOffset: 0
        )
        let memory = try GuestMemory([region], files: [file])
        guard let host = unsafe memory.host(user: start, length: length) else {
            fatalError("the region is not mapped")
        }
        self.entries = entries
        self.available = available
        self.used = used
        self.memory = memory
        unsafe base = unsafe host
        // SAFETY: the region holds the rings and `entries` buffers; `host` maps all of it.
        for i in 0..<entries {
            let cell = unsafe host + i * NM_VRING_DESC_SIZE
            let buffer = GuestSide.bufferStart + i * GuestSide.stride
            unsafe nm_store64(cell, start + UInt64(buffer))
            unsafe nm_store64(cell + 8, UInt64(bufferLength) | (writable ? 2 : 0) &<< 32)
            unsafe nm_store16(host + available + NM_VRING_AVAIL_RING + 2 * i, UInt16(i))
            unsafe memset(host + buffer, 0, GuestSide.stride)
        }
        // The driver polls: no interrupts.
        unsafe nm_store16(host + available + NM_VRING_AVAIL_FLAGS, 1)
        queue = unsafe SplitQueue(
            QueueSetup(
                size: UInt16(entries),
                descriptors: host,
                available: host + available,
                used: host + used,
                base: 0,
                features: Feature.version1 | Feature.mergeableBuffers,
                memory: memory
            )
        )
    }

    /// Writes the Ethernet addresses of every buffer's frame.
    func address(from source: UInt64, to destination: UInt64) {
        for i in 0..<entries {
            let frame = unsafe self.frame(i)
            // SAFETY: a buffer has room for a header and more than twelve bytes.
            unsafe nm_store64(frame, destination | source &<< 48)
            unsafe nm_store32(frame + 8, UInt32(truncatingIfNeeded: source &>> 16))
        }
    }

    /// Where the frame of buffer `index` begins, behind its virtio-net header.
    func frame(_ index: Int) -> UnsafeMutableRawPointer {
        // SAFETY: below `entries` (the callers' loops).
        unsafe base + GuestSide.bufferStart + index &* GuestSide.stride + GuestSide.headerLength
    }

    /// Offers the next `count` buffers of the ring to the device.
    mutating func offer(_ count: Int) {
        index = index &+ UInt16(truncatingIfNeeded: count)
        // SAFETY: avail.idx is inside the mapped ring.
        unsafe nm_store16_release(base + available + NM_VRING_AVAIL_IDX, index)
    }

    /// How many buffers the device has given back since the queue began, modulo 65536.
    var returned: UInt16 { unsafe nm_load16_acquire(base + used + NM_VRING_USED_IDX) }

    /// Makes the descriptors of the whole ring into chains of `count` with `length` bytes each.
    mutating func chain(_ count: Int, length: Int, writable: Bool = false) {
        // SAFETY: as in `init`; every buffer has `stride` bytes.
        for i in 0..<entries {
            let cell = unsafe base + i * NM_VRING_DESC_SIZE
            let isLast = i % count == count - 1
            let flags: UInt64 = (writable ? 2 : 0) | (isLast ? 0 : 1)
            unsafe nm_store64(
                cell + 8,
                UInt64(length) | flags &<< 32 | UInt64(isLast ? 0 : i + 1) &<< 48
            )
        }
        for k in 0..<entries {
            unsafe nm_store16(
                base + available + NM_VRING_AVAIL_RING + 2 * k,
                UInt16(k * count % entries)
            )
        }
    }
}
