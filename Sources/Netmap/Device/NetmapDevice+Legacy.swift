// The requests of programs that were written before NIOCCTRL (netmap-spec 1.7), in its terms.

import CNetmap
import Glibc

extension NetmapDevice {
    /// NIOCREGIF.
    package func regif(
        _ number: DescriptorNumber,
        _ request: [UInt8]
    ) -> (errno: Int32, reply: [UInt8]) {
        answer(number, request) { (descriptor, reply) throws(NetmapError) in
            var (nmreq, name) = try Self.decode(request)
            try self.perform(descriptor, name, &nmreq)
            reply.put(nmreq, at: 0)
        }
    }

    /// NIOCGINFO.
    package func ginfo(
        _ number: DescriptorNumber,
        _ request: [UInt8]
    ) -> (errno: Int32, reply: [UInt8]) {
        answer(number, request) { (_, reply) throws(NetmapError) in
            var (nmreq, name) = try Self.decode(request)
            if Int32(nmreq.nr_cmd) == NETMAP_BDG_LIST {
                try self.list(name, &nmreq)
            } else {
                try self.info(name, &nmreq)
            }
            reply.put(nmreq, at: 0)
        }
    }

    private static func decode(_ bytes: [UInt8]) throws(NetmapError) -> (nmreq, PortName) {
        guard let request = bytes.value(nmreq.self, at: 0) else {
            throw NetmapError(
                EINVAL,
                "a struct nmreq has \(MemoryLayout<nmreq>.size) bytes, \(bytes.count) are there"
            )
        }
        guard request.nr_version >= UInt32(NETMAP_API) else {
            throw NetmapError(
                EINVAL,
                "netmap API \(request.nr_version) is not spoken here, \(NETMAP_API) is; build the "
                    + "program with a newer net/netmap.h"
            )
        }
        return (request, try PortName(bytes.prefix(15)))
    }

    private func perform(
        _ descriptor: Descriptor,
        _ name: PortName,
        _ request: inout nmreq
    ) throws(NetmapError) {
        switch Int32(request.nr_cmd) {
        case 0: try register(descriptor, name, &request)
        case NETMAP_BDG_ATTACH:
            var body = nmreq_vale_attach()
            body.reg = request.registration
            let withHost = Int32(request.nr_arg1) & NETMAP_BDG_HOST != 0
            body.reg.nr_mode = UInt32(withHost ? NR_REG_NIC_SW : NR_REG_ALL_NIC)
            try attach(name, &body)
            request.report(body.reg)
        case NETMAP_BDG_DETACH:
            var body = nmreq_vale_detach()
            try detach(name, &body)
        case NETMAP_BDG_VNET_HDR, NETMAP_VNET_HDR_GET:
            var body = nmreq_port_hdr()
            body.nr_hdr_len = UInt32(request.nr_arg1)
            if Int32(request.nr_cmd) == NETMAP_BDG_VNET_HDR {
                try setHeader(name, body)
            } else {
                try header(name, &body)
            }
            request.nr_arg1 = UInt16(clamping: body.nr_hdr_len)
        case NETMAP_BDG_NEWIF: try newInterface(name, &request)
        case NETMAP_BDG_DELIF: try deleteInterface(name)
        case NETMAP_BDG_POLLING_ON: try startPolling(name, request.polling)
        case NETMAP_BDG_POLLING_OFF: try stopPolling(name)
        case NETMAP_PT_HOST_CREATE, NETMAP_PT_HOST_DELETE:
            throw NetmapError(
                ENOMEM,
                "ptnetmap's requests (nr_cmd \(request.nr_cmd)) are gone; use CSB mode"
            )
        default: throw NetmapError(EINVAL, "there is no nr_cmd \(request.nr_cmd)")
        }
    }

    private func register(
        _ descriptor: Descriptor,
        _ name: PortName,
        _ request: inout nmreq
    ) throws(NetmapError) {
        var body = request.registration
        var name = name
        let mode = Int(body.nr_mode)
        if mode == NR_REG_PIPE_MASTER || mode == NR_REG_PIPE_SLAVE {
            let bracket = mode == NR_REG_PIPE_MASTER ? "{" : "}"
            name = PortName("\(name.text)\(bracket)\(body.nr_ringid)")
            body.nr_mode = UInt32(NR_REG_ALL_NIC)
            body.nr_ringid = 0
        }
        var options = RequestOptions()
        try register(descriptor, name, &body, &options)
        request.report(body)
    }

