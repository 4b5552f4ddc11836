// A guest with two queues, whose driver does what no driver does, and what must come of it.

import Netmap
import TestSupport
import Testing

@testable import VhostUser

/// Which of a guest's queues is attacked.
enum Direction: CaseIterable {
    case transmit, receive

    /// The flags of a descriptor that is right for the direction.
    var flags: UInt16 { self == .receive ? Cell.writable : 0 }
    var other: Direction { self == .transmit ? .receive : .transmit }
}

/// A hostile guest's two queues, each of a port of its own.
struct HostileGuest: ~Copyable {
    let ram: GuestRAM
    let transmit: MockDriver
    let receive: MockDriver
    let source: any DeviceQueue
    let sink: any DeviceQueue
    var worker = Worker()
    /// A good buffer that any descriptor may name.
    let buffer: UInt64

    init(
        _ format: Format,
        _ features: UInt64 = Feature.modern,
        size: UInt16 = 16,
        memory: Int = 1 << 18
    ) throws {
        let ram = try GuestRAM([memory, 0x8000], hole: 0x10_0000)
        let second = try ram.secondMapping()
        self.ram = ram
        transmit = MockDriver(format, ram, size: size, features: features, sliceCount: 8)
        let footprint = MockDriver.footprint(format, size: size, sliceCount: 8)
        receive = MockDriver(
            format,
            ram,
            size: size,
            features: features,
            base: ram.start + UInt64((footprint + 63) & ~63),
            sliceCount: 8
        )
        source = transmit.makeQueue()
        sink = receive.makeQueue(second)
        buffer = receive.slices
    }

    func driver(_ direction: Direction) -> MockDriver {
        direction == .transmit ? transmit : receive
    }

    func queue(_ direction: Direction) -> any DeviceQueue {
        direction == .transmit ? source : sink
    }

    /// Lets the switch work on the queue: collects, or delivers one frame.
    ///
    /// - Returns: how many frames were collected or delivered.
    mutating func visit(_ direction: Direction, frameLength: Int = 100) -> Int {
        switch direction {
        case .transmit:
            let collected = worker.collect(source).count
            source.completeCollected()
            return collected
        case .receive:
            var random = Seeded(frameLength)
            let before = worker.sent.counters.packets
            worker.deliver([makeFrame(1, length: frameLength, using: &random)], to: sink)
            return Int(worker.sent.counters.packets - before)
        }
    }

    /// Puts one valid chain into the queue.
    func offerValid(_ direction: Direction) {
        driver(direction).post([1600], writable: direction == .receive)
        driver(direction).publish()
    }
}

/// Runs an attack and looks at what it did.
///
/// The attack gets the guest, its driver, and the flags that its descriptors should have.
func expectFault(
    _ fault: QueueFault,
    _ format: Format,
    _ direction: Direction,
    features: UInt64 = Feature.modern,
    _ sourceLocation: SourceLocation = #_sourceLocation,
    attack: (_ guest: borrowing HostileGuest, _ driver: MockDriver, _ flags: UInt16) -> Void
) throws {
    var guest = try HostileGuest(format, features)
    let driver = guest.driver(direction)
    attack(guest, driver, direction.flags)
    driver.publish()
    let moved = guest.visit(direction)
    #expect(moved == 0, sourceLocation: sourceLocation)
    #expect(guest.queue(direction).fault == fault, sourceLocation: sourceLocation)
    #expect(driver.poll().isEmpty, sourceLocation: sourceLocation)
    if direction == .receive {
        #expect(guest.worker.sent.counters.dropped == 1, sourceLocation: sourceLocation)
    }
    #expect(guest.ram.canariesAreIntact, sourceLocation: sourceLocation)
    // The port's other queue goes on.
    guest.offerValid(direction.other)
    let movedByOther = guest.visit(direction.other)
    #expect(movedByOther == 1, sourceLocation: sourceLocation)
    #expect(guest.queue(direction.other).fault == .none, sourceLocation: sourceLocation)
}

/// Both formats in both directions.
let everyQueue: [(Format, Direction)] = Format.allCases.flatMap { format in
    Direction.allCases.map { (format, $0) }
}
