// The guest's side of a split virtqueue (virtio 1.2, section 2.7): what a driver does, and, where a
// test asks for it, what no driver does. Written from the specification, not from the device's code.

import Netmap

@testable import VhostUser

/// A buffer of a chain, in guest addresses.
struct Piece: Hashable {
    var address: UInt64
    var length: Int
}

/// A driver for one queue.
///
/// It fills descriptors, moves avail.idx, and takes used chains back.
final class MockDriver {
    /// A chain that the device gave back.
    struct Used {
        var head: UInt16
        var length: Int
        var pieces: [Piece]
    }

    private struct Chain {
        var descriptors: [UInt16]
        var pieces: [Piece]
        var slice: Int
    }

    let ram: GuestRAM
    let size: UInt16
    let features: UInt64
    let descriptors: UInt64
    let available: UInt64
    let used: UInt64
    let indirectTables: UInt64
    let slices: UInt64
    let sliceSize: Int
    let tableEntries: Int

    /// avail.idx as it will be published.
    private(set) var availableIndex: UInt16 = 0
    /// avail.idx as it was last published.
    private(set) var publishedIndex: UInt16 = 0
    /// The next used entry to look at.
    private(set) var usedIndex: UInt16 = 0
    private var freeDescriptors: [UInt16]
    private var freeSlices: [Int]
    private var chains: [UInt16: Chain] = [:]

    /// Lays a queue out at `base`, buffers behind the rings.
    ///
    /// `sliceCount` chains can be in flight, each with `sliceSize` bytes of buffers and an indirect
    /// table of `tableEntries`.
    init(
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
        self.features = features
        self.sliceSize = sliceSize
        self.tableEntries = tableEntries
        let rings = RingSetup.areas(size, isPacked: false)
        descriptors = base ?? ram.start
        available = (descriptors + UInt64(rings.descriptors) + 1) & ~1
        used = (available + UInt64(rings.available) + 3) & ~3
        indirectTables = (used + UInt64(rings.used) + 15) & ~15
        let count = sliceCount ?? Int(size)
        slices = indirectTables + UInt64(16 * tableEntries * count)
        freeDescriptors = Array(0..<size).reversed()
        freeSlices = Array(0..<count).reversed()
    }

    /// Bytes that such a queue takes.
    static func footprint(
        size: UInt16,
        sliceCount: Int? = nil,
        sliceSize: Int = 2048,
        tableEntries: Int = 64
    ) -> Int {
        let rings = RingSetup.areas(size, isPacked: false)
        let sum = rings.descriptors + rings.available + rings.used + 64
        return sum + (sliceCount ?? Int(size)) * (sliceSize + 16 * tableEntries)
    }

    var eventIndex: Bool { features & Feature.eventIndex != 0 }
    var mergeable: Bool { features & Feature.mergeableBuffers != 0 }
    var headerLength: Int {
        features & (Feature.version1 | Feature.mergeableBuffers) != 0 ? 12 : 10
    }
    /// Descriptors that a chain could still take.
    var room: Int { freeSlices.isEmpty ? 0 : freeDescriptors.count }
    /// Chains that the device has.
    var outstanding: Int { chains.count }

    /// The device's side of the queue, in the guest's memory as `memory` maps it.
    func makeQueue(_ memory: GuestMemory? = nil) -> SplitQueue {
        let sizes = RingSetup.areas(size, isPacked: false)
        let memory = memory ?? ram.memory
        return unsafe SplitQueue(
            QueueSetup(
                size: size,
                descriptors: ram.host(descriptors, sizes.descriptors, memory),
                available: ram.host(available, sizes.available, memory),
                used: ram.host(used, sizes.used, memory),
                base: 0,
                features: features,
                memory: memory
            )
        )
    }

    // MARK: Adding buffers

