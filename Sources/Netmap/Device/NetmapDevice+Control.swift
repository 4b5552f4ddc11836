// From bytes to requests and back.

package import CNetmap
import Glibc

extension NetmapDevice {
    /// NIOCCTRL.
    ///
    /// - Parameters:
    ///   - number: the descriptor.
    ///   - request: as `nm_control_call` in netmap_wire.h describes it.
    ///   - process: whose memory the options' pointers are about.
    /// - Returns: 0 or an errno, and the same bytes with results in them.
    package func control(
        _ number: DescriptorNumber,
        _ request: [UInt8],
        process: Int32 = 0
    ) -> (errno: Int32, reply: [UInt8]) {
        answer(number, request) { (descriptor, reply) throws(NetmapError) in
            var message = try ControlMessage(request, process: process)
            defer { reply = message.reply }
            try message.check()
            try self.perform(descriptor, &message)
        }
    }

    /// NIOCCONFIG.
    package func config(
        _ number: DescriptorNumber,
        _ request: [UInt8]
    ) -> (errno: Int32, reply: [UInt8]) {
        answer(number, request) { (_, _) throws(NetmapError) in
            try self.configure(PortName(request.prefix(15)))
        }
    }

    /// The port that a descriptor has bound, and its memory.
    package func bound(
        _ number: DescriptorNumber
    ) -> (adapter: Adapter, region: Mapping, control: Mapping)? {
        guard let binding = descriptors[number]?.binding else { return nil }
        return (binding.adapter, binding.region.mapping, binding.control.mapping)
    }

    /// What a descriptor has bound, and the files for it; nil if there is no such descriptor.
    package func attachment(
        of number: DescriptorNumber
    ) -> (nm_attachment, region: OwnedDescriptor?, control: OwnedDescriptor?)? {
        guard let descriptor = descriptors[number] else { return nil }
        var attachment = nm_attachment()
        attachment.number = number
        guard let binding = descriptor.binding else { return (attachment, nil, nil) }
        let adapter = binding.adapter
        attachment.region_size = UInt64(binding.region.mapping.length)
        attachment.nifp_offset = UInt64(binding.interface)
        attachment.control_size = UInt64(binding.control.mapping.length)
        attachment.buffer_offset = UInt64(binding.region.bufferOffset)
        attachment.buffer_size = UInt32(binding.region.bufferSize)
        attachment.buffer_count = UInt32(binding.region.bufferCount)
        attachment.mem_id = UInt32(binding.region.id)
        attachment.tx_base = UInt32(adapter.transmitBase)
        attachment.rx_base = UInt32(adapter.receiveBase)
        attachment.tx_first = UInt32(binding.selection.transmit.lowerBound)
        attachment.tx_end = UInt32(binding.selection.transmit.upperBound)
        attachment.rx_first = UInt32(binding.selection.receive.lowerBound)
        attachment.rx_end = UInt32(binding.selection.receive.upperBound)
        attachment.flags = UInt32(truncatingIfNeeded: binding.flags)
        attachment.is_csb = binding.isCSB ? 1 : 0
        unsafe withUnsafeMutableBytes(of: &attachment.name) {
            unsafe $0.copyBytes(from: adapter.name.utf8.prefix($0.count - 1))
        }
        return (attachment, binding.region.file, binding.control.file)
    }

    /// Runs a request, keeps why it failed, and clears up behind it.
    func answer(
        _ number: DescriptorNumber,
        _ request: [UInt8],
        _ work: (Descriptor, inout [UInt8]) throws(NetmapError) -> Void
    ) -> (errno: Int32, reply: [UInt8]) {
        var reply = request
        defer { collect() }
        do throws(NetmapError) {
            guard let descriptor = descriptors[number] else {
                throw NetmapError(EBADF, "there is no descriptor \(number)")
            }
            try work(descriptor, &reply)
            return (0, reply)
        } catch {
            lastRefusal = error
            return (error.errno, reply)
        }
    }

    private func perform(
        _ descriptor: Descriptor,
        _ message: inout ControlMessage
    ) throws(NetmapError) {
        let name = try PortName(message.name)
        switch Int(message.header.nr_reqtype) {
        case NETMAP_REQ_REGISTER:
            try message.withBody(nmreq_register.self) { (body, options) throws(NetmapError) in
                try self.register(descriptor, name, &body, &options)
            }
        case NETMAP_REQ_PORT_INFO_GET:
            try message.withBody(nmreq_port_info_get.self) { (body, _) throws(NetmapError) in
                try self.portInfo(name, &body)
            }
        case NETMAP_REQ_POOLS_INFO_GET:
            try message.withBody(nmreq_pools_info.self) { (body, _) throws(NetmapError) in
                try self.poolsInfo(name, &body)
            }
        case NETMAP_REQ_PORT_HDR_SET:
            try message.withBody(nmreq_port_hdr.self) { (body, _) throws(NetmapError) in
                try self.setHeader(name, body)
            }
        case NETMAP_REQ_PORT_HDR_GET:
            try message.withBody(nmreq_port_hdr.self) { (body, _) throws(NetmapError) in
                try self.header(name, &body)
            }
        case NETMAP_REQ_SYNC_KLOOP_START:
            try message.withBody(nmreq_sync_kloop_start.self) {
                (body, options) throws(NetmapError) in
                try self.startLoop(descriptor, body, &options)
            }
        case NETMAP_REQ_SYNC_KLOOP_STOP: try stopLoop(descriptor)
        case NETMAP_REQ_CSB_ENABLE: try enableCSB(descriptor, &message.options)
        default: try performVale(name, &message)
        }
    }

    private func performVale(
        _ name: PortName,
        _ message: inout ControlMessage
    ) throws(NetmapError) {
        switch Int(message.header.nr_reqtype) {
        case NETMAP_REQ_VALE_ATTACH:
            try message.withBody(nmreq_vale_attach.self) { (body, _) throws(NetmapError) in
                try self.attach(name, &body)
            }
        case NETMAP_REQ_VALE_DETACH:
            try message.withBody(nmreq_vale_detach.self) { (body, _) throws(NetmapError) in
                try self.detach(name, &body)
            }
        case NETMAP_REQ_VALE_LIST:
            var found = ""
            try message.withBody(nmreq_vale_list.self) { (body, _) throws(NetmapError) in
                found = try self.list(name, &body)
            }
            message.rename(found)
        case NETMAP_REQ_VALE_NEWIF:
            try message.withBody(nmreq_vale_newif.self) { (body, _) throws(NetmapError) in
                try self.newInterface(name, &body)
            }
        case NETMAP_REQ_VALE_DELIF: try deleteInterface(name)
        case NETMAP_REQ_VALE_POLLING_ENABLE:
            try message.withBody(nmreq_vale_polling.self) { (body, _) throws(NetmapError) in
                try self.startPolling(name, body)
            }
        case NETMAP_REQ_VALE_POLLING_DISABLE: try stopPolling(name)
        default: throw NetmapError(EINVAL, "there is no such request")
        }
    }
}
