// Monitors of a program's port (netmap-spec 2.14): who sees what passes through its rings.

import CNetmap
import Netmap

extension NetmapPort {
    /// Has a monitor see what passes through rings.
    func add(_ monitor: NetmapPort, to rings: [RingNumber], isCopy: Bool) {
        // For all of them: who never ends a sync keeps the control thread no longer than that.
        let deadline = nm_monotonic_ns() + 20_000_000
        for ring in rings { add(monitor, to: ring, isCopy: isCopy, until: deadline) }
    }

    private func add(
        _ monitor: NetmapPort,
        to ring: RingNumber,
        isCopy: Bool,
        until deadline: UInt64
    ) {
        if watchers[ring] == nil { takeOver(ring, until: deadline) }
        watchers[ring, default: []].append((monitor, isCopy))
        monitor.startKring(target(of: ring, in: monitor))
        publishWatchers(ring)
        if !isCopy, ring.direction == .receive, krings[ring] != nil { startRelease(ring) }
    }

    /// Ends `add` for all rings of a monitor; on return nobody touches it.
    func remove(_ monitor: NetmapPort) {
        for (ring, list) in watchers where list.contains(where: { $0.monitor === monitor }) {
            watchers[ring] = list.filter { $0.monitor !== monitor }
            publishWatchers(ring)
            // Of the receive ring: the transmit ring of the same index has none.
            guard ring.direction == .receive, watchers[ring]?.allSatisfy(\.isCopy) ?? true else {
                continue
            }
            endSource(width + ring.index)
        }
    }

    /// The monitor's ring for what passes a ring: host ring h goes to host ring h.
    private func target(of ring: RingNumber, in monitor: NetmapPort) -> RingNumber {
        let geometry = adapter.geometry
        let own =
            ring.direction == .transmit ? geometry.transmitRings : geometry.receiveRings
        guard ring.index >= own else { return RingNumber(.receive, ring.index) }
        return RingNumber(.receive, monitor.adapter.geometry.receiveRings + ring.index - own)
    }

    func publishWatchers(_ ring: RingNumber) {
        guard let kring = unsafe kring(ring) else { return }
        let old = unsafe kring.pointee.watchers
        let items = unsafe (watchers[ring] ?? []).compactMap { item -> Watcher? in
            let target = target(of: ring, in: item.monitor)
            guard let queue = unsafe item.monitor.kring(target) else { return nil }
            return unsafe Watcher(ring: queue, isCopy: item.isCopy)
        }
        unsafe nm_store64_release(&kring.pointee.watchers, Watchers.make(items))
        pool.synchronize()
        unsafe Watchers.free(old)
    }
}
