// The guest's side of a virtqueue: what a driver does, and, where a test asks for it, what no driver
// does. The format is the ring's business; buffers, tables and frames are not.

import Netmap

@testable import VhostUser

/// A buffer of a chain, in guest addresses.
struct Piece: Hashable {
    var address: UInt64
    var length: Int
}

/// A driver for one queue.
///
/// It writes chains, makes them available, and takes used chains back.
final class MockDriver {
    /// A chain that the device gave back.
    struct Used {
        var id: UInt16
        var length: Int
        var pieces: [Piece]
    }

    private struct Chain {
        var pieces: [Piece]
        var slice: Int
    }

    let ram: GuestRAM
    let size: UInt16
    let format: Format
    let features: UInt64
    let areas: RingAreas
    let ring: any DriverRing
    let indirectTables: UInt64
    let slices: UInt64
    let sliceSize: Int
    let tableEntries: Int
    private var freeSlices: [Int]
    private var chains: [UInt16: Chain] = [:]

    /// Lays a queue out at `base`, buffers behind the rings.
    ///
    /// `sliceCount` chains can be in flight, each with `sliceSize` bytes of buffers and an indirect
    /// table of `tableEntries`.
    init(
        _ format: Format,
        _ ram: GuestRAM,
        size: UInt16,
        features: UInt64,
        base: UInt64? = nil,
        sliceCount: Int? = nil,
        sliceSize: Int = 2048,
        tableEntries: Int = 64
    ) {
        self.ram = ram
        self.size = size
        self.format = format
        self.features = features | format.feature
        self.sliceSize = sliceSize
        self.tableEntries = tableEntries
        let start = base ?? ram.start
        areas = RingAreas(size, at: start, format)
        ring =
            switch format {
            case .split: SplitDriverRing(ram, size: size, areas: areas, features: features)
            case .packed: PackedDriverRing(ram, size: size, areas: areas, features: features)
            }
        indirectTables = (start + UInt64(RingAreas.footprint(size, format)) + 15) & ~15
        let count = sliceCount ?? Int(size)
        slices = indirectTables + UInt64(16 * tableEntries * count)
        freeSlices = Array(0..<count).reversed()
    }

    /// Bytes that such a queue takes.
    static func footprint(
        _ format: Format,
        size: UInt16,
        sliceCount: Int? = nil,
        sliceSize: Int = 2048,
        tableEntries: Int = 64
    ) -> Int {
        RingAreas.footprint(size, format) + 16
            + (sliceCount ?? Int(size)) * (sliceSize + 16 * tableEntries)
    }

    /// The ring of a split queue, for what other queues do not have.
    var split: SplitDriverRing {
        guard let split = ring as? SplitDriverRing else { fatalError("not a split queue") }
        return split
    }

    /// The ring of a packed queue.
    var packed: PackedDriverRing {
        guard let packed = ring as? PackedDriverRing else { fatalError("not a packed queue") }
        return packed
    }

    var mergeable: Bool { features & Feature.mergeableBuffers != 0 }
    var headerLength: Int {
        features & (Feature.version1 | Feature.mergeableBuffers) != 0 ? 12 : 10
    }

    /// The device's side of the queue, in the guest's memory as `memory` maps it, begun at `base`.
    func makeQueue(
        _ memory: GuestMemory? = nil,
        base: UInt32? = nil,
        dirty: DirtyPages? = nil,
        record: RingRecord? = nil
    ) -> any DeviceQueue {
        let sizes = RingSetup.areas(size, isPacked: format == .packed)
        let memory = memory ?? ram.memory
        return unsafe format.makeQueue(
            QueueSetup(
                size: size,
                descriptors: ram.host(areas.descriptors, sizes.descriptors, memory),
                available: ram.host(areas.available, sizes.available, memory),
                used: ram.host(areas.used, sizes.used, memory),
                base: base ?? type(of: ring).firstBase,
                features: features,
                memory: memory,
                dirty: dirty,
                record: record
            )
        )
    }

    // MARK: Adding buffers

    /// Adds a chain of buffers of `lengths` bytes with `content`; `publish` makes it visible.
    ///
    /// The first `direct` buffers have descriptors in the ring itself, the others go to an indirect
    /// table; nil for all. Between buffers are `gap` bytes.
    ///
    /// - Returns: the chain's id, or nil if there is no room.
    @discardableResult
    func post(
        _ lengths: [Int],
        writable: Bool = false,
        direct: Int? = nil,
        gap: Int = 0,
        content: [UInt8] = []
    ) -> UInt16? {
        let inRing = direct ?? lengths.count
        let needed = inRing + (inRing < lengths.count ? 1 : 0)
        guard needed > 0, ring.room >= needed, let slice = freeSlices.popLast() else { return nil }
        var address = slices + UInt64(slice * sliceSize)
        var pieces: [Piece] = []
        for length in lengths {
            pieces.append(Piece(address: address, length: length))
            address += UInt64(length + gap)
        }
        precondition(address <= slices + UInt64((slice + 1) * sliceSize + gap), "slice too small")
        write(content, to: pieces)
        let cells = pieces.map { Cell($0.address, $0.length, writable ? Cell.writable : 0) }
        var chain = Array(cells[..<inRing])
        if inRing < lengths.count {
            precondition(lengths.count - inRing <= tableEntries, "no room for such a table")
            let table = indirectTables + UInt64(16 * tableEntries * slice)
            ring.writeTable(Array(cells[inRing...]), at: table)
            chain.append(Cell(table, 16 * (lengths.count - inRing), Cell.indirect))
        }
        let id = ring.add(chain, isOpen: false)
        chains[id] = Chain(pieces: pieces, slice: slice)
        return id
    }

    /// Makes visible what was added.
    ///
    /// - Returns: whether the device wants to be kicked.
    @discardableResult
    func publish() -> Bool { ring.publish() }

    // MARK: Taking them back

    /// The chains that the device gave back, in its order; their descriptors are free again.
    func poll() -> [Used] {
        var result: [Used] = []
        while let used = ring.takeUsed() {
            let chain = chains.removeValue(forKey: used.id)
            if let chain { freeSlices.append(chain.slice) }
            result.append(Used(id: used.id, length: used.length, pieces: chain?.pieces ?? []))
        }
        return result
    }

    /// The first `count` bytes of a chain's buffers.
    func read(_ pieces: [Piece], _ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        for piece in pieces where bytes.count < count {
            bytes += ram.bytes(at: piece.address, min(piece.length, count - bytes.count))
        }
        return bytes
    }

    func write(_ bytes: [UInt8], to pieces: [Piece]) {
        var done = 0
        for piece in pieces where done < bytes.count {
            let n = min(piece.length, bytes.count - done)
            ram.write(Array(bytes[done..<done + n]), at: piece.address)
            done += n
        }
    }
}
