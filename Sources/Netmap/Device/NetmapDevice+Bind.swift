// Rings get memory with their first user and lose it with their last (netmap-spec 2.1, 2.2).

import CNetmap
import Glibc

extension NetmapDevice {
    /// Makes what a descriptor needs of a port, and has it served.
    func bind(
        _ descriptor: Descriptor,
        _ adapter: Adapter,
        _ selection: RingSelection,
        flags: UInt64,
        extraBuffers: Int,
        isCSB: Bool
    ) throws(NetmapError) -> Binding {
        let region = try adapter.allocator.acquire()
        let control: ControlFile
        let fresh = selection.rings.filter { adapter.keepers($0) == 0 }
        do throws(NetmapError) {
            try admit(adapter, fresh, region)
            control = try self.control(of: adapter)
            try joinSwitches(adapter)
        } catch {
            adapter.allocator.release()
            throw error
        }
        for end in adapter.ends {
            end.control = control
            end.region = region
        }
        for ring in fresh { makeRing(adapter, ring, region, control) }
        for ring in selection.rings { adapter.ringUsers[ring, default: 0] += 1 }
        let interface = makeInterface(adapter, selection, region)
        let binding = Binding(
            adapter: adapter,
            region: region,
            control: control,
            selection: selection,
            flags: flags,
            interface: interface,
            extraBuffers: region.makeExtraBuffers(extraBuffers, interface: interface),
            isCSB: isCSB
        )
        if binding.isExclusive { adapter.exclusive.formUnion(selection.rings) }
        adapter.bindings += 1
        descriptor.binding = binding
        descriptor.loop = NM_LOOP_NONE
        if !fresh.isEmpty {
            fabric.start(adapter, fresh)
            if let peer = adapter.peer { fabric.start(peer, fresh.map(\.opposite)) }
        }
        setListeners(adapter)
        if adapter.isMonitor { refresh(adapter) }
        refreshMonitors(of: adapter)
        return binding
    }

    /// Undoes `bind`; what the adapter does not need any more goes with `collect`.
    func unbind(_ descriptor: Descriptor) {
        guard let binding = descriptor.binding else { return }
        let adapter = binding.adapter
        descriptor.binding = nil
        descriptor.loop = NM_LOOP_NONE
        adapter.bindings -= 1
        if binding.isExclusive { adapter.exclusive.subtract(binding.selection.rings) }
        setListeners(adapter)
        for ring in binding.selection.rings {
            let users = (adapter.ringUsers[ring] ?? 1) - 1
            adapter.ringUsers[ring] = users == 0 ? nil : users
            binding.control.setLoop(NM_LOOP_NONE, adapter.kring(ring))
        }
        if adapter.isMonitor { refresh(adapter) }
        refreshMonitors(of: adapter)
        let gone = binding.selection.rings.filter { adapter.keepers($0) == 0 }
        if !gone.isEmpty {
            fabric.stop(adapter, gone)
            if let peer = adapter.peer { fabric.stop(peer, gone.map(\.opposite)) }
        }
        for ring in gone { releaseRing(adapter, ring, binding.region, binding.control) }
        binding.region.releaseExtraBuffers(interface: binding.interface)
        binding.region.releaseInterface(binding.interface)
        adapter.allocator.release()
    }

    /// Says who is to be told when a ring has news.
    private func setListeners(_ adapter: Adapter) {
        var listeners: [RingNumber: [DescriptorNumber]] = [:]
        for descriptor in descriptors.values {
            guard let binding = descriptor.binding, binding.adapter === adapter else { continue }
            for ring in binding.selection.rings {
                listeners[ring, default: []].append(descriptor.number)
            }
        }
        fabric.setListeners(adapter, listeners.mapValues { $0.sorted() })
    }

    /// Makes sure that the region has room for rings.
    private func admit(
        _ adapter: Adapter,
        _ rings: [RingNumber],
        _ region: NetmapRegion
    ) throws(NetmapError) {
        func refuse(_ what: String) -> NetmapError {
            NetmapError(
                ENOMEM,
                "memory \(region.id) has no room for '\(adapter.name)': \(what)"
            )
        }
        let geometry = adapter.geometry
        let places = Direction.both.reduce(0) {
            $0 + geometry.rings($1) + max(1, geometry.hostRings($1))
        }
        let interface = NetmapRegion.interfaceLength(rings: places)
        guard interface <= region.geometry.interfaces.objectSize else {
            throw refuse(
                "a netmap_if with \(places) rings needs \(interface) bytes, its objects have "
                    + "\(region.geometry.interfaces.objectSize)"
            )
        }
        guard region.interfaces.available > 0 else {
            throw refuse("all \(region.interfaces.count) netmap_if objects are in use")
        }
        let objects = rings.count * adapter.ends.count
        guard objects <= region.rings.available else {
            throw refuse(
                "\(objects) rings are needed, \(region.rings.available) of "
                    + "\(region.rings.count) are free"
            )
        }
        var buffers = 0
        for ring in rings {
            let slots = adapter.slots(ring.direction)
            let length = NetmapRegion.ringLength(slots: slots)
            guard length <= region.geometry.rings.objectSize else {
                throw refuse(
                    "a ring of \(slots) slots needs \(length) bytes, its objects have "
                        + "\(region.geometry.rings.objectSize)"
                )
            }
            buffers += slots
        }
        guard buffers <= region.buffers.available else {
            throw refuse(
                "\(buffers) buffers are needed, \(region.buffers.available) of "
                    + "\(region.buffers.count) are free"
            )
        }
    }

