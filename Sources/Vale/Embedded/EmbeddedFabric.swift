// The engine's work, done by whoever syncs a ring: frames are classified and delivered on his thread.

import CNetmap
import Glibc
import Netmap

/// Moves frames between ports of this process.
///
/// One thread at a time; `EmbeddedEngine` has the lock.
@safe final class EmbeddedFabric: NetmapFabric {
    private(set) var ports: [ObjectIdentifier: EmbeddedPort] = [:]
    private var byNumber: [EmbeddedPort?] = []
    private var switches: [EmbeddedSwitch] = []
    private var splices: [ObjectIdentifier: EmbeddedSplice] = [:]
    /// What wakes the holder of a descriptor.
    var bells: [DescriptorNumber: Doorbell] = [:]
    private var batch = FrameBatch()
    private var plan = ForwardingPlan()
    private var finisher = OffloadFinisher()

    // MARK: Frames

    // SAFETY (whole type): krings are freed by `stop` only, under the same lock.

    /// The owner of a ring has moved its head.
    func work(_ port: EmbeddedPort, _ ring: RingNumber) {
        switch (port.adapter.kind, ring.direction) {
        case (.pipe, .transmit): transfer(port, ring.index)
        case (.pipe, .receive): peer(of: port).map { transfer($0, ring.index) }
        case (.interface, .transmit): swallow(port, ring.index)
        case (.ephemeral, .transmit), (.persistent, .transmit):
            forward(port, ring.index)
            if !splices.isEmpty { runSplices() }
        case (_, .receive): _ = unsafe port.kring(ring)?.pointee.release()
        default: break
        }
    }

    private func peer(of port: EmbeddedPort) -> EmbeddedPort? {
        port.adapter.peer.flatMap { ports[ObjectIdentifier($0)] }
    }

    private func transfer(_ port: EmbeddedPort, _ index: Int) {
        guard let from = unsafe port.kring(RingNumber(.transmit, index)),
            let peer = peer(of: port), let to = unsafe peer.kring(RingNumber(.receive, index))
        else { return }
        let hasMoved = unsafe from.pointee.transfer(to: &to.pointee, rx: port.rx, tx: peer.tx)
        guard hasMoved else { return }
        unsafe from.pointee.notify()
        unsafe to.pointee.notify()
    }

    /// Frames of an interface behind which nobody is.
    private func swallow(_ port: EmbeddedPort, _ index: Int) {
        guard let kring = unsafe port.kring(RingNumber(.transmit, index)) else { return }
        unsafe drain(kring, port.rx) { _ in }
    }

    /// The most switches that frames cross in one sync; the others stay in the rings between, which is what
    /// ends a loop.
    private static let mostHops = 16

    /// Goes on with frames that have come to ports on two switches.
    private func runSplices() {
        for _ in 0..<EmbeddedFabric.mostHops {
            var hasMoved = false
            for splice in splices.values {
                for port in [splice.near, splice.far] {
                    for index in unsafe 0..<port.transmit.count {
                        guard let kring = unsafe port.transmit[index],
                            unsafe kring.pointee.hasMoved
                        else { continue }
                        forward(port, index)
                        hasMoved = true
                    }
                }
            }
            if !hasMoved { return }
        }
    }

    private func forward(_ port: EmbeddedPort, _ index: Int) {
        guard unsafe index < port.transmit.count, let kring = unsafe port.transmit[index] else {
            return
        }
        unsafe drain(kring, port.rx) { fabric in
            guard let state = port.master else {
                port.rx.drop(.noDestination, fabric.batch.count)
                return
            }
            fabric.send(from: port, ring: index, on: state)
        }
    }

    /// Takes everything out of a transmit ring, batch by batch.
    private func drain(
        _ kring: UnsafeMutablePointer<Kring>,
        _ counters: DirectionCounters,
        _ body: (EmbeddedFabric) -> Void
    ) {
        while true {
            let place = unsafe kring.pointee.place
            batch.removeAll()
            unsafe kring.pointee.collect(into: &batch, counters: counters)
            if batch.count != 0 { body(self) }
            unsafe kring.pointee.completeCollected()
            if unsafe kring.pointee.place == place { break }
        }
        unsafe kring.pointee.notify()
    }

    private func send(from port: EmbeddedPort, ring: Int, on state: EmbeddedSwitch) {
        state.vale.classify(
            batch,
            from: port.number,
            now: nm_monotonic_seconds(),
            counters: port.rx,
            into: &plan
        )
        if plan.floodCount == 0 {
            for index in 0..<plan.targetCount {
                let target = plan.target(index)
                if let other = byNumber[Int(target.port)] {
                    deliver(target, to: other, ring: ring)
                } else {
                    port.rx.drop(.noDestination, target.count)
                }
            }
            return
        }
        if state.members.count <= 1 { port.rx.drop(.noDestination, plan.floodCount) }
        for other in state.members where other !== port {
            let target = plan.target(forPort: other.number)
            // Broadcasts go to ring 0, as in VALE (netmap-spec, trap 25).
            if target.count > 0 { deliver(target, to: other, ring: 0) }
        }
    }

