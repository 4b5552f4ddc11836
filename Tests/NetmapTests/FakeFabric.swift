// What the engine is to a device, with nobody moving frames: it checks the order of calls.

@testable import Netmap
import Glibc
import Testing

final class FakeFabric: NetmapFabric {
    /// What is on switches: ours, and those that a test added.
    private(set) var ports: [ListedPort] = []
    var running: [ObjectIdentifier: Set<RingNumber>] = [:]
    var listeners: [ObjectIdentifier: [RingNumber: [DescriptorNumber]]] = [:]
    var watching: [(parent: Adapter, rings: [RingNumber], monitor: Adapter)] = []
    var alerts: [String] = []
    var calls: [String] = []

    var valePorts: [ListedPort] {
        ports.sorted { ($0.valeIndex, $0.portIndex) < ($1.valeIndex, $1.portIndex) }
    }

    /// A port comes, as the next on its switch.
    func add(_ vale: String, _ port: String) {
        let here = ports.filter { $0.address.vale == vale }
        let index = here.first?.valeIndex ?? (ports.map(\.valeIndex).max() ?? -1) + 1
        let place = (here.map(\.portIndex).max() ?? 0) + 1
        ports.append(
            ListedPort(
                ValeAddress(vale: vale, port: port),
                valeIndex: index,
                portIndex: place
            )
        )
    }

    func join(_ adapter: Adapter, switch vale: String, port: String) throws(NetmapError) {
        guard !ports.contains(where: { "\($0.address)" == "\(vale):\(port)" }) else {
            throw NetmapError(EEXIST, "\(vale):\(port) is taken by somebody else")
        }
        add(vale, port)
        calls.append("join \(adapter.name) \(vale):\(port)")
    }

    func leave(_ adapter: Adapter, switch vale: String, port: String) {
        let place = ports.firstIndex { "\($0.address)" == "\(vale):\(port)" }
        #expect(place != nil, "\(vale):\(port) leaves without having joined")
        if let place { ports.remove(at: place) }
        calls.append("leave \(adapter.name) \(vale):\(port)")
    }

    func start(_ adapter: Adapter, _ rings: [RingNumber]) {
        for ring in rings {
            #expect(adapter.ringOffsets[ring] != nil && adapter.region != nil)
            #expect(running[ObjectIdentifier(adapter), default: []].insert(ring).inserted)
            let control = adapter.control
            let slots = adapter.slots(ring.direction)
            let tail = ring.direction == .transmit ? max(0, slots - 1) : 0
            #expect(control?.load(adapter.kring(ring), 68) == tail, "hwtail begins there")
            #expect(control?.load(adapter.kring(ring), 84) == slots)
        }
        calls.append("start \(adapter.name)")
    }

    func stop(_ adapter: Adapter, _ rings: [RingNumber]) {
        for ring in rings {
            #expect(adapter.ringOffsets[ring] != nil && adapter.region != nil, "not freed yet")
            #expect(running[ObjectIdentifier(adapter)]?.remove(ring) != nil)
            let isWatched = watching.contains { $0.parent === adapter && $0.rings.contains(ring) }
            #expect(!isWatched, "unwatch comes first")
        }
        if running[ObjectIdentifier(adapter)]?.isEmpty == true {
            running[ObjectIdentifier(adapter)] = nil
        }
        calls.append("stop \(adapter.name)")
    }

    func setListeners(_ adapter: Adapter, _ listeners: [RingNumber: [DescriptorNumber]]) {
        self.listeners[ObjectIdentifier(adapter)] = listeners.isEmpty ? nil : listeners
    }

    func watch(_ parent: Adapter, _ rings: [RingNumber], by monitor: Adapter, isCopy: Bool) {
        let started = running[ObjectIdentifier(parent)] ?? []
        #expect(rings.allSatisfy { started.contains($0) }, "only what runs can be watched")
        #expect(running[ObjectIdentifier(monitor)] != nil, "by a monitor that runs")
        #expect(!watching.contains { $0.monitor === monitor })
        #expect(isCopy || parent.region === monitor.region, "buffers can be swapped")
        watching.append((parent, rings, monitor))
        calls.append("watch \(parent.name) by \(monitor.name)")
    }

    func unwatch(_ monitor: Adapter) {
        #expect(watching.contains { $0.monitor === monitor })
        watching.removeAll { $0.monitor === monitor }
        calls.append("unwatch \(monitor.name)")
    }

    func alert(_ adapter: Adapter, _ rings: [RingNumber]) {
        alerts.append(adapter.name)
    }

    func headerLengthChanged(_ adapter: Adapter) {
        calls.append("header \(adapter.name) \(adapter.headerLength)")
    }

    /// Whether nothing of any adapter is left.
    var isQuiet: Bool { ports.isEmpty && running.isEmpty && listeners.isEmpty && watching.isEmpty }
}
