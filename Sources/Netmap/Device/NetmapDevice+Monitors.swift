// Monitors: ports that see what passes through the rings of another (netmap-spec 2.14).

import CNetmap
import Glibc

extension NetmapDevice {
    /// Makes a monitor of the port that `name` means.
    func makeMonitor(_ name: PortName, _ request: PortRequest) throws(NetmapError) -> Adapter {
        var above = request
        let monitorFlags = UInt64(NR_MONITOR_TX | NR_MONITOR_RX | NR_ZCOPY_MON)
        above.flags &= ~monitorFlags
        let parent = try lookup(name, above, create: true)
        guard !parent.isOwnedBySwitch else { throw ownedBySwitch(parent) }
        guard parent.bindings > 0 else {
            throw NetmapError(
                EINVAL,
                "nobody has '\(name.text)' open, so there is nothing to monitor; open it first"
            )
        }
        let isCopy = request.flags & UInt64(NR_ZCOPY_MON) == 0
        let sees = { (flag: Int32) in !isCopy || request.flags & UInt64(flag) != 0 }
        // Which of the monitor's own rings are wanted is another question.
        let selection = try RingSelection(
            parent.geometry,
            mode: request.mode,
            ring: request.ring,
            flags: 0,
            name: parent.name
        )
        let geometry = Self.monitorGeometry(of: parent.geometry, request)
        let allocator: Allocator =
            if isCopy {
                try memory(request, for: geometry, pipes: 0)
            } else {
                parent.allocator
            }
        let letters =
            (isCopy ? "" : "z") + (sees(NR_MONITOR_RX) ? "r" : "")
            + (sees(NR_MONITOR_TX) ? "t" : "")
        let monitor = Adapter(
            name: "\(parent.name)/\(letters)#\(parent.monitorsMade)",
            kind: .monitor,
            geometry: geometry,
            allocator: allocator
        )
        parent.monitorsMade += 1
        monitor.parent = parent
        monitor.isCopy = isCopy
        monitor.wanted = selection.rings.filter {
            sees($0.direction == .transmit ? NR_MONITOR_TX : NR_MONITOR_RX)
        }
        return add(monitor)
    }

    /// One transmit ring that is of no use, and a receive ring for each pair of the parent's.
    private static func monitorGeometry(
        of parent: RingGeometry,
        _ request: PortRequest
    ) -> RingGeometry {
        var wanted = request
        wanted.wanted.transmitRings = 1
        wanted.wanted.receiveRings = max(parent.transmitRings, parent.receiveRings)
        var geometry = wanted.geometry(rings: 1...65535, slots: 1...4096, default: parent)
        let host = max(parent.hostTransmitRings, parent.hostReceiveRings)
        geometry.hostTransmitRings = min(1, host)
        geometry.hostReceiveRings = host
        return geometry
    }

    /// Brings what the monitors of `parent` watch in line with the rings that are open.
    func refreshMonitors(of parent: Adapter) {
        for monitor in adapters where monitor.isMonitor && monitor.parent === parent {
            refresh(monitor)
            guard parent.bindings == 0 else { continue }
            // netmap-spec 2.14: it has to be opened anew.
            monitor.parent = nil
            let rings = monitor.ringOffsets.keys.filter { $0.direction == .receive }
            for ring in rings {
                monitor.control?.setMode(NM_KRING_DEAD, monitor.kring(ring))
            }
            fabric.alert(monitor, rings.sorted { $0.index < $1.index })
        }
    }

    /// Watches those of a monitor's rings that exist, while it is open itself.
    func refresh(_ monitor: Adapter) {
        guard let parent = monitor.parent else { return }
        let isOpen = monitor.bindings > 0
        let now = monitor.wanted.filter { isOpen && (parent.ringUsers[$0] ?? 0) > 0 }
        guard now != monitor.watched else { return }
        if !monitor.watched.isEmpty { fabric.unwatch(monitor) }
        monitor.watched = now
        if !now.isEmpty { fabric.watch(parent, now, by: monitor, isCopy: monitor.isCopy) }
    }
}
