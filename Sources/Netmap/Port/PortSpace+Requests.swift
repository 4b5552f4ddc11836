// Requests about ports that need not be open: what there is, what can be made and attached.

import CNetmap
import Glibc

/// What is known about a port (NETMAP_REQ_PORT_INFO_GET).
public struct PortInfo: Sendable, Hashable {
    /// Rings and slots.
    public let configuration: PortSpecification.Configuration
    /// The number of its memory region.
    public let memoryID: UInt16
    /// Bytes of the region.
    public let memorySize: UInt64
}

/// A port's place on its switch (NETMAP_REQ_VALE_LIST).
public struct ValePlace: Sendable, Hashable {
    /// `vale0:a`.
    public let name: String
    /// The switch's number.
    public let switchIndex: Int
    /// The port's number on it.
    public let portIndex: Int
}

extension PortSpace {
    /// Looks a port up, which makes one of a switch or a pipe for the moment.
    ///
    /// - Parameter text: a specification, or the engine's name for an interface.
    /// - Returns: what the port has.
    /// - Throws: why it cannot be looked up.
    public func info(of text: String) throws(PortError) -> PortInfo {
        let name =
            text.hasPrefix("netmap:") || text.hasPrefix("vale")
            ? try PortSpecification(text).name : text
        let result = try ask(
            NETMAP_REQ_PORT_INFO_GET,
            name,
            nmreq_port_info_get(),
            "cannot look at '\(name)'"
        )
        let body = result.body ?? nmreq_port_info_get()
        var configuration = PortSpecification.Configuration()
        configuration.transmitRings = Int(body.nr_tx_rings)
        configuration.receiveRings = Int(body.nr_rx_rings)
        configuration.hostTransmitRings = Int(body.nr_host_tx_rings)
        configuration.hostReceiveRings = Int(body.nr_host_rx_rings)
        configuration.transmitSlots = Int(body.nr_tx_slots)
        configuration.receiveSlots = Int(body.nr_rx_slots)
        return PortInfo(
            configuration: configuration,
            memoryID: body.nr_mem_id,
            memorySize: body.nr_memsize
        )
    }

    /// All ports on switches.
    public func valePorts() throws(PortError) -> [ValePlace] {
        let handle = try backend.open()
        defer { backend.close(handle) }
        var places: [ValePlace] = []
        var body = nmreq_vale_list()
        while true {
            let result: ControlResult<nmreq_vale_list>
            do throws(PortError) {
                result = try backend.request(handle, NETMAP_REQ_VALE_LIST, "", body, "cannot list")
            } catch {
                if error.errno == ENOENT { return places }
                throw error
            }
            guard let found = result.body else { return places }
            places.append(
                ValePlace(
                    name: PortSpace.name(in: result.header),
                    switchIndex: Int(found.nr_bridge_idx),
                    portIndex: Int(found.nr_port_idx)
                )
            )
            body = found
            body.nr_port_idx += 1
        }
    }

    /// Where a port is on its switch.
    public func place(of name: String) throws(PortError) -> ValePlace {
        let result = try ask(
            NETMAP_REQ_VALE_LIST,
            name,
            nmreq_vale_list(),
            "cannot find '\(name)'"
        )
        return ValePlace(
            name: name,
            switchIndex: Int(result.body?.nr_bridge_idx ?? 0),
            portIndex: Int(result.body?.nr_port_idx ?? 0)
        )
    }

    /// Puts an interface or a persistent port on a switch, as `vale0:eth0`.
    ///
    /// - Parameters:
    ///   - name: `SWITCH:INTERFACE`.
    ///   - withHost: brings the interface's host stack along.
    ///   - memoryID: the region to use, 0 for its own.
    /// - Returns: its number on the switch.
    /// - Throws: why it cannot be attached.
    @discardableResult
    public func attach(
        _ name: String,
        withHost: Bool = false,
        memoryID: UInt16 = 0
    ) throws(PortError) -> Int {
        var body = nmreq_vale_attach()
        body.reg.nr_mode = UInt32(withHost ? NR_REG_NIC_SW : NR_REG_ALL_NIC)
        body.reg.nr_mem_id = memoryID
        let result = try ask(NETMAP_REQ_VALE_ATTACH, name, body, "cannot attach '\(name)'")
        return Int(result.body?.port_index ?? 0)
    }

