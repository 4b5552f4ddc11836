// An interface of the kernel that a program has open by its own name: the kernel's side of it.

import CNetmap
import Control
import Logging
import Netmap
import Ports

/// What carries the frames of `netmap:eth0`: a host port that is on no switch, whose queues the adapter's rings
/// are connected to (netmap's emulated mode, netmap-spec 2.11).
///
/// Control thread only.
@safe final class InterfaceLink: HostCarrier {
    private unowned let owner: NetmapPort
    private var port: HostPort?
    private let page: UnsafeMutablePointer<nm_port_counters>
    private var source: HostQueue?
    private var sink: HostQueue?
    /// What wakes a worker for frames from the interface.
    private(set) var file: OwnedDescriptor?

    /// Makes the kernel's side of `owner`'s adapter, which `open` opens.
    init(_ owner: NetmapPort) {
        self.owner = owner
        unsafe page = .allocate(capacity: 1)
        unsafe page.initialize(to: nm_port_counters())
    }

    deinit { unsafe page.deallocate() }

    /// Opens the interface: by AF_XDP, which takes its frames from the host's stack as netmap does, or else by a
    /// packet socket, which shares them.
    ///
    /// An interface of several queues is opened by a packet socket: AF_XDP has one socket a queue, and a port
    /// in netmap's emulated mode one ring for all. What fails is tried again.
    func open(_ engine: Engine) {
        let name = owner.adapter.name
        let isSingle = (try? NetworkInterface(name))?.queues == 1
        do {
            guard isSingle else { throw QMPError("it has several queues") }
            let options = XDPOptions(ifname: name, queues: 1)
            try open(
                unsafe XDPPort(netdev(.xdp(options)), options, place(engine)),
                isRestored: false
            )
        } catch {
            engine.logger.info("\(name): a packet socket instead of AF_XDP: \(error)")
            close()
            do {
                let options = PacketOptions(ifname: name)
                try open(
                    unsafe PacketPort(netdev(.packet(options)), options, place(engine)),
                    isRestored: true
                )
            } catch {
                owner.reason = "\(error)"
            }
        }
    }

    private func open(_ port: HostPort, isRestored: Bool) throws {
        port.carrier = self
        self.port = port
        try port.open(isRestored: isRestored)
    }

    private func netdev(_ backend: NetdevOptions.Backend) throws -> NetdevOptions {
        // It is on no switch; the name is what its log lines say.
        let name = try ValePortName("valenetmap:\(owner.adapter.name)")
        return NetdevOptions(id: "netmap", port: name, backend: backend)
    }

    private func place(_ engine: Engine) -> PortPlace {
        unsafe PortPlace(
            number: owner.number,
            vale: engine.nowhere.plane,
            page: page,
            owner: nil,
            takeFile: { name throws(QMPError) in throw QMPError("no descriptor '\(name)'") },
            loop: engine.loop,
            pool: engine.pool,
            logger: engine.logger
        )
    }

    func close() {
        port?.close()
        port = nil
    }

    func attend() { port?.attend() }

    // MARK: HostCarrier

    func take(_ index: Int, source: HostQueue?, sink: HostQueue?, files: [OwnedDescriptor]) {
        guard index == 0 else { return }
        unsafe self.source = unsafe source
        unsafe self.sink = unsafe sink
        file = files.first
        owner.restartInterface()
    }

    func giveBack() {
        unsafe source = nil
        unsafe sink = nil
        owner.restartInterface()
        file = nil
    }

    // MARK: For the adapter's rings

    /// Where frames from the interface come from, for a receive ring; nil for host rings.
    func source(of ring: RingNumber) -> (queue: HostQueue, counters: DirectionCounters)? {
        guard ring.index == 0, let source = unsafe source else { return nil }
        return unsafe (source, DirectionCounters(unsafePage: &page.pointee.rx))
    }

    /// Where frames to the interface go, for a transmit ring; nil for host rings.
    func sink(of ring: RingNumber) -> (queue: HostQueue, counters: DirectionCounters)? {
        guard ring.index == 0, let sink = unsafe sink else { return nil }
        return unsafe (sink, DirectionCounters(unsafePage: &page.pointee.tx))
    }

    /// Adds what operators see of the kernel's side.
    func describe(_ object: inout JSONObject) {
        guard let port else { return }
        port.describe(&object)
        object["backend"] = .string(port.type)
        if let reason = port.reason { object["reason"] = .string(reason) }
    }
}
