// The driver's side of a split ring (virtio 1.2, section 2.7), and what only a hostile driver does.

@testable import VhostUser

/// Descriptors that are linked, a ring of heads to the device and one back.
final class SplitDriverRing: DriverRing {
    let ram: GuestRAM
    let size: UInt16
    let areas: RingAreas
    private let eventIndex: Bool
    private let inOrder: Bool
    /// avail.idx as it will be published.
    private var availableIndex: UInt16 = 0
    /// avail.idx as it was last published.
    private var publishedIndex: UInt16 = 0
    /// The next used entry to look at.
    private var usedIndex: UInt16 = 0
    private var free: [UInt16]
    private var chains: [UInt16: [UInt16]] = [:]

    init(_ ram: GuestRAM, size: UInt16, areas: RingAreas, features: UInt64) {
        self.ram = ram
        self.size = size
        self.areas = areas
        eventIndex = features & Feature.eventIndex != 0
        inOrder = features & Feature.inOrder != 0
        free = Array(0..<size).reversed()
    }

    static var firstBase: UInt32 { 0 }
    var room: Int { free.count }

    @discardableResult
    func add(_ chain: [Cell], isOpen: Bool) -> UInt16 {
        let numbers = chain.map { _ in free.removeLast() }
        for (k, cell) in chain.enumerated() {
            let isLast = k + 1 == chain.count
            set(
                numbers[k],
                cell.address,
                cell.length,
                flags: cell.flags | (isLast && !isOpen ? 0 : 1),
                next: isLast ? (isOpen ? numbers[0] : 0) : numbers[k + 1]
            )
        }
        chains[numbers[0]] = numbers
        offer(numbers[0])
        return numbers[0]
    }

    /// Puts a head into the available ring, whatever it is.
    func offer(_ head: UInt16) {
        ram.store16(head, at: areas.available + 4 + 2 * UInt64(availableIndex & (size - 1)))
        availableIndex &+= 1
    }

    /// Writes a descriptor of the table.
    func set(_ number: UInt16, _ address: UInt64, _ length: Int, flags: UInt16, next: UInt16) {
        write(address, length, flags, next, at: areas.descriptors + 16 * UInt64(number))
    }

    func writeTable(_ cells: [Cell], at address: UInt64) {
        for (k, cell) in cells.enumerated() {
            let isLast = k + 1 == cells.count
            write(
                cell.address,
                cell.length,
                cell.flags | (isLast ? 0 : 1),
                isLast ? 0 : UInt16(k + 1),
                at: address + UInt64(16 * k)
            )
        }
    }

    /// Writes a descriptor anywhere.
    func write(_ address: UInt64, _ length: Int, _ flags: UInt16, _ next: UInt16, at cell: UInt64) {
        let low = UInt64(UInt32(truncatingIfNeeded: length))
        ram.writeDescriptor(address, low | UInt64(flags) << 32 | UInt64(next) << 48, at: cell)
    }

    /// 2.7.10: avail_event with event-idx, used.flags without.
    func publish() -> Bool {
        let old = publishedIndex
        setAvailableIndex(availableIndex)
        publishedIndex = availableIndex
        guard eventIndex else { return ram.load16(areas.used) & 1 == 0 }
        let event = ram.load16(areas.used + 4 + 8 * UInt64(size))
        return availableIndex &- event &- 1 < availableIndex &- old
    }

    /// Writes avail.idx, whatever it is.
    func setAvailableIndex(_ index: UInt16) { ram.store16(index, at: areas.available + 2) }

    /// used.idx.
    var deviceIndex: UInt16 { ram.load16(areas.used + 2) }

    func takeUsed() -> (id: UInt16, length: Int)? {
        guard usedIndex != deviceIndex else { return nil }
        let cell = areas.used + 4 + 8 * UInt64(usedIndex & (size - 1))
        let head = UInt16(truncatingIfNeeded: ram.load32(cell))
        let length = Int(ram.load32(cell + 4))
        usedIndex &+= 1
        let numbers = chains.removeValue(forKey: head) ?? []
        // With IN_ORDER descriptors are used in the order of the ring: first back, first out.
        free = inOrder ? numbers.reversed() + free : free + numbers
        return (head, length)
    }

    func setInterrupts(_ areWanted: Bool) {
        ram.store16(areWanted ? 0 : 1, at: areas.available)
    }

    func setInterrupt(at index: Int) { setUsedEvent(UInt16(truncatingIfNeeded: index)) }

    /// Writes used_event, whatever it is.
    func setUsedEvent(_ index: UInt16) {
        ram.store16(index, at: areas.available + 4 + 2 * UInt64(size))
    }
}
