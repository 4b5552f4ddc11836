// Memory that a port's owner and the switch share: rings and the buffers that their slots name.

import CNetmap
import Glibc

/// A sealed piece of shared memory with netmap rings and buffers in it.
///
/// Owns the mapping and the memory file. Rings and `Kring`s made from it hold plain addresses and
/// must not outlive it.
@safe public struct Region: ~Copyable {
    /// What a region is made of.
    public struct Layout: Sendable {
        /// Rings for frames from the owner to the switch.
        public var transmitRings = 1
        /// Rings for frames from the switch to the owner.
        public var receiveRings = 1
        /// Slots a ring.
        public var slots = 1024
        /// Bytes a buffer, which is also the stride between buffers.
        ///
        /// 2112 is 33 cache lines: frames' first lines then spread over all cache sets
        /// (docs/performance.md).
        public var bufferSize = 2112
        /// Buffers beyond one for each slot.
        public var extraBuffers = 0

        /// The layout of a VALE port: one ring a direction, 1024 slots.
        public init() {}
    }

    /// The layout asked for.
    public let layout: Layout
    /// Length of the mapping in bytes.
    public let byteCount: Int
    /// The memory file.
    public let descriptor: OwnedDescriptor
    private let mapping: Mapping
    let buffersOffset: Int
    let bufferCount: Int

    /// Makes a region, its rings empty, each slot with a buffer of its own.
    public init(_ layout: Layout = Layout()) throws(SystemError) {
        precondition(layout.slots > 1 && layout.bufferSize >= 64 && layout.bufferSize % 64 == 0)
        let rings = layout.transmitRings + layout.receiveRings
        let ringSize = Region.ringStride(slots: layout.slots)
        let bufferCount = 2 + rings * layout.slots + layout.extraBuffers
        let buffersOffset = (rings * ringSize + 4095) & ~4095
        let byteCount = (buffersOffset + bufferCount * layout.bufferSize + 4095) & ~4095
        let file = try SystemError.check(
            unsafe nm_memfd_create("netmap", UInt64(byteCount)),
            "memfd_create"
        )
        let descriptor = OwnedDescriptor(file)
        mapping = try Mapping(descriptor, length: byteCount)
        self.layout = layout
        self.byteCount = byteCount
        self.descriptor = descriptor
        self.buffersOffset = buffersOffset
        self.bufferCount = bufferCount
        for ring in 0..<rings { initialise(ring: ring) }
    }

    /// The switch's side of transmit ring `index`.
    public func transmitKring(_ index: Int = 0) -> Kring {
        precondition((0..<layout.transmitRings).contains(index))
        return kring(index, transmit: true)
    }

    /// The switch's side of receive ring `index`.
    public func receiveKring(_ index: Int = 0) -> Kring {
        precondition((0..<layout.receiveRings).contains(index))
        return kring(layout.transmitRings + index, transmit: false)
    }

    /// The owner's side of transmit ring `index`.
    public func transmitRing(_ index: Int = 0) -> Ring {
        precondition((0..<layout.transmitRings).contains(index))
        return unsafe Ring(unsafeBase: ringBase(index), slots: layout.slots)
    }

    /// The owner's side of receive ring `index`.
    public func receiveRing(_ index: Int = 0) -> Ring {
        precondition((0..<layout.receiveRings).contains(index))
        return unsafe Ring(
            unsafeBase: ringBase(layout.transmitRings + index),
            slots: layout.slots
        )
    }

    var base: UnsafeMutableRawPointer { unsafe mapping.base }

    static func ringStride(slots: Int) -> Int {
        (NM_RING_SLOTS + slots * NM_SLOT_SIZE + 127) & ~127
    }

    private func ringBase(_ ring: Int) -> UnsafeMutableRawPointer {
        unsafe base + ring * Region.ringStride(slots: layout.slots)
    }

    private func kring(_ ring: Int, transmit: Bool) -> Kring {
        unsafe Kring(
            unsafeRing: ringBase(ring),
            slots: layout.slots,
            buffers: base + buffersOffset,
            bufferSize: layout.bufferSize,
            bufferCount: bufferCount,
            transmit: transmit
        )
    }

    private func initialise(ring: Int) {
        let transmit = ring < layout.transmitRings
        let at = unsafe ringBase(ring)
        // SAFETY: the ring's header lies inside the mapping (`ringStride` times `ring`).
        unsafe (at + 0).storeBytes(
            of: Int64(buffersOffset - ring * Region.ringStride(slots: layout.slots)),
            as: Int64.self
        )
        unsafe (at + 8).storeBytes(of: UInt32(layout.slots), as: UInt32.self)
        unsafe (at + 12).storeBytes(of: UInt32(layout.bufferSize), as: UInt32.self)
        unsafe (at + 16).storeBytes(
            of: UInt16(transmit ? ring : ring - layout.transmitRings),
            as: UInt16.self
        )
        unsafe (at + 18).storeBytes(of: transmit ? 1 : 0, as: UInt16.self)
        if transmit {
            unsafe nm_store32(at + NM_RING_TAIL, UInt32(layout.slots - 1))
        }
        for slot in 0..<layout.slots {
            let buffer = UInt64(2 + ring * layout.slots + slot)
            let offset = NM_RING_SLOTS + slot * NM_SLOT_SIZE
            unsafe nm_store64(at + offset, buffer)
        }
    }
}
