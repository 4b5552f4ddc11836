// Switches and what can be on them (netmap-spec 2.15, management).

import CNetmap
import Glibc

extension NetmapDevice {
    /// VALE_ATTACH.
    func attach(_ name: PortName, _ body: inout nmreq_vale_attach) throws(NetmapError) {
        guard name.isVale else { throw NetmapError(EINVAL, name.valeComplaint) }
        guard let address = name.address else { throw NetmapError(ENOMEM, name.valeComplaint) }
        if body.reg.nr_mem_id != 0 { _ = try allocator(Int(body.reg.nr_mem_id)) }
        let withHost = Int(body.reg.nr_mode) == NR_REG_NIC_SW
        guard withHost || Int(body.reg.nr_mode) == NR_REG_ALL_NIC, body.reg.nr_ringid == 0 else {
            throw NetmapError(
                EINVAL,
                "'\(address)' can be attached with all of its rings only: nr_mode NR_REG_ALL_NIC or "
                    + "NR_REG_NIC_SW, nr_ringid 0"
            )
        }
        guard port(at: address) == nil, listed(address) == nil else {
            throw NetmapError(EBUSY, "\(address.vale) has a port '\(address.port)' already")
        }
        guard let adapter = named(address.port) else {
            let isThere = try fabric.attachInterface(
                address.port,
                switch: address.vale,
                withHost: withHost
            )
            if isThere {
                body.port_index = UInt32(clamping: listed(address)?.portIndex ?? 0)
                return
            }
            throw NetmapError(
                EINVAL,
                "there is no interface '\(address.port)' to attach; make it first with "
                    + "'vale-ctl -n \(address.port)', or open '\(address)' for a port without one"
            )
        }
        try checkAttach(adapter, withHost: withHost)
        try fabric.join(adapter, switch: address.vale, port: address.port)
        adapter.attachments.append(address)
        if withHost {
            do throws(NetmapError) {
                try attachHost(of: adapter, at: address)
            } catch {
                adapter.attachments.removeLast()
                fabric.leave(adapter, switch: address.vale, port: address.port)
                throw error
            }
        }
        body.port_index = UInt32(clamping: listed(address)?.portIndex ?? 0)
    }

    private func checkAttach(_ adapter: Adapter, withHost: Bool) throws(NetmapError) {
        guard !adapter.isOwnedBySwitch else { throw ownedBySwitch(adapter) }
        guard isIdle(adapter) else {
            throw NetmapError(
                EBUSY,
                "'\(adapter.name)' is open, or pipes or monitors hang on it; close them first"
            )
        }
        guard !withHost || adapter.isInterface else {
            throw NetmapError(
                EINVAL,
                "'\(adapter.name)' has no host stack; attach it without (nr_mode NR_REG_ALL_NIC)"
            )
        }
    }

    /// The interface's host stack becomes a port beside it.
    private func attachHost(
        of adapter: Adapter,
        at address: ValeAddress
    ) throws(NetmapError) {
        let host = Adapter(
            name: "\(adapter.name)^",
            kind: .interface,
            geometry: adapter.geometry,
            allocator: adapter.allocator
        )
        let place = ValeAddress(vale: address.vale, port: host.name)
        try fabric.join(host, switch: place.vale, port: place.port)
        host.attachments = [place]
        add(host)
    }

    /// VALE_DETACH.
    func detach(_ name: PortName, _ body: inout nmreq_vale_detach) throws(NetmapError) {
        guard name.isVale else { throw NetmapError(EINVAL, name.valeComplaint) }
        if let address = name.address, port(at: address) == nil {
            let index = listed(address)?.portIndex ?? 0
            if fabric.detachInterface(address.port, switch: address.vale) {
                body.port_index = UInt32(clamping: index)
                return
            }
        }
        guard let address = name.address, let adapter = port(at: address) else {
            throw NetmapError(ENXIO, "'\(name.text)' is not attached")
        }
        body.port_index = UInt32(clamping: listed(address)?.portIndex ?? 0)
        // Who has an ephemeral port open detaches it by closing.
        guard !adapter.isEphemeral else { return }
        guard adapter.polling == nil else {
            throw NetmapError(
                EBUSY,
                "'\(address)' is being polled; end that with 'vale-ctl -P \(address)' first"
            )
        }
        guard adapter.attachments.last == address else {
            throw NetmapError(
                EBUSY,
                "'\(adapter.name)' was attached to \(adapter.attachments.last?.vale ?? "") after "
                    + "\(address.vale); detach it in reverse order"
            )
        }
        guard !adapter.name.hasSuffix("^") else {
            throw NetmapError(
                EINVAL,
                "'\(address)' came with its interface; detach that, and it goes too"
            )
        }
        leave(adapter, address)
    }

    private func leave(_ adapter: Adapter, _ address: ValeAddress) {
        let place = ValeAddress(vale: address.vale, port: "\(address.port)^")
        if adapter.isInterface, let host = port(at: place) {
            fabric.leave(host, switch: place.vale, port: place.port)
            adapters.removeAll { $0 === host }
        }
        fabric.leave(adapter, switch: address.vale, port: address.port)
        adapter.attachments.removeLast()
    }