    /// Adds a chain of buffers of `lengths` bytes with `content`; `publish` makes it visible.
    ///
    /// The first `direct` buffers have descriptors in the ring itself, the others go to an indirect
    /// table; nil for all. Between buffers are `gap` bytes.
    ///
    /// - Returns: the chain's head, or nil if there is no room.
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
        guard needed > 0, freeDescriptors.count >= needed, let slice = freeSlices.popLast() else {
            return nil
        }
        var address = slices + UInt64(slice * sliceSize)
        var pieces: [Piece] = []
        for length in lengths {
            pieces.append(Piece(address: address, length: length))
            address += UInt64(length + gap)
        }
        precondition(address <= slices + UInt64((slice + 1) * sliceSize + gap), "slice too small")
        write(content, to: pieces)
        let numbers = (0..<needed).map { _ in freeDescriptors.removeLast() }
        for k in 0..<inRing {
            set(
                numbers[k],
                pieces[k].address,
                pieces[k].length,
                flags: (writable ? 2 : 0) | (k + 1 < needed ? 1 : 0),
                next: k + 1 < needed ? numbers[k + 1] : 0
            )
        }
        if inRing < lengths.count {
            let rest = Array(pieces[inRing...])
            let table = indirectTable(for: slice, count: rest.count)
            for (k, piece) in rest.enumerated() {
                let last = k + 1 == rest.count
                setCell(
                    table + UInt64(16 * k),
                    piece.address,
                    UInt32(piece.length),
                    flags: (writable ? 2 : 0) | (last ? 0 : 1),
                    next: last ? 0 : UInt16(k + 1)
                )
            }
            set(numbers[inRing], table, 16 * rest.count, flags: 4, next: 0)
        }
        chains[numbers[0]] = Chain(descriptors: numbers, pieces: pieces, slice: slice)
        offer(numbers[0])
        return numbers[0]
    }

    /// Puts a head into the available ring, whatever it is.
    func offer(_ head: UInt16) {
        let slot = UInt64(availableIndex & (size - 1))
        ram.store16(head, at: available + 4 + 2 * slot)
        availableIndex &+= 1
    }

    /// Writes a descriptor of the ring.
    func set(_ number: UInt16, _ address: UInt64, _ length: Int, flags: UInt16, next: UInt16) {
        setCell(
            descriptors + 16 * UInt64(number),
            address,
            UInt32(truncatingIfNeeded: length),
            flags: flags,
            next: next
        )
    }

    /// Writes a descriptor anywhere.
    func setCell(
        _ cell: UInt64,
        _ address: UInt64,
        _ length: UInt32,
        flags: UInt16,
        next: UInt16
    ) {
        let word = UInt64(length) | UInt64(flags) << 32 | UInt64(next) << 48
        for (offset, value) in [(UInt64(0), address), (8, word)] {
            var bytes: [UInt8] = []
            for shift in stride(from: UInt64(0), to: 64, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: value >> shift))
            }
            ram.write(bytes, at: cell + offset)
        }
    }

    /// Moves avail.idx.
    ///
    /// - Returns: whether the device wants to be kicked (2.7.10: avail_event or used.flags).
    @discardableResult
    func publish() -> Bool {
        let old = publishedIndex
        ram.store16(availableIndex, at: available + 2)
        publishedIndex = availableIndex
        guard eventIndex else { return ram.load16(used) & 1 == 0 }
        let event = ram.load16(used + 4 + 8 * UInt64(size))
        return availableIndex &- event &- 1 < availableIndex &- old
    }

    /// Writes avail.flags: 1 asks for no interrupts.
    func setAvailableFlags(_ flags: UInt16) { ram.store16(flags, at: available) }

    /// Asks for an interrupt when used.idx passes `index`.
    func setUsedEvent(_ index: UInt16) { ram.store16(index, at: available + 4 + 2 * UInt64(size)) }

    // MARK: Taking them back

    /// used.idx.
    var deviceIndex: UInt16 { ram.load16(used + 2) }

    /// The chains that the device gave back, in its order; their descriptors are free again.
    func poll() -> [Used] {
        var result: [Used] = []
        while usedIndex != deviceIndex {
            let cell = used + 4 + 8 * UInt64(usedIndex & (size - 1))
            let head = UInt16(truncatingIfNeeded: ram.load32(cell))
            let length = Int(ram.load32(cell + 4))
            usedIndex &+= 1
            let chain = chains.removeValue(forKey: head)
            freeDescriptors += chain?.descriptors ?? []
            if let chain { freeSlices.append(chain.slice) }
            result.append(Used(head: head, length: length, pieces: chain?.pieces ?? []))
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

    private func indirectTable(for slice: Int, count: Int) -> UInt64 {
        precondition(count <= tableEntries, "more indirect entries than the test made room for")
        return indirectTables + UInt64(16 * tableEntries * slice)
    }
}

// MARK: Frames

extension MockDriver {
    /// A frame as a receiving driver puts it together.
    struct Received: Equatable {
        var header: [UInt8]
        var frame: [UInt8]
        var buffers: Int
        /// Whether every buffer but the last was filled to its end, and the header fitted the first.
        var isWellFormed: Bool
    }

    /// Takes used chains back as frames; with mergeable buffers num_buffers says how many make one.
    func pollFrames() -> [Received] {
        var frames: [Received] = []
        let used = poll()
        var next = 0
        while next < used.count {
            let first = used[next]
            let header = read(first.pieces, headerLength)
            let count =
                mergeable && headerLength == 12
                ? max(1, Int(header[10]) | Int(header[11]) << 8) : 1
            var bytes: [UInt8] = []
            var wellFormed = first.length >= headerLength && next + count <= used.count
            for (k, chain) in used[next..<min(next + count, used.count)].enumerated() {
                bytes += read(chain.pieces, chain.length)
                let room = chain.pieces.reduce(0) { $0 + $1.length }
                wellFormed = wellFormed && chain.length <= room
                if k + 1 < count { wellFormed = wellFormed && chain.length == room }
            }
            frames.append(
                Received(
                    header: Array(bytes.prefix(headerLength)),
                    frame: Array(bytes.dropFirst(headerLength)),
                    buffers: count,
                    isWellFormed: wellFormed
                )
            )
            next += count
        }
        return frames
    }
}
