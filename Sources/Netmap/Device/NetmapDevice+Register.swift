// REGISTER (netmap-spec 2.3). Everything that can be refused is checked before anything is changed.

import CNetmap
import Glibc

extension NetmapDevice {
    /// Binds a port to a descriptor.
    func register(
        _ descriptor: Descriptor,
        _ name: PortName,
        _ body: inout nmreq_register,
        _ options: inout RequestOptions
    ) throws(NetmapError) {
        guard descriptor.binding == nil else {
            throw NetmapError(
                EBUSY,
                "this descriptor has '\(descriptor.binding?.adapter.name ?? "")' open already; "
                    + "open /dev/netmap again for '\(name.text)'"
            )
        }
        let foreign = try foreignMemory(&options)
        var request = PortRequest(body)
        if let foreign {
            request.memory = foreign
        } else if body.nr_mem_id != 0 {
            request.memory = try allocator(Int(body.nr_mem_id))
        }
        guard request.mode != NR_REG_PIPE_MASTER, request.mode != NR_REG_PIPE_SLAVE else {
            throw NetmapError(
                EINVAL,
                "nr_mode \(request.mode) is of the old API; write the pipe into the name, "
                    + "'\(name.text){1' or '\(name.text)}1'"
            )
        }
        let adapter = try lookup(name, request, create: true)
        guard !adapter.isOwnedBySwitch else { throw ownedBySwitch(adapter) }
        guard adapter.headerLength == 0 || request.flags & UInt64(NR_ACCEPT_VNET_HDR) != 0 else {
            throw NetmapError(
                EIO,
                "frames of '\(adapter.name)' have a virtio-net header of \(adapter.headerLength) "
                    + "bytes; open it with NR_ACCEPT_VNET_HDR, or set the length to 0"
            )
        }
        adapt(adapter, request)
        if let foreign, adapter.allocator !== foreign {
            options.settle(NETMAP_REQ_OPT_EXTMEM, EBUSY)
            throw NetmapError(
                EBUSY,
                "'\(adapter.name)' is open with memory \(adapter.allocator.id); memory can be brought "
                    + "along only by the first to open it"
            )
        }
        let selection = try RingSelection(
            adapter.geometry,
            mode: request.mode,
            ring: request.ring,
            flags: request.flags,
            name: adapter.name
        )
        try checkFrames(adapter, selection)
        try checkExclusive(adapter, selection, request.flags)
        let isCSB = try takeCSB(&options, selection, request.flags)
        try options.requireKnown()
        let binding = try bind(
            descriptor,
            adapter,
            selection,
            flags: Self.reported(request.flags),
            extraBuffers: request.extraBuffers,
            isCSB: isCSB
        )
        body.report(binding)
    }

    /// A zero-copy monitor sees both directions, and says so.
    private static func reported(_ flags: UInt64) -> UInt64 {
        let isZeroCopy = flags & UInt64(NR_ZCOPY_MON) != 0
        return isZeroCopy ? flags | UInt64(NR_MONITOR_TX | NR_MONITOR_RX) : flags
    }

    /// Gives an adapter that nobody uses the memory and the host rings that are asked for; it gets its
    /// own ones back when nobody uses it again (`collect`).
    private func adapt(_ adapter: Adapter, _ request: PortRequest) {
        guard isIdle(adapter) else { return }
        if let memory = request.memory { adapter.borrow(memory) }
        guard adapter.isInterface else { return }
        let wanted = request.wanted
        if wanted.hostTransmitRings != 0 {
            adapter.geometry.hostTransmitRings = wanted.hostTransmitRings
        }
        if wanted.hostReceiveRings != 0 {
            adapter.geometry.hostReceiveRings = wanted.hostReceiveRings
        }
    }

    /// What an interface receives has to fit into a buffer.
    private func checkFrames(
        _ adapter: Adapter,
        _ selection: RingSelection
    ) throws(NetmapError) {
        let size = adapter.allocator.geometry.buffers.objectSize
        guard selection.receive.isEmpty || adapter.mtu <= size else {
            throw NetmapError(
                EINVAL,
                "'\(adapter.name)' has an MTU of \(adapter.mtu), but buffers of memory "
                    + "\(adapter.allocator.id) have \(size) bytes; lower the MTU"
            )
        }
    }

    private func checkExclusive(
        _ adapter: Adapter,
        _ selection: RingSelection,
        _ flags: UInt64
    ) throws(NetmapError) {
        let wantsAlone = flags & UInt64(NR_EXCLUSIVE) != 0
        for ring in selection.rings {
            guard !adapter.exclusive.contains(ring) else {
                throw NetmapError(
                    EBUSY,
                    "\(ring.label) of '\(adapter.name)' is open exclusively; close it there first"
                )
            }
            guard !wantsAlone || (adapter.ringUsers[ring] ?? 0) == 0 else {
                throw NetmapError(
                    EBUSY,
                    "\(ring.label) of '\(adapter.name)' is open already, so it cannot be opened "
                        + "exclusively"
                )
            }
        }
    }

