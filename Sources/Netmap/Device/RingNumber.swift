// How rings of a port are named and counted.

/// One direction of traffic, seen from the program.
package enum Direction: UInt8, Sendable {
    /// To the program.
    case receive = 0
    /// From the program.
    case transmit = 1

    /// The same traffic, seen from a pipe's other end.
    var opposite: Direction { self == .receive ? .transmit : .receive }
}

/// A ring of an adapter: host rings come behind the NIC's.
package struct RingNumber: Hashable, Sendable {
    /// Which way its frames go.
    package let direction: Direction
    /// Place among the rings of that direction.
    package let index: Int

    /// Names a ring.
    package init(_ direction: Direction, _ index: Int) {
        self.direction = direction
        self.index = index
    }

    /// The ring at a pipe's other end.
    var opposite: RingNumber { RingNumber(direction.opposite, index) }
}

/// How many rings a port has, and how long they are.
package struct RingGeometry: Equatable, Sendable {
    /// NIC rings for frames from the program.
    package var transmitRings = 1
    /// NIC rings for frames to the program.
    package var receiveRings = 1
    /// Host rings, 0 for a port without a host stack.
    package var hostTransmitRings = 0
    package var hostReceiveRings = 0
    package var transmitSlots = 1024
    package var receiveSlots = 1024

    /// A VALE port's default: one ring a direction, 1024 slots, no host rings (netmap-spec 2.15).
    package init() {}

    /// NIC rings of a direction.
    func rings(_ direction: Direction) -> Int {
        direction == .transmit ? transmitRings : receiveRings
    }

    /// Host rings of a direction.
    func hostRings(_ direction: Direction) -> Int {
        direction == .transmit ? hostTransmitRings : hostReceiveRings
    }

    /// NIC and host rings of a direction.
    func allRings(_ direction: Direction) -> Int { rings(direction) + hostRings(direction) }

    /// Slots of each ring of a direction.
    func slots(_ direction: Direction) -> Int {
        direction == .transmit ? transmitSlots : receiveSlots
    }

    /// The geometry of a pipe's other end.
    var opposite: RingGeometry {
        var other = self
        swap(&other.transmitRings, &other.receiveRings)
        swap(&other.hostTransmitRings, &other.hostReceiveRings)
        swap(&other.transmitSlots, &other.receiveSlots)
        return other
    }
}
