// Questions, and the virtio-net header (netmap-spec 2.5).

import CNetmap
import Glibc

extension NetmapDevice {
    /// PORT_INFO_GET: what a REGISTER would give; a port that it makes is gone again afterwards and never
    /// was on a switch.
    func portInfo(_ name: PortName, _ body: inout nmreq_port_info_get) throws(NetmapError) {
        var request = PortRequest()
        request.wanted.transmitRings = Int(body.nr_tx_rings)
        request.wanted.receiveRings = Int(body.nr_rx_rings)
        request.wanted.transmitSlots = Int(body.nr_tx_slots)
        request.wanted.receiveSlots = Int(body.nr_rx_slots)
        guard !name.text.isEmpty else {
            let id = body.nr_mem_id == 0 ? Allocator.globalID : body.nr_mem_id
            let memory = try allocator(Int(id))
            body.nr_memsize = UInt64(memory.geometry.byteCount)
            body.nr_mem_id = memory.id
            return
        }
        if body.nr_mem_id != 0 { request.memory = try allocator(Int(body.nr_mem_id)) }
        let adapter = try lookup(name, request, create: true)
        let port = adapter.geometry
        body.nr_memsize = UInt64(adapter.allocator.geometry.byteCount)
        body.nr_mem_id = adapter.allocator.id
        body.nr_tx_rings = UInt16(clamping: port.transmitRings)
        body.nr_rx_rings = UInt16(clamping: port.receiveRings)
        body.nr_host_tx_rings = UInt16(clamping: port.hostTransmitRings)
        body.nr_host_rx_rings = UInt16(clamping: port.hostReceiveRings)
        body.nr_tx_slots = UInt32(clamping: port.transmitSlots)
        body.nr_rx_slots = UInt32(clamping: port.receiveSlots)
    }

    /// POOLS_INFO_GET.
    func poolsInfo(_ name: PortName, _ body: inout nmreq_pools_info) throws(NetmapError) {
        var request = PortRequest()
        if body.nr_mem_id != 0 { request.memory = try allocator(Int(body.nr_mem_id)) }
        let adapter = try lookup(name, request, create: true)
        body.report(adapter.allocator.geometry, id: adapter.allocator.id)
    }

    /// PORT_HDR_SET: ports of switches only, by the names that they have there.
    func setHeader(_ name: PortName, _ body: nmreq_port_hdr) throws(NetmapError) {
        guard let address = name.address, let adapter = port(at: address) else {
            throw NetmapError(
                ENXIO,
                "'\(name.text)' is no port of a switch that is open or attached, so it has no "
                    + "virtio-net header"
            )
        }
        guard [0, 10, 12].contains(body.nr_hdr_len) else {
            throw NetmapError(
                EINVAL,
                "a virtio-net header of '\(name.text)' cannot have \(body.nr_hdr_len) bytes; "
                    + "0, 10 and 12 are possible"
            )
        }
        adapter.headerLength = Int(body.nr_hdr_len)
        if body.nr_hdr_len > 0 {
            adapter.maximumFrame = adapter.allocator.geometry.buffers.objectSize
        }
        fabric.headerLengthChanged(adapter)
    }

    /// PORT_HDR_GET: any port that exists.
    func header(_ name: PortName, _ body: inout nmreq_port_hdr) throws(NetmapError) {
        let adapter = try lookup(name, PortRequest(), create: false)
        body.nr_hdr_len = UInt32(clamping: adapter.headerLength)
    }

    /// NIOCCONFIG: for switches whose functions a module has replaced, which no switch has here yet.
    func configure(_ name: PortName) throws(NetmapError) {
        throw NetmapError(
            EINVAL,
            "the switch of '\(name.text)' takes no NIOCCONFIG requests: it learns and forwards as "
                + "any other"
        )
    }
}
