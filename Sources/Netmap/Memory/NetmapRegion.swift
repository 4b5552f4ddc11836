// One allocator of netmap objects (netmap-spec 1.8): interfaces, rings and buffers in one memory file.

/// Memory that ports with the same id share.
///
/// Control thread only, but for what lies in the mapping.
package final class NetmapRegion {
    /// Its number (nr_mem_id).
    package let id: UInt16
    /// The memory file and its mapping.
    package let file: OwnedDescriptor
    package let mapping: Mapping
    /// Where buffer 0 is, from the beginning.
    package let bufferOffset: Int
    /// Bytes a buffer, and the stride between buffers.
    package let bufferSize: Int
    /// How many there are; indices 0 and 1 are never handed out.
    package let bufferCount: Int

    init(
        id: UInt16,
        file: OwnedDescriptor,
        mapping: Mapping,
        bufferOffset: Int,
        bufferSize: Int,
        bufferCount: Int
    ) {
        self.id = id
        self.file = file
        self.mapping = mapping
        self.bufferOffset = bufferOffset
        self.bufferSize = bufferSize
        self.bufferCount = bufferCount
    }
}

/// The control file of a port (netmap_wire.h).
package final class ControlFile {
    package let file: OwnedDescriptor
    package let mapping: Mapping
    /// How many krings are in it.
    package let count: Int

    init(file: OwnedDescriptor, mapping: Mapping, count: Int) {
        self.file = file
        self.mapping = mapping
        self.count = count
    }
}