    private func deliver(_ target: ForwardingPlan.Target, to port: EmbeddedPort, ring: Int) {
        if port.adapter.isSink {
            var bytes = 0
            // SAFETY: the plan's list names frames of the batch.
            for k in 0..<target.count {
                bytes += unsafe Int(batch.frames[Int(target.list[k])].length)
            }
            port.tx.count(packets: target.count, bytes: bytes)
            return
        }
        let rings = port.adapter.geometry.receiveRings
        let index = ring % max(1, rings)
        guard unsafe index < port.receive.count, let kring = unsafe port.receive[index] else {
            port.tx.drop(.noReader, target.count)
            return
        }
        let full = port.tx.dropped(.ringFull)
        unsafe kring.pointee.deliver(
            batch,
            target.list,
            target.count,
            counters: port.tx,
            finisher: &finisher
        )
        let lost = port.tx.dropped(.ringFull) - full
        if lost > 0 { unsafe kring.pointee.note(drops: Int(lost)) }
        unsafe kring.pointee.notify()
    }

    // MARK: Ports

    func port(of adapter: Adapter) -> EmbeddedPort? { ports[ObjectIdentifier(adapter)] }

    private func make(_ adapter: Adapter) -> EmbeddedPort? {
        if let port = port(of: adapter) { return port }
        let port = number(adapter)
        ports[ObjectIdentifier(adapter)] = port
        return port
    }

    private func number(_ adapter: Adapter) -> EmbeddedPort? {
        let free = byNumber.firstIndex { $0 == nil } ?? byNumber.count
        guard free < 0xfffe else { return nil }
        let port = EmbeddedPort(adapter, number: UInt16(free))
        if free == byNumber.count { byNumber.append(port) } else { byNumber[free] = port }
        return port
    }

    /// Forgets ports whose adapters are gone.
    func collect(_ alive: [Adapter]) {
        let kept = Set(alive.map { ObjectIdentifier($0) })
        for (key, port) in ports where !kept.contains(key) {
            ports[key] = nil
            byNumber[Int(port.number)] = nil
        }
    }

    func join(_ adapter: Adapter, switch vale: String, port name: String) throws(NetmapError) {
        guard let near = make(adapter) else { throw noNumber }
        var port = near
        if near.master != nil {
            let place = ValeAddress(vale: vale, port: name)
            guard let far = number(adapter.mirrored(as: place)) else { throw noNumber }
            splices[ObjectIdentifier(adapter)] = EmbeddedSplice(near, far)
            port = far
        }
        let state: EmbeddedSwitch
        if let known = switches.first(where: { $0.name == vale }) {
            state = known
        } else {
            let taken = Set(switches.map(\.index))
            let index = (0...taken.count).first { !taken.contains($0) } ?? taken.count
            state = EmbeddedSwitch(vale, index: index)
            switches.append(state)
        }
        port.master = state
        port.nameOnSwitch = name
        state.add(port)
    }

    private var noNumber: NetmapError {
        NetmapError(ENOMEM, "all 65534 port numbers are in use; close some ports")
    }

    func leave(_ adapter: Adapter, switch vale: String, port name: String) {
        guard var port = port(of: adapter) else { return }
        if let splice = splices[ObjectIdentifier(adapter)], splice.far.master?.name == vale {
            splices[ObjectIdentifier(adapter)] = nil
            cut(splice)
            port = splice.far
            byNumber[Int(port.number)] = nil
        }
        guard let state = port.master, state.name == vale else { return }
        port.master = nil
        state.remove(port)
        if state.members.isEmpty { switches.removeAll { $0 === state } }
    }

    /// Ends a splice; what is still in its rings goes nowhere, and is counted.
    private func cut(_ splice: EmbeddedSplice) {
        for port in [splice.near, splice.far] {
            for index in unsafe 0..<port.transmit.count {
                guard let kring = unsafe port.transmit[index] else { continue }
                unsafe drain(kring, port.rx) { port.rx.drop(.linkDown, $0.batch.count) }
            }
        }
        for port in [splice.near, splice.far] { port.stop(port.rings) }
    }

    func start(_ adapter: Adapter, _ rings: [RingNumber]) { make(adapter)?.start(rings) }

    func stop(_ adapter: Adapter, _ rings: [RingNumber]) { port(of: adapter)?.stop(rings) }

    func setListeners(_ adapter: Adapter, _ listeners: [RingNumber: [DescriptorNumber]]) {
        make(adapter)?.setListeners(
            listeners.mapValues { numbers in numbers.compactMap { bells[$0] } }
        )
    }

    func watch(_ parent: Adapter, _ rings: [RingNumber], by monitor: Adapter, isCopy: Bool) {
        guard let parent = make(parent), let monitor = make(monitor) else { return }
        for ring in rings { parent.add(monitor, to: ring, isCopy: isCopy) }
    }

    func unwatch(_ monitor: Adapter) {
        guard let monitor = port(of: monitor) else { return }
        for port in ports.values { port.remove(monitor) }
    }

    func alert(_ adapter: Adapter, _ rings: [RingNumber]) {
        guard let port = port(of: adapter) else { return }
        for ring in rings { unsafe port.kring(ring)?.pointee.ringListeners() }
    }

    func headerLengthChanged(_ adapter: Adapter) { port(of: adapter)?.applyHeaderLength() }

    var valePorts: [ListedPort] {
        switches.sorted { $0.index < $1.index }.flatMap { state in
            state.places.all.compactMap { place, number in
                byNumber[Int(number)].map {
                    ListedPort(
                        ValeAddress(vale: state.name, port: $0.nameOnSwitch),
                        valeIndex: state.index,
                        portIndex: place
                    )
                }
            }
        }
    }
}
