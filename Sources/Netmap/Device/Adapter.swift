// A port as netmap knows it: rings in a memory region, a control file through which they are synced,
// and whoever has them bound. The control plane's view; what moves frames gets addresses from it.

import Glibc

/// A place on a switch: `vale0:a` is port `a` of `vale0`.
package struct ValeAddress: Hashable, Sendable, CustomStringConvertible {
    package let vale: String
    package let port: String

    package init(vale: String, port: String) {
        self.vale = vale
        self.port = port
    }

    package var description: String { "\(vale):\(port)" }
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
        /// An interface: the virtual test NIC, or one of the kernel's. While an interface is on a
        /// switch nobody can open it; its host stack may be there too, as the adapter `NAME^`.
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
    package internal(set) var geometry: RingGeometry {
        didSet { placeRings() }
    }
    /// Its memory; there while anybody has it, or a pipe's other end, open.
    package internal(set) var region: NetmapRegion?
    /// Where it is synced; there as long as `region`.
    ///
    /// Both ends of a pipe share one.
    package internal(set) var control: ControlFile?
    /// Numbers of its rings 0 in the control file.
    package internal(set) var transmitBase = 0
    package internal(set) var receiveBase = 0
    /// Length of the virtio-net header before each frame: 0, 10 or 12 (netmap-spec 2.16).
    package internal(set) var headerLength = 0
    /// The longest frame that goes to it when a switch has to segment; a port that ever had a header takes
    /// what a buffer holds (netmap-spec 2.16).
    package internal(set) var maximumFrame = 1514
    /// A pipe's other end.
    package internal(set) weak var peer: Adapter?
    /// What a monitor watches, as long as that is open; what a pipe hangs on.
    package internal(set) var parent: Adapter?
    /// Rings that exist in memory: where in the region, by ring.
    package internal(set) var ringOffsets: [RingNumber: Int] = [:]
    /// Where it is on switches.
    ///
    /// Only persistent ports can be on two: what either switch sends to such a port comes out on the other.
    package internal(set) var attachments: [ValeAddress] = []
    /// Descriptors that have it open.
    package internal(set) var bindings = 0

    /// The pools that its memory comes from.
    package internal(set) var allocator: Allocator
    /// Those that it goes back to when nobody has it open; the same for its geometry.
    var home: Allocator
    var homeGeometry: RingGeometry
    /// Users of each ring of its own; a pipe's rings exist while either end has users.
    var ringUsers: [RingNumber: Int] = [:]
    var exclusive: Set<RingNumber> = []
    /// Frames of its kernel counterpart can be that long.
    var mtu = 0
    /// Whether it stands for an interface of the kernel; it goes when nobody has it open.
    package internal(set) var isKernel = false
    /// Made because a pipe needed a parent; goes with the last pipe.
    var isAutomatic = false
    /// The id of a pipe below its parent.
    var pipeID = ""
    /// Monitors: the parent's rings that were asked for, and those that are watched now.
    var wanted: [RingNumber] = []
    var watched: [RingNumber] = []
    var isCopy = true
    /// How many monitors it has had: their names count them.
    var monitorsMade = 0
    /// Whether threads were asked to poll it (VALE_POLLING_ENABLE).
    package internal(set) var polling: PollingRequest?

    package init(name: String, kind: Kind, geometry: RingGeometry, allocator: Allocator) {
        self.name = name
        self.kind = kind
        self.geometry = geometry
        self.allocator = allocator
        home = allocator
        homeGeometry = geometry
        placeRings()
    }

    /// Receive rings come behind transmit rings; those of a pipe behind those of the end before, too.
    private func placeRings() {
        if !isPipe { receiveBase = geometry.allRings(.transmit) }
    }

    /// What it is on its second switch: the other end of the wire that it is between the two.
    package func mirrored(as place: ValeAddress) -> Adapter {
        Adapter(
            name: place.description,
            kind: kind,
            geometry: geometry.opposite,
            allocator: allocator
        )
    }

    /// Slots of a ring of that direction.
    package func slots(_ direction: Direction) -> Int { geometry.slots(direction) }

    /// The ring's number in the control file.
    package func kring(_ ring: RingNumber) -> Int {
        (ring.direction == .transmit ? transmitBase : receiveBase) + ring.index
    }

    /// Whether it belongs to a switch so much that nobody can open it.
    package var isOwnedBySwitch: Bool {
        switch kind {
        case .interface: !attachments.isEmpty
        case .persistent: attachments.count > 1
        default: false
        }
    }

    /// Whether frames that a switch sends to it leave by it and are nobody's any more: a test interface, but
    /// not its host stack, which there is none of.
    package var isSink: Bool { isInterface && !name.hasSuffix("^") }

    var isPipe: Bool { if case .pipe = kind { true } else { false } }
    var isMonitor: Bool { if case .monitor = kind { true } else { false } }
    var isInterface: Bool { if case .interface = kind { true } else { false } }
    var isPersistent: Bool { if case .persistent = kind { true } else { false } }
    var isEphemeral: Bool { if case .ephemeral = kind { true } else { false } }

    /// Uses other pools as long as it is in use; for ports whose own ones are always there.
    func borrow(_ memory: Allocator) {
        if isInterface || isPersistent { allocator = memory }
    }

    /// Both ends of a pipe, or the adapter itself.
    var ends: [Adapter] { if let peer { [self, peer] } else { [self] } }

    /// Who keeps the ring in memory: its users, and for a pipe those at the other end.
    func keepers(_ ring: RingNumber) -> Int {
        (ringUsers[ring] ?? 0) + (peer?.ringUsers[ring.opposite] ?? 0)
    }
}

/// What VALE_POLLING_ENABLE asked for.
package struct PollingRequest: Equatable, Sendable {
    /// Receive rings to poll.
    package let rings: Range<Int>
    /// The processor for the first of them; the same for all, or one more for each.
    package let firstProcessor: Int
    package let isSpread: Bool
}