    private func newInterface(
        _ name: PortName,
        _ request: inout nmreq
    ) throws(NetmapError) {
        var body = nmreq_vale_newif()
        body.nr_tx_rings = request.nr_tx_rings
        body.nr_rx_rings = request.nr_rx_rings
        body.nr_tx_slots = request.nr_tx_slots
        body.nr_rx_slots = request.nr_rx_slots
        body.nr_mem_id = request.nr_arg2
        try newInterface(name, &body)
        request.nr_tx_rings = body.nr_tx_rings
        request.nr_rx_rings = body.nr_rx_rings
        request.nr_tx_slots = body.nr_tx_slots
        request.nr_rx_slots = body.nr_rx_slots
        request.nr_arg2 = body.nr_mem_id
    }

    private func list(_ name: PortName, _ request: inout nmreq) throws(NetmapError) {
        var body = nmreq_vale_list()
        body.nr_bridge_idx = request.nr_arg1
        body.nr_port_idx = UInt32(request.nr_arg2)
        let found = try list(name, &body)
        request.nr_arg1 = body.nr_bridge_idx
        request.nr_arg2 = UInt16(clamping: body.nr_port_idx)
        let bytes = Array(found.utf8.prefix(15)) + [0]
        unsafe withUnsafeMutableBytes(of: &request.nr_name) { unsafe $0.copyBytes(from: bytes) }
    }

    private func info(_ name: PortName, _ request: inout nmreq) throws(NetmapError) {
        var body = nmreq_port_info_get()
        body.nr_tx_rings = request.nr_tx_rings
        body.nr_rx_rings = request.nr_rx_rings
        body.nr_tx_slots = request.nr_tx_slots
        body.nr_rx_slots = request.nr_rx_slots
        body.nr_mem_id = request.nr_arg2
        try portInfo(name, &body)
        request.nr_memsize = UInt32(truncatingIfNeeded: body.nr_memsize)
        request.nr_tx_rings = body.nr_tx_rings
        request.nr_rx_rings = body.nr_rx_rings
        request.nr_tx_slots = body.nr_tx_slots
        request.nr_rx_slots = body.nr_rx_slots
        request.nr_arg2 = body.nr_mem_id
    }
}

extension nmreq {
    /// The REGISTER that it stands for; pipe modes are left for the caller.
    fileprivate var registration: nmreq_register {
        var body = nmreq_register()
        let ringID = Int32(nr_ringid)
        body.nr_offset = UInt64(nr_offset)
        body.nr_memsize = UInt64(nr_memsize)
        body.nr_tx_slots = nr_tx_slots
        body.nr_rx_slots = nr_rx_slots
        body.nr_tx_rings = nr_tx_rings
        body.nr_rx_rings = nr_rx_rings
        body.nr_mem_id = nr_arg2
        body.nr_ringid = UInt16(ringID & NETMAP_RING_MASK)
        body.nr_extra_bufs = nr_arg3
        body.nr_mode = nr_flags & UInt32(NR_REG_MASK)
        if Int(body.nr_mode) == NR_REG_DEFAULT {
            let isHost = ringID & NETMAP_SW_RING != 0
            let isOne = ringID & NETMAP_HW_RING != 0
            body.nr_mode = UInt32(
                isHost ? NR_REG_SW : isOne ? NR_REG_ONE_NIC : NR_REG_ALL_NIC
            )
        }
        body.nr_flags = UInt64(nr_flags & ~UInt32(NR_REG_MASK))
        if ringID & NETMAP_NO_TX_POLL != 0 { body.nr_flags |= UInt64(NR_NO_TX_POLL) }
        if ringID & NETMAP_DO_RX_POLL != 0 { body.nr_flags |= UInt64(NR_DO_RX_POLL) }
        return body
    }

    /// The VALE_POLLING_ENABLE that it stands for; mode 0 is none.
    fileprivate var polling: nmreq_vale_polling {
        var body = nmreq_vale_polling()
        switch Int(nr_flags & UInt32(NR_REG_MASK)) {
        case NR_REG_ONE_NIC: body.nr_mode = UInt32(NETMAP_POLLING_MODE_MULTI_CPU)
        case NR_REG_ALL_NIC: body.nr_mode = UInt32(NETMAP_POLLING_MODE_SINGLE_CPU)
        default: body.nr_mode = 0
        }
        body.nr_first_cpu_id = UInt32(Int32(nr_ringid) & NETMAP_RING_MASK)
        body.nr_num_polling_cpus = UInt32(nr_arg1)
        return body
    }

    /// Takes over results; ring number, flags and nr_arg1 stay as they were.
    fileprivate mutating func report(_ body: nmreq_register) {
        nr_offset = UInt32(truncatingIfNeeded: body.nr_offset)
        nr_memsize = UInt32(truncatingIfNeeded: body.nr_memsize)
        nr_tx_slots = body.nr_tx_slots
        nr_rx_slots = body.nr_rx_slots
        nr_tx_rings = body.nr_tx_rings
        nr_rx_rings = body.nr_rx_rings
        nr_arg2 = body.nr_mem_id
        nr_arg3 = body.nr_extra_bufs
    }
}