    /// VALE_NEWIF.
    func newInterface(_ name: PortName, _ body: inout nmreq_vale_newif) throws(NetmapError) {
        var request = PortRequest()
        request.wanted.transmitRings = Int(body.nr_tx_rings)
        request.wanted.receiveRings = Int(body.nr_rx_rings)
        request.wanted.transmitSlots = Int(body.nr_tx_slots)
        request.wanted.receiveSlots = Int(body.nr_rx_slots)
        if body.nr_mem_id != 0 { request.memory = try allocator(Int(body.nr_mem_id)) }
        let adapter = try makePersistent(name, request)
        let port = adapter.geometry
        body.nr_tx_rings = UInt16(clamping: port.transmitRings)
        body.nr_rx_rings = UInt16(clamping: port.receiveRings)
        body.nr_tx_slots = UInt32(clamping: port.transmitSlots)
        body.nr_rx_slots = UInt32(clamping: port.receiveSlots)
        body.nr_mem_id = adapter.allocator.id
    }

    /// VALE_DELIF.
    func deleteInterface(_ name: PortName) throws(NetmapError) {
        guard let adapter = named(name.text) else {
            throw NetmapError(ENXIO, "there is no interface '\(name.text)'")
        }
        guard adapter.isPersistent, !adapter.isAutomatic else {
            throw NetmapError(
                EINVAL,
                adapter.isAutomatic
                    ? "'\(name.text)' was made for its pipes and goes with the last of them"
                    : "'\(name.text)' was not made by VALE_NEWIF, so it cannot be deleted"
            )
        }
        guard adapter.attachments.isEmpty else {
            throw NetmapError(
                EBUSY,
                "'\(name.text)' is attached as '\(adapter.attachments[adapter.attachments.count - 1])'"
                    + "; detach it first"
            )
        }
        guard isIdle(adapter) else {
            throw NetmapError(EBUSY, "'\(name.text)' is open; close it first")
        }
        adapters.removeAll { $0 === adapter }
    }

    /// VALE_LIST: where a port is, or, without a name, the next port at or behind a place.
    ///
    /// - Returns: the name that was found.
    func list(_ name: PortName, _ body: inout nmreq_vale_list) throws(NetmapError) -> String {
        let ports = fabric.valePorts
        guard name.text.isEmpty else {
            guard name.text.hasPrefix("vale") else {
                throw NetmapError(EINVAL, name.valeComplaint)
            }
            let parts = name.text.split(separator: ":", maxSplits: 1)
            let vale = String(parts.first ?? "")
            guard let found = ports.first(where: { $0.address.vale == vale }) else {
                throw NetmapError(ENOENT, "there is no switch '\(vale)'")
            }
            let port = ValeAddress(vale: vale, port: parts.count == 2 ? String(parts[1]) : "")
            body.nr_bridge_idx = UInt16(clamping: found.valeIndex)
            body.nr_port_idx = UInt32(clamping: listed(port)?.portIndex ?? ListedPort.noPort)
            return name.text
        }
        let from = (Int(body.nr_bridge_idx), Int(body.nr_port_idx))
        guard let next = ports.first(where: { ($0.valeIndex, $0.portIndex) >= from }) else {
            throw NetmapError(ENOENT, "no port is left to list")
        }
        body.nr_bridge_idx = UInt16(clamping: next.valeIndex)
        body.nr_port_idx = UInt32(clamping: next.portIndex)
        return "\(next.address)"
    }

    /// What VALE_LIST says about a port, be it ours or a guest's.
    func listed(_ address: ValeAddress) -> ListedPort? {
        fabric.valePorts.first { $0.address == address }
    }

    /// VALE_POLLING_ENABLE.
    func startPolling(_ name: PortName, _ body: nmreq_vale_polling) throws(NetmapError) {
        let adapter = try polledInterface(name)
        guard adapter.polling == nil else {
            throw NetmapError(EFAULT, "'\(name.text)' is being polled already")
        }
        let first = Int(body.nr_first_cpu_id)
        let count = Int(body.nr_num_polling_cpus)
        let rings = adapter.geometry.receiveRings
        switch Int32(clamping: body.nr_mode) {
        case NETMAP_POLLING_MODE_SINGLE_CPU:
            guard count == 1, first < tunables.processors else { break }
            adapter.polling = PollingRequest(
                rings: 0..<rings,
                firstProcessor: first,
                isSpread: false
            )
            return
        case NETMAP_POLLING_MODE_MULTI_CPU:
            guard count > 0, count < tunables.processors, first + count <= rings,
                first + count <= tunables.processors
            else { break }
            adapter.polling = PollingRequest(
                rings: first..<first + count,
                firstProcessor: first,
                isSpread: true
            )
            return
        default: break
        }
        throw NetmapError(
            EINVAL,
            "'\(name.text)' cannot be polled so: mode \(body.nr_mode) from processor \(first) on "
                + "\(count); this machine has \(tunables.processors), the interface \(rings) receive "
                + "rings. Mode 1 takes one processor, mode 2 one for each of some rings"
        )
    }

    /// VALE_POLLING_DISABLE.
    func stopPolling(_ name: PortName) throws(NetmapError) {
        let adapter = try polledInterface(name)
        guard adapter.polling != nil else {
            throw NetmapError(EFAULT, "'\(name.text)' is not being polled")
        }
        adapter.polling = nil
    }

    private func polledInterface(_ name: PortName) throws(NetmapError) -> Adapter {
        guard name.isVale else { throw NetmapError(EINVAL, name.valeComplaint) }
        guard let address = name.address, let adapter = port(at: address) else {
            throw NetmapError(ENXIO, "'\(name.text)' is not attached")
        }
        guard adapter.isInterface else {
            throw NetmapError(EOPNOTSUPP, "'\(name.text)' is no NIC; only those can be polled")
        }
        return adapter
    }
}
