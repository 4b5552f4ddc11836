// The driver's side of a packed ring (virtio 1.2, section 2.8), and what only a hostile driver does.

@testable import VhostUser

/// One ring that both sides write; two flags and a wrap counter say whose a descriptor is.
final class PackedDriverRing: DriverRing {
    let ram: GuestRAM
    let size: UInt16
    let areas: RingAreas
    private let eventIndex: Bool
    private let inOrder: Bool
    /// Where the next chain goes, counted from the ring's start, and what was visible last.
    private var next = 0
    private var published = 0
    /// Where the next chain comes back.
    private var used = 0
    private var free: [UInt16]
    private var lengths: [UInt16: Int] = [:]
    /// Heads that wait for `publish`: until then nothing behind them is seen.
    private var heads: [(cell: UInt64, word: UInt64)] = []

    init(_ ram: GuestRAM, size: UInt16, areas: RingAreas, features: UInt64) {
        self.ram = ram
        self.size = size
        self.areas = areas
        eventIndex = features & Feature.eventIndex != 0
        inOrder = features & Feature.inOrder != 0
        // Buffer ids have nothing to do with places, so they had better not be equal.
        free = Array(0..<size)
    }

    /// Slot 0 with a wrap counter of 1, in both halves.
    static var firstBase: UInt32 { 0x8000_8000 }
    var room: Int { Int(size) - (next - used) }

    /// The flags that make a descriptor at `index` available in its lap.
    private func availableFlags(_ index: Int) -> UInt16 {
        index / Int(size) % 2 == 0 ? 0x0080 : 0x8000
    }

    func cell(_ index: Int) -> UInt64 { areas.descriptors + UInt64(16 * (index % Int(size))) }

    @discardableResult
    func add(_ chain: [Cell], isOpen: Bool) -> UInt16 {
        let id = inOrder ? free.removeFirst() : free.removeLast()
        lengths[id] = chain.count
        add(chain, id: id, isOpen: isOpen)
        return id
    }

    /// Writes a chain with any buffer id.
    func add(_ chain: [Cell], id: UInt16, isOpen: Bool) {
        for (k, cell) in chain.enumerated() {
            let isLast = k + 1 == chain.count
            let flags = cell.flags | availableFlags(next) | (isLast && !isOpen ? 0 : 1)
            let length = UInt64(UInt32(truncatingIfNeeded: cell.length))
            // The id counts in the last descriptor only; in the others is something else.
            let word = length | UInt64(isLast ? id : 0xdead) << 32 | UInt64(flags) << 48
            if k == 0 {
                ram.store64(cell.address, at: self.cell(next))
                heads.append((self.cell(next) + 8, word))
            } else {
                ram.writeDescriptor(cell.address, word, at: self.cell(next))
            }
            next += 1
        }
    }

    /// Entries follow each other; nothing but WRITE has a meaning in them, and no id.
    func writeTable(_ cells: [Cell], at address: UInt64) {
        for (k, cell) in cells.enumerated() {
            let length = UInt64(UInt32(truncatingIfNeeded: cell.length))
            ram.writeDescriptor(
                cell.address,
                length | 0xbeef << 32 | UInt64(cell.flags) << 48,
                at: address + UInt64(16 * k)
            )
        }
    }

    func publish() -> Bool {
        // The first head last, so that all of it becomes visible at once.
        for head in heads.reversed() { ram.store64(head.word, at: head.cell) }
        heads = []
        let old = published
        published = next
        let event = ram.load32(areas.used)
        switch event >> 16 & 3 {
        case 0: return true
        case 2 where eventIndex:
            // The event is met if it is one of the places that were just filled.
            return (old..<next).contains { place($0) == UInt16(truncatingIfNeeded: event) }
        default: return false
        }
    }

    /// A place as event areas name it: slot in bits 0 to 14, wrap counter in bit 15.
    func place(_ index: Int) -> UInt16 {
        UInt16(index % Int(size)) | (index / Int(size) % 2 == 0 ? 0x8000 : 0)
    }

    func takeUsed() -> (id: UInt16, length: Int)? {
        let word = ram.load64Acquire(cell(used) + 8)
        let flags = UInt16(word >> 48)
        // Used: both flags equal the wrap counter of the lap.
        guard flags & 0x8080 == (used / Int(size) % 2 == 0 ? 0x8080 : 0) else { return nil }
        let id = UInt16(truncatingIfNeeded: word >> 32)
        if let length = lengths.removeValue(forKey: id) {
            used += length
            if inOrder { free.append(id) } else { free.insert(id, at: free.count / 2) }
        } else {
            used += 1
        }
        // The length means something only if the device wrote to the chain.
        return (id, flags & Cell.writable != 0 ? Int(UInt32(truncatingIfNeeded: word)) : 0)
    }

    func setInterrupts(_ areWanted: Bool) {
        ram.store32(areWanted ? 0 : 1 << 16, at: areas.available)
    }

    func setInterrupt(at index: Int) {
        ram.store32(UInt32(place(index)) | 2 << 16, at: areas.available)
    }
}
