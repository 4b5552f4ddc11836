// A port as netmap knows it: rings in a memory region, a control file through which they are synced,
// and whoever has them bound. The control plane's view; what moves frames gets addresses from it.

/// One direction of traffic, seen from the program.
package enum Direction: UInt8, Sendable {
    /// To the program.
    case receive = 0
    /// From the program.
    case transmit = 1
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
}

/// A port: what descriptors bind.
///
/// Control thread only.
package final class Adapter {
    /// What it is.
    package enum Kind {
        /// A port of a switch that lives as long as it is open; its name is `SWITCH:PORT`.
        case ephemeral
        /// A named port (NEWIF) that can be on a switch or not.
        case persistent
        /// An interface: the virtual test NIC, later those of the kernel.
        case interface
        /// One end of a pipe; the other is `peer`.
        case pipe(isMaster: Bool)
        /// A copy or zero-copy monitor of `parent`.
        case monitor
        /// Memory without traffic.
        case null
    }

    /// The name under which it is found: `vale0:a`, `nm0`, `vale0:a{1`.
    package let name: String
    package let kind: Kind
    package var geometry: RingGeometry
    /// Its memory; there while anybody has it open.
    package var region: NetmapRegion?
    /// Where it is synced; there while anybody has it open. Both ends of a pipe share one.
    package var control: ControlFile?
    /// Numbers of its rings 0 in the control file.
    package var transmitBase = 0
    package var receiveBase = 0
    /// Length of the virtio-net header before each frame: 0, 10 or 12 (netmap-spec 2.16).
    package var headerLength = 0
    /// A pipe's other end.
    package weak var peer: Adapter?
    /// What a monitor watches, what a pipe hangs on.
    package var parent: Adapter?
    /// Rings that exist in memory: where in the region, by ring.
    package var ringOffsets: [RingNumber: Int] = [:]

    package init(name: String, kind: Kind, geometry: RingGeometry) {
        self.name = name
        self.kind = kind
        self.geometry = geometry
    }

    /// Slots of a ring of that direction.
    package func slots(_ direction: Direction) -> Int {
        direction == .transmit ? geometry.transmitSlots : geometry.receiveSlots
    }

    /// The ring's number in the control file.
    package func kring(_ ring: RingNumber) -> Int {
        (ring.direction == .transmit ? transmitBase : receiveBase) + ring.index
    }
}