    private func control(of adapter: Adapter) throws(NetmapError) -> ControlFile {
        if let control = adapter.control { return control }
        let rings = adapter.ends.reduce(0) {
            $0 + $1.geometry.allRings(.transmit) + $1.geometry.allRings(.receive)
        }
        return try ControlFile(count: rings)
    }

    /// Puts a port that has just appeared on its switch, and what it hangs on before it.
    private func joinSwitches(_ adapter: Adapter) throws(NetmapError) {
        if adapter.isPipe, let parent = adapter.parent { try joinSwitches(parent) }
        guard adapter.isEphemeral, adapter.attachments.isEmpty,
            let place = PortName(adapter.name).address
        else { return }
        try fabric.join(adapter, switch: place.vale, port: place.port)
        adapter.attachments = [place]
    }

    private func makeRing(
        _ adapter: Adapter,
        _ ring: RingNumber,
        _ region: NetmapRegion,
        _ control: ControlFile
    ) {
        let contents = region.takeBuffers(adapter.slots(ring.direction))
        for end in adapter.ends {
            let own = end === adapter ? ring : ring.opposite
            guard let offset = region.makeRing(own, contents: contents) else {
                preconditionFailure("a ring was admitted that there is no room for")
            }
            end.ringOffsets[own] = offset
            control.begin(
                end.kring(own),
                ring: own,
                slots: contents.count,
                offset: offset,
                mode: end.mode(own),
                peer: end.peer.map { $0.kring(own.opposite) } ?? 0
            )
        }
    }

    private func releaseRing(
        _ adapter: Adapter,
        _ ring: RingNumber,
        _ region: NetmapRegion,
        _ control: ControlFile
    ) {
        let slots = adapter.slots(ring.direction)
        let sent = sentSlots(adapter, ring, control)
        for end in adapter.ends {
            let own = end === adapter ? ring : ring.opposite
            guard let offset = end.ringOffsets.removeValue(forKey: own) else { continue }
            control.setMode(NM_KRING_NONE, end.kring(own))
            for slot in 0..<slots {
                // Of a pipe's two slots one says what is in the other's place (`sentSlots`).
                let isTheirs = own.direction == .receive
                let counts = sent.contains(slot, of: slots) == isTheirs
                guard end.peer == nil || counts else { continue }
                region.buffers.release(region.buffer(inSlot: slot, ofRing: offset))
            }
            region.releaseRing(offset)
        }
    }

    /// The slots that a pipe's sender has given away and not got back: there the receiver may have put
    /// other buffers, and its slots count.
    private func sentSlots(
        _ adapter: Adapter,
        _ ring: RingNumber,
        _ control: ControlFile
    ) -> Lap {
        guard let peer = adapter.peer else { return Lap(from: 0, to: 0) }
        let (sender, receiver) = ring.direction == .transmit ? (adapter, peer) : (peer, adapter)
        let sent = control.load(
            sender.kring(RingNumber(.transmit, ring.index)),
            NM_KRING_HWCUR
        )
        let returned = control.load(
            receiver.kring(RingNumber(.receive, ring.index)),
            NM_KRING_HWCUR
        )
        return Lap(from: returned, to: sent)
    }

    private func makeInterface(
        _ adapter: Adapter,
        _ selection: RingSelection,
        _ region: NetmapRegion
    ) -> Int {
        func places(_ direction: Direction, _ bound: Range<Int>) -> [Int?] {
            let port = adapter.geometry
            // A host ring that does not exist has a place all the same.
            let count = port.rings(direction) + max(1, port.hostRings(direction))
            return (0..<count).map { index in
                bound.contains(index) ? adapter.ringOffsets[RingNumber(direction, index)] : nil
            }
        }
        let offset = region.makeInterface(
            name: adapter.name,
            geometry: adapter.geometry,
            isPrivate: adapter.allocator.isPrivate,
            rings: places(.transmit, selection.transmit) + places(.receive, selection.receive)
        )
        guard let offset else {
            preconditionFailure("a netmap_if was admitted that there is no room for")
        }
        return offset
    }
}

// Slots from one to another, around the end of the ring. Both numbers may be anything.
private struct Lap {
    let from: Int
    let to: Int

    func contains(_ slot: Int, of count: Int) -> Bool {
        guard from < count, to < count else { return false }
        return from <= to ? (from..<to).contains(slot) : slot >= from || slot < to
    }
}

extension Adapter {
    /// Who moves the slots of a ring.
    func mode(_ ring: RingNumber) -> Int {
        switch kind {
        case .null: NM_KRING_DUMMY
        case .monitor where ring.direction == .transmit: NM_KRING_DEAD
        default: NM_KRING_ENGINE
        }
    }
}
