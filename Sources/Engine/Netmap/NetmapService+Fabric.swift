// What the device wants done with ports and rings, done with the engine's switches and workers.

import CNetmap
import Control
import Glibc
import Logging
import Netmap
import Ports
import Vale

extension NetmapService: NetmapFabric {
    /// The port of an adapter, made when it is needed first.
    func port(of adapter: Adapter) -> NetmapPort? {
        let old = ports[ObjectIdentifier(adapter)]
        if let old, !old.isTooNarrow { return old }
        // An interface that is opened with more host rings than before is on no switch.
        old?.close()
        guard let number = old?.number ?? engine.freeNumber else {
            engine.logger.error("no port number is free for \(adapter.name)")
            return nil
        }
        let port = unsafe NetmapPort(
            adapter,
            number: number,
            vale: engine.nowhere.plane,
            page: engine.page.claim(number, name: adapter.name, keeping: old != nil),
            pool: engine.pool,
            logger: engine.logger
        )
        port.lookup = { [unowned self] adapter in
            adapter.flatMap { ports[ObjectIdentifier($0)] }
        }
        ports[ObjectIdentifier(adapter)] = port
        engine.ports[number] = port
        if old == nil { engine.logger.info("port added", metadata: ["port": "\(adapter.name)"]) }
        return port
    }

    /// Forgets the ports of adapters that are gone, and of interfaces that nobody uses.
    func dropIdlePorts() {
        let alive = Set((device?.adapters ?? []).map { ObjectIdentifier($0) })
        for (key, port) in ports where !alive.contains(key) || port.isUnusedInterface {
            ports[key] = nil
            engine.ports[port.number] = nil
            port.close()
            engine.dropRules(of: port.number)
            engine.page.release(port.number)
            engine.logger.info("port removed", metadata: ["port": "\(port.ifname)"])
        }
    }

    func join(_ adapter: Adapter, switch vale: String, port name: String) throws(NetmapError) {
        let ifname = "\(vale):\(name)"
        if let other = engine.ports.values.first(where: { $0.ifname == ifname }),
            other !== ports[ObjectIdentifier(adapter)]
        {
            throw NetmapError(
                EBUSY,
                "'\(ifname)' is there already: \(other.type) port '\(other.id)'; choose another name"
            )
        }
        guard let port = port(of: adapter) else {
            throw NetmapError(ENOMEM, "no port number is free for '\(ifname)'")
        }
        guard port.master == nil else {
            try splice(port, ValeAddress(vale: vale, port: name))
            return
        }
        do throws(QMPError) {
            try engine.checkRoom(for: ifname, on: engine.switches[vale])
        } catch {
            throw NetmapError(ENOSPC, error.description)
        }
        let state = engine.switches[vale] ?? engine.makeSwitch(vale)
        port.master = vale
        port.nameOnSwitch = name
        port.pausing { unsafe port.plane.pointee.vale = unsafe state.plane }
        if adapter.isSink { port.sink(true) }
        engine.enter(port, state)
        engine.reconsiderLingering()
    }

    func leave(_ adapter: Adapter, switch vale: String, port name: String) {
        if splices[ObjectIdentifier(adapter)]?.far.master == vale { return unsplice(adapter) }
        guard let port = ports[ObjectIdentifier(adapter)], port.master == vale,
            let state = engine.switches[vale]
        else { return }
        port.master = nil
        if adapter.isSink { port.sink(false) }
        engine.exit(port, state) {
            port.pausing { unsafe port.plane.pointee.vale = unsafe engine.nowhere.plane }
        }
        engine.reconsiderLingering()
    }

    func start(_ adapter: Adapter, _ rings: [RingNumber]) {
        guard let port = port(of: adapter) else { return }
        port.start(rings)
        guard adapter.isKernel, port.interface == nil else { return }
        let link = InterfaceLink(port)
        port.interface = link
        link.open(engine)
    }

    func stop(_ adapter: Adapter, _ rings: [RingNumber]) {
        guard let port = ports[ObjectIdentifier(adapter)] else { return }
        port.stop(rings)
        guard !port.isRunning else { return }
        port.interface?.close()
        port.interface = nil
    }

    func kernelInterface(_ name: String) -> KernelInterface? {
        (try? NetworkInterface(name)).map { KernelInterface(mtu: $0.mtu) }
    }

    func setListeners(_ adapter: Adapter, _ listeners: [RingNumber: [DescriptorNumber]]) {
        port(of: adapter)?.setListeners(
            listeners.mapValues { numbers in numbers.compactMap { descriptors[$0]?.file } }
        )
    }

    func watch(_ parent: Adapter, _ rings: [RingNumber], by monitor: Adapter, isCopy: Bool) {
        guard let parent = port(of: parent), let monitor = port(of: monitor) else { return }
        parent.add(monitor, to: rings, isCopy: isCopy)
    }

    func unwatch(_ monitor: Adapter) {
        guard let monitor = ports[ObjectIdentifier(monitor)] else { return }
        for port in ports.values { port.remove(monitor) }
    }

    func alert(_ adapter: Adapter, _ rings: [RingNumber]) {
        for ring in rings { ports[ObjectIdentifier(adapter)]?.alert(ring) }
    }

    func headerLengthChanged(_ adapter: Adapter) {
        ports[ObjectIdentifier(adapter)]?.applyHeaderLength()
    }

    var valePorts: [ListedPort] {
        engine.switches.values.sorted { $0.index < $1.index }.flatMap { state in
            state.places.all.compactMap { place, number in
                guard let port = engine.ports[number] else { return nil }
                return ListedPort(
                    ValeAddress(vale: state.name, port: port.nameOnSwitch),
                    valeIndex: state.index,
                    portIndex: place
                )
            }
        }
    }
}