    /// The allocator for memory that the program brings along, if it does.
    private func foreignMemory(
        _ options: inout RequestOptions
    ) throws(NetmapError) -> Allocator? {
        guard let bytes = options[NETMAP_REQ_OPT_EXTMEM],
            var option = bytes.value(nmreq_opt_extmem.self, at: 0)
        else { return nil }
        do throws(NetmapError) {
            let allocator = try allocator(option, process: options.process)
            let geometry = allocator.geometry
            option.nro_info.report(geometry, id: allocator.id)
            var reply = bytes
            reply.put(option, at: 0)
            options.replace(NETMAP_REQ_OPT_EXTMEM, reply)
            options.settle(NETMAP_REQ_OPT_EXTMEM, 0)
            return allocator
        } catch {
            options.settle(NETMAP_REQ_OPT_EXTMEM, error.errno)
            throw error
        }
    }

    private func allocator(
        _ option: nmreq_opt_extmem,
        process: Int32
    ) throws(NetmapError) -> Allocator {
        guard option.nro_usrptr != 0, option.nro_usrptr % 4096 == 0 else {
            throw NetmapError(
                EINVAL,
                "the memory for EXTMEM begins at \(option.nro_usrptr), which is not the beginning of "
                    + "a page"
            )
        }
        let foreign = ForeignMemory(process: process, address: option.nro_usrptr)
        let known = adapters.lazy.map(\.allocator).first { $0.foreign == foreign }
        if let known { return known }
        let info = option.nro_info
        let least = tunables.privateMinimum
        func or(_ wanted: UInt32, _ least: Int) -> Int { wanted == 0 ? least : Int(wanted) }
        let sizes = PoolSizes(
            interfaces: (
                or(info.nr_if_pool_objsize, least.interfaceSize),
                or(info.nr_if_pool_objtotal, least.interfaceCount)
            ),
            rings: (
                or(info.nr_ring_pool_objsize, least.ringSize),
                or(info.nr_ring_pool_objtotal, least.ringCount)
            ),
            buffers: (
                or(info.nr_buf_pool_objsize, least.bufferSize),
                or(info.nr_buf_pool_objtotal, least.bufferCount)
            )
        )
        let geometry = try PoolGeometry(sizes, within: Int(clamping: info.nr_memsize))
        return try makeAllocator(geometry, foreign: foreign)
    }
}

extension RingNumber {
    /// `transmit ring 0`.
    var label: String { "\(direction == .transmit ? "transmit" : "receive") ring \(index)" }
}

extension PortRequest {
    init(_ body: nmreq_register) {
        mode = Int(body.nr_mode)
        ring = Int(body.nr_ringid)
        flags = body.nr_flags
        extraBuffers = Int(body.nr_extra_bufs)
        wanted.transmitRings = Int(body.nr_tx_rings)
        wanted.receiveRings = Int(body.nr_rx_rings)
        wanted.hostTransmitRings = Int(body.nr_host_tx_rings)
        wanted.hostReceiveRings = Int(body.nr_host_rx_rings)
        wanted.transmitSlots = Int(body.nr_tx_slots)
        wanted.receiveSlots = Int(body.nr_rx_slots)
    }
}

extension nmreq_register {
    /// The results of a REGISTER; mode and ring number come back as they were.
    mutating func report(_ binding: Binding) {
        let port = binding.adapter.geometry
        nr_offset = UInt64(binding.interface)
        nr_memsize = UInt64(binding.region.geometry.byteCount)
        nr_mem_id = binding.region.id
        nr_tx_rings = UInt16(clamping: port.transmitRings)
        nr_rx_rings = UInt16(clamping: port.receiveRings)
        nr_host_tx_rings = UInt16(clamping: port.hostTransmitRings)
        nr_host_rx_rings = UInt16(clamping: port.hostReceiveRings)
        nr_tx_slots = UInt32(clamping: port.transmitSlots)
        nr_rx_slots = UInt32(clamping: port.receiveSlots)
        nr_extra_bufs = UInt32(clamping: binding.extraBuffers)
        nr_flags = binding.flags
    }
}

extension nmreq_pools_info {
    /// Where the pools are.
    mutating func report(_ geometry: PoolGeometry, id: UInt16) {
        nr_memsize = UInt64(geometry.byteCount)
        nr_mem_id = id
        nr_if_pool_offset = 0
        nr_if_pool_objtotal = UInt32(clamping: geometry.interfaces.count)
        nr_if_pool_objsize = UInt32(clamping: geometry.interfaces.objectSize)
        nr_ring_pool_offset = UInt64(geometry.ringOffset)
        nr_ring_pool_objtotal = UInt32(clamping: geometry.rings.count)
        nr_ring_pool_objsize = UInt32(clamping: geometry.rings.objectSize)
        nr_buf_pool_offset = UInt64(geometry.bufferOffset)
        nr_buf_pool_objtotal = UInt32(clamping: geometry.buffers.count)
        nr_buf_pool_objsize = UInt32(clamping: geometry.buffers.objectSize)
    }
}