    /// Takes it off again.
    public func detach(_ name: String) throws(PortError) {
        _ = try ask(
            NETMAP_REQ_VALE_DETACH,
            name,
            nmreq_vale_detach(),
            "cannot detach '\(name)'"
        )
    }

    /// Makes a persistent port, which is on no switch yet.
    ///
    /// - Returns: what it has got.
    @discardableResult
    public func makePort(
        _ name: String,
        _ configuration: PortSpecification.Configuration = .init(),
        memoryID: UInt16 = 0
    ) throws(PortError) -> PortInfo {
        var body = nmreq_vale_newif()
        body.nr_tx_slots = UInt32(clamping: configuration.transmitSlots)
        body.nr_rx_slots = UInt32(clamping: configuration.receiveSlots)
        body.nr_tx_rings = UInt16(clamping: configuration.transmitRings)
        body.nr_rx_rings = UInt16(clamping: configuration.receiveRings)
        body.nr_mem_id = memoryID
        let result = try ask(NETMAP_REQ_VALE_NEWIF, name, body, "cannot make '\(name)'")
        var made = PortSpecification.Configuration()
        made.transmitSlots = Int(result.body?.nr_tx_slots ?? 0)
        made.receiveSlots = Int(result.body?.nr_rx_slots ?? 0)
        made.transmitRings = Int(result.body?.nr_tx_rings ?? 0)
        made.receiveRings = Int(result.body?.nr_rx_rings ?? 0)
        return PortInfo(
            configuration: made,
            memoryID: result.body?.nr_mem_id ?? 0,
            memorySize: 0
        )
    }

    /// Removes a persistent port that nobody has open and that is on no switch.
    public func removePort(_ name: String) throws(PortError) {
        _ = try ask(NETMAP_REQ_VALE_DELIF, name, UInt64?.none, "cannot remove '\(name)'")
    }

    /// Has an attached interface polled (NETMAP_REQ_VALE_POLLING_ENABLE).
    ///
    /// - Parameters:
    ///   - name: `SWITCH:INTERFACE`.
    ///   - first: the first processor, and with one for each ring the first ring.
    ///   - count: how many processors.
    ///   - isSpread: a processor for each of `count` rings, not one for all.
    /// - Throws: why it cannot be polled so.
    public func startPolling(
        _ name: String,
        first: Int = 0,
        count: Int = 1,
        isSpread: Bool = false
    ) throws(PortError) {
        var body = nmreq_vale_polling()
        body.nr_mode = UInt32(
            isSpread ? NETMAP_POLLING_MODE_MULTI_CPU : NETMAP_POLLING_MODE_SINGLE_CPU
        )
        body.nr_first_cpu_id = UInt32(clamping: first)
        body.nr_num_polling_cpus = UInt32(clamping: count)
        _ = try ask(
            NETMAP_REQ_VALE_POLLING_ENABLE,
            name,
            body,
            "cannot have '\(name)' polled, which is for interfaces on a switch"
        )
    }

    /// Ends that.
    public func stopPolling(_ name: String) throws(PortError) {
        _ = try ask(
            NETMAP_REQ_VALE_POLLING_DISABLE,
            name,
            nmreq_vale_polling(),
            "cannot end the polling of '\(name)', which is for interfaces on a switch"
        )
    }

    /// The length of the virtio-net header in front of a port's frames: 0, 10 or 12.
    public func headerLength(of name: String) throws(PortError) -> Int {
        let result = try ask(
            NETMAP_REQ_PORT_HDR_GET,
            name,
            nmreq_port_hdr(),
            "cannot ask for the header of '\(name)'"
        )
        return Int(result.body?.nr_hdr_len ?? 0)
    }

    /// Sets it.
    public func setHeaderLength(_ length: Int, of name: String) throws(PortError) {
        var body = nmreq_port_hdr()
        body.nr_hdr_len = UInt32(clamping: length)
        _ = try ask(
            NETMAP_REQ_PORT_HDR_SET,
            name,
            body,
            "cannot set a header of \(length) bytes for '\(name)'"
        )
    }

    private static func name(in header: nmreq_header) -> String {
        let name = header.nr_name
        // SAFETY: the array of a structure in our own memory.
        return unsafe withUnsafeBytes(of: name) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
    }
}
