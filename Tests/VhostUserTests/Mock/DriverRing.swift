// What of a driver depends on the format of its ring (virtio 1.2, sections 2.7 and 2.8). Written from
// the specification, not from the device's code.

@testable import VhostUser

/// The two formats, as arguments of tests.
enum Format: CaseIterable {
    case split, packed

    /// What a driver acknowledges to get this format.
    var feature: UInt64 { self == .packed ? Feature.packedRing : 0 }
}

/// A descriptor that a driver writes; whether another follows is the chain's business.
struct Cell {
    static let writable: UInt16 = 2
    static let indirect: UInt16 = 4

    var address: UInt64
    var length: Int
    var flags: UInt16

    init(_ address: UInt64, _ length: Int, _ flags: UInt16 = 0) {
        self.address = address
        self.length = length
        self.flags = flags
    }
}

/// Where a queue's three areas are, in guest addresses, by the names of SET_VRING_ADDR.
struct RingAreas {
    var descriptors: UInt64
    var available: UInt64
    var used: UInt64

    /// One behind the other at `base`, each aligned as its format asks for.
    init(_ size: UInt16, at base: UInt64, _ format: Format) {
        let sizes = RingSetup.areas(size, isPacked: format == .packed)
        descriptors = base
        available = (base + UInt64(sizes.descriptors) + 3) & ~3
        used = (available + UInt64(sizes.available) + 3) & ~3
    }

    /// Bytes that the areas of a queue take, and a little for alignment.
    static func footprint(_ size: UInt16, _ format: Format) -> Int {
        let sizes = RingSetup.areas(size, isPacked: format == .packed)
        return sizes.descriptors + sizes.available + sizes.used + 64
    }
}

/// The driver's side of a ring: it writes chains, makes them visible, and takes them back.
protocol DriverRing: AnyObject {
    /// Descriptors that are free.
    var room: Int { get }
    /// What SET_VRING_BASE says for a ring that was never used.
    static var firstBase: UInt32 { get }

    /// Writes a chain that `publish` makes visible.
    ///
    /// If `isOpen`, the last descriptor too says that another one follows: on a split ring the first of
    /// the chain, on a packed ring whatever is in the next place.
    ///
    /// - Returns: what the device will call the chain.
    @discardableResult
    func add(_ chain: [Cell], isOpen: Bool) -> UInt16
    /// Writes an indirect table.
    func writeTable(_ cells: [Cell], at address: UInt64)
    /// Makes visible what was added.
    ///
    /// - Returns: whether the device wants to be kicked.
    func publish() -> Bool
    /// The next chain that the device gave back; its descriptors are free again.
    func takeUsed() -> (id: UInt16, length: Int)?

    /// Asks for an interrupt at every chain, or for none (without event-idx).
    func setInterrupts(_ areWanted: Bool)
    /// Asks for an interrupt when descriptor number `index`, counted from the ring's start, is used.
    func setInterrupt(at index: Int)
}

extension DriverRing {
    func add(_ chain: [Cell]) { add(chain, isOpen: false) }
}

extension GuestRAM {
    /// Writes a descriptor: the two formats differ in what the high half of the second word means.
    func writeDescriptor(_ address: UInt64, _ word: UInt64, at cell: UInt64) {
        // Tables lie where the guest likes, also across its regions and at any address.
        for (offset, value) in [(UInt64(0), address), (8, word)] {
            if cell % 8 == 0, holds(cell + offset, 8) {
                store64(value, at: cell + offset)
            } else {
                write(
                    (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) },
                    at: cell + offset
                )
            }
        }
    }
}
