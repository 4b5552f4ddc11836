// What one open descriptor has bound.

import CNetmap

/// An open descriptor.
final class Descriptor {
    let number: DescriptorNumber
    var binding: Binding?
    /// The loop that syncs it in CSB mode: NM_LOOP_*.
    var loop = NM_LOOP_NONE

    init(_ number: DescriptorNumber) { self.number = number }
}

/// A port, some of its rings, and a netmap_if that names them.
struct Binding {
    let adapter: Adapter
    let region: NetmapRegion
    let control: ControlFile
    let selection: RingSelection
    /// NR_* as the program reads them.
    let flags: UInt64
    /// Where its netmap_if is.
    let interface: Int
    /// Extra buffers that it got.
    let extraBuffers: Int
    /// Whether control blocks have taken the place of the rings' indices.
    var isCSB: Bool

    var isExclusive: Bool { flags & UInt64(NR_EXCLUSIVE) != 0 }
}

/// What a REGISTER, or a request that looks a port up the same way, says about it.
struct PortRequest {
    var mode = NR_REG_ALL_NIC
    var ring = 0
    var flags: UInt64 = 0
    /// 0 where the request leaves it open.
    var wanted: RingGeometry = .none
    var memory: Allocator?
    var extraBuffers = 0

    var isMonitor: Bool { flags & UInt64(NR_MONITOR_TX | NR_MONITOR_RX | NR_ZCOPY_MON) != 0 }

    /// The wanted geometry with defaults in place and within bounds (netmap-spec 2.15).
    func geometry(
        rings: ClosedRange<Int>,
        slots: ClosedRange<Int>,
        default standard: RingGeometry = RingGeometry()
    ) -> RingGeometry {
        func bounded(_ value: Int, _ standard: Int, _ range: ClosedRange<Int>) -> Int {
            min(max(value == 0 ? standard : value, range.lowerBound), range.upperBound)
        }
        var geometry = RingGeometry()
        geometry.transmitRings = bounded(wanted.transmitRings, standard.transmitRings, rings)
        geometry.receiveRings = bounded(wanted.receiveRings, standard.receiveRings, rings)
        geometry.transmitSlots = bounded(wanted.transmitSlots, standard.transmitSlots, slots)
        geometry.receiveSlots = bounded(wanted.receiveSlots, standard.receiveSlots, slots)
        return geometry
    }
}

extension RingGeometry {
    /// No rings, no slots.
    static var none: RingGeometry {
        var geometry = RingGeometry()
        geometry.transmitRings = 0
        geometry.receiveRings = 0
        geometry.transmitSlots = 0
        geometry.receiveSlots = 0
        return geometry
    }
}
