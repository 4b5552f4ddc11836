// An adapter of switches in this process: its rings as the fabric moves them.

import CNetmap
import Netmap

/// A switch in this process.
final class EmbeddedSwitch {
    let name: String
    let index: Int
    let vale = Switch()
    /// Its ports, in the order in which they came.
    private(set) var members: [EmbeddedPort] = []
    private(set) var places = PortPlaces()

    init(_ name: String, index: Int) {
        self.name = name
        self.index = index
    }

    func add(_ port: EmbeddedPort) {
        members.append(port)
        vale.setPort(port.number, at: places.add(port.number))
    }

    func remove(_ port: EmbeddedPort) {
        members.removeAll { $0 === port }
        if let place = places.remove(port.number) { vale.setPort(nil, at: place) }
        _ = vale.table.flush(port: port.number)
    }
}

/// An adapter with rings that can be served.
@safe final class EmbeddedPort {
    let adapter: Adapter
    let number: UInt16
    /// Which switch it is on, and what it is called there.
    var master: EmbeddedSwitch?
    var nameOnSwitch = ""
    private var krings: [RingNumber: UnsafeMutablePointer<Kring>] = unsafe [:]
    /// The same by index, for the way of a frame.
    private(set) var transmit: [UnsafeMutablePointer<Kring>?] = unsafe []
    private(set) var receive: [UnsafeMutablePointer<Kring>?] = unsafe []
    private var listeners: [RingNumber: [Doorbell]] = [:]
    private var watchers: [RingNumber: [(monitor: EmbeddedPort, isCopy: Bool)]] = [:]
    private let page: UnsafeMutablePointer<nm_port_counters>
    /// Counters of frames from and to the port.
    let rx: DirectionCounters
    let tx: DirectionCounters

    init(_ adapter: Adapter, number: UInt16) {
        self.adapter = adapter
        self.number = number
        unsafe page = .allocate(capacity: 1)
        unsafe page.initialize(to: nm_port_counters())
        rx = unsafe DirectionCounters(unsafePage: &page.pointee.rx)
        tx = unsafe DirectionCounters(unsafePage: &page.pointee.tx)
    }

    deinit {
        stop(unsafe Array(krings.keys))
        unsafe page.deallocate()
    }

    // SAFETY (whole type): a kring is freed by `stop`, which takes it out of every table first; all of this
    // happens under the fabric's lock.

    func kring(_ ring: RingNumber) -> UnsafeMutablePointer<Kring>? { unsafe krings[ring] }

    func start(_ rings: [RingNumber]) {
        for ring in rings {
            guard unsafe krings[ring] == nil, let kring = Kring(adapter, ring) else { continue }
            let made = UnsafeMutablePointer<Kring>.allocate(capacity: 1)
            unsafe made.initialize(to: kring)
            unsafe krings[ring] = unsafe made
            publishListeners(ring)
            if watchers[ring] != nil { publishWatchers(ring) }
            armIfServed(ring)
        }
        fillTables()
    }

    /// Serves one side of a ring between two switches as a ring of the port's own.
    func adopt(_ ring: RingNumber, _ splice: SpliceRing) {
        let made = UnsafeMutablePointer<Kring>.allocate(capacity: 1)
        unsafe made.initialize(to: Kring(splice, transmit: ring.direction == .transmit))
        unsafe krings[ring] = unsafe made
        fillTables()
    }

    /// All rings that are served.
    var rings: [RingNumber] { unsafe Array(krings.keys) }

    /// A sync of a ring calls the fabric if there is something to do with released or filled slots.
    private func armIfServed(_ ring: RingNumber) {
        var isServed = ring.direction == .transmit
        if case .pipe = adapter.kind { isServed = true }
        if watchers[ring]?.contains(where: { !$0.isCopy }) ?? false { isServed = true }
        guard let kring = unsafe krings[ring] else { return }
        if isServed {
            _ = unsafe kring.pointee.arm()
        } else {
            _ = unsafe kring.pointee.disarm()
        }
    }

    func stop(_ rings: [RingNumber]) {
        for ring in rings {
            guard let kring = unsafe krings.removeValue(forKey: ring) else { continue }
            unsafe Listeners.free(kring.pointee.listeners)
            unsafe Watchers.free(kring.pointee.watchers)
            unsafe kring.deinitialize(count: 1)
            unsafe kring.deallocate()
        }
        fillTables()
    }

    private func fillTables() {
        func table(_ direction: Direction) -> [UnsafeMutablePointer<Kring>?] {
            let last = unsafe krings.keys.filter { $0.direction == direction }.map(\.index).max()
            guard let last else { return unsafe [] }
            return unsafe (0...last).map { unsafe krings[RingNumber(direction, $0)] }
        }
        unsafe transmit = unsafe table(.transmit)
        unsafe receive = unsafe table(.receive)
    }

    // MARK: Listeners

    func setListeners(_ new: [RingNumber: [Doorbell]]) {
        listeners = new
        for ring in unsafe Array(krings.keys) { publishListeners(ring) }
    }

    private func publishListeners(_ ring: RingNumber) {
        guard let kring = unsafe krings[ring] else { return }
        unsafe Listeners.free(kring.pointee.listeners)
        unsafe kring.pointee.listeners = Listeners.make(listeners[ring] ?? [])
    }

    // MARK: Monitors

    func add(_ monitor: EmbeddedPort, to ring: RingNumber, isCopy: Bool) {
        watchers[ring, default: []].append((monitor, isCopy))
        publishWatchers(ring)
        armIfServed(ring)
    }

    func remove(_ monitor: EmbeddedPort) {
        for (ring, list) in watchers where list.contains(where: { $0.monitor === monitor }) {
            watchers[ring] = list.filter { $0.monitor !== monitor }
            publishWatchers(ring)
            armIfServed(ring)
        }
    }

    private func publishWatchers(_ ring: RingNumber) {
        guard let kring = unsafe krings[ring] else { return }
        let geometry = adapter.geometry
        let own = ring.direction == .transmit ? geometry.transmitRings : geometry.receiveRings
        let items = unsafe (watchers[ring] ?? []).compactMap { item -> Watcher? in
            // Host ring h goes to host ring h.
            let host = item.monitor.adapter.geometry.receiveRings + ring.index - own
            let target = RingNumber(.receive, ring.index < own ? ring.index : host)
            guard let queue = unsafe item.monitor.kring(target) else { return nil }
            return unsafe Watcher(ring: queue, isCopy: item.isCopy)
        }
        unsafe Watchers.free(kring.pointee.watchers)
        unsafe kring.pointee.watchers = Watchers.make(items)
    }

    func applyHeaderLength() {
        // Rings between two switches have headers of their own.
        guard adapter.attachments.count < 2 else { return }
        for ring in unsafe Array(krings.keys) {
            unsafe kring(ring)?.pointee.headerLength = adapter.headerLength
        }
    }
}
