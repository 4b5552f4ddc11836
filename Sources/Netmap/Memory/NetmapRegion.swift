// The memory of an allocator (netmap-spec 1.8): interfaces, rings and buffers in one memory file.

import CNetmap
import Glibc

/// Memory that ports with the same id share, and what of it is in use.
///
/// Control thread only, but for what lies in the mapping.
@safe package final class NetmapRegion {
    /// Its number (nr_mem_id).
    package let id: UInt16
    /// Where the pools are.
    package let geometry: PoolGeometry
    /// The memory file and its mapping.
    package let file: OwnedDescriptor
    package let mapping: Mapping
    var interfaces: ObjectPool
    var rings: ObjectPool
    var buffers: ObjectPool

    /// Where buffer 0 is, from the beginning.
    package var bufferOffset: Int { geometry.bufferOffset }
    /// Bytes a buffer, and the stride between buffers.
    package var bufferSize: Int { geometry.buffers.objectSize }
    /// How many there are; indices 0 and 1 are never handed out.
    package var bufferCount: Int { geometry.buffers.count }

    init(id: UInt16, geometry: PoolGeometry) throws(NetmapError) {
        self.id = id
        self.geometry = geometry
        let pages = (geometry.byteCount + 4095) & ~4095
        (file, mapping) = try Self.memory("netmap region", pages)
        interfaces = ObjectPool(count: geometry.interfaces.count)
        rings = ObjectPool(count: geometry.rings.count)
        buffers = ObjectPool(count: geometry.buffers.count, reserved: 2)
    }

    static func memory(
        _ what: String,
        _ length: Int
    ) throws(NetmapError) -> (OwnedDescriptor, Mapping) {
        do throws(SystemError) {
            let file = OwnedDescriptor(
                try SystemError.check(
                    unsafe nm_memfd_create(what, UInt64(length)),
                    "memfd_create"
                )
            )
            return (file, try Mapping(file, length: length))
        } catch {
            throw NetmapError(ENOMEM, "no memory for a \(what) of \(length) bytes: \(error)")
        }
    }

    // SAFETY: every offset is checked against the mapping, which lives as long as this object.
    // What is read here may have been written by any program; it is a copy.

    func load32(_ offset: Int) -> UInt32 {
        unsafe nm_load32(address(offset, 4))
    }

    func store8(_ value: UInt8, _ offset: Int) {
        unsafe nm_store8(address(offset, 1), value)
    }

    func store16(_ value: Int, _ offset: Int) {
        unsafe nm_store16(address(offset, 2), UInt16(clamping: value))
    }

    func store32(_ value: Int, _ offset: Int) {
        unsafe nm_store32(address(offset, 4), UInt32(clamping: value))
    }

    func store64(_ value: Int, _ offset: Int) {
        unsafe nm_store64(address(offset, 8), UInt64(bitPattern: Int64(value)))
    }

    func clear(_ offset: Int, _ length: Int) {
        unsafe memset(address(offset, length), 0, length)
    }

    private func address(_ offset: Int, _ length: Int) -> UnsafeMutableRawPointer {
        precondition(offset >= 0 && length >= 0 && offset <= mapping.length - length)
        return unsafe mapping.base + offset
    }
}
