// From a name to a port (netmap-spec 2.3 step 5, 2.12). What is made here has no memory, is on no switch,
// and goes at the end of the request unless somebody binds it.

import CNetmap
import Glibc

extension NetmapDevice {
    /// The port that `name` means, made if it is one that appears when it is asked for.
    func lookup(
        _ name: PortName,
        _ request: PortRequest,
        create: Bool
    ) throws(NetmapError) -> Adapter {
        if request.mode == NR_REG_NULL { return try makeNullPort(name, request) }
        if request.isMonitor { return try makeMonitor(name, request) }
        if let pipe = try name.pipe() { return try lookup(pipe, request, create: create) }
        if name.isVale { return try lookupVale(name, request, create: create) }
        if let found = named(name.text) { return found }
        if let interface = fabric.kernelInterface(name.text) {
            // One ring a direction, as netmap's emulated mode has it (netmap-spec 2.11).
            let made = try addInterface(name: name.text, mtu: interface.mtu)
            made.isKernel = true
            return made
        }
        throw NetmapError(
            ENXIO,
            name.text.isEmpty
                ? "no name was given; write one, such as 'vale0:vm1'"
                : "there is no port '\(name.text)': write 'vale0:\(name.text.prefix(15))' for a port "
                    + "of a switch, or make it first with 'vale-ctl -n \(name.text)'"
        )
    }

    /// The port at that place of a switch.
    func port(at address: ValeAddress) -> Adapter? {
        adapters.first {
            $0.attachments.contains(address) || $0.isEphemeral && $0.name == address.description
        }
    }

    private func lookupVale(
        _ name: PortName,
        _ request: PortRequest,
        create: Bool
    ) throws(NetmapError) -> Adapter {
        guard let address = name.address else {
            throw NetmapError(create ? ENOMEM : ENXIO, name.valeComplaint)
        }
        if let found = port(at: address) { return found }
        guard create else {
            throw NetmapError(ENXIO, "'\(address)' is not open, nor attached")
        }
        guard named(address.port) == nil else {
            throw NetmapError(
                EINVAL,
                "'\(address.port)' is an interface: attach it with 'vale-ctl -a \(address)', or "
                    + "choose another name for a port of \(address.vale)"
            )
        }
        guard listed(address) == nil else {
            throw NetmapError(
                EBUSY,
                "'\(address)' is a port of another kind, a guest's perhaps; choose another name"
            )
        }
        let geometry = request.geometry(rings: 1...16, slots: 1...4096)
        return add(
            Adapter(
                name: address.description,
                kind: .ephemeral,
                geometry: geometry,
                allocator: try memory(request, for: geometry, extraBuffers: request.extraBuffers)
            )
        )
    }

    /// The memory that a request names, or else pools for a port of its own.
    func memory(
        _ request: PortRequest,
        for geometry: RingGeometry,
        pipes: Int = 2,
        extraBuffers: Int = 0
    ) throws(NetmapError) -> Allocator {
        if let memory = request.memory { return memory }
        return try makeAllocator(
            PoolGeometry(
                for: geometry,
                pipes: pipes,
                extraBuffers: min(extraBuffers, 128 * 4096),
                minimum: tunables.privateMinimum
            )
        )
    }

    /// Makes a persistent port.
    func makePersistent(_ name: PortName, _ request: PortRequest) throws(NetmapError) -> Adapter {
        let text = name.text
        guard !text.isEmpty, text.utf8.count <= PortName.longest, !text.hasPrefix("vale"),
            text.allSatisfy({ !" :/{}^*@".contains($0) })
        else {
            throw NetmapError(
                EINVAL,
                "a persistent port cannot be called '\(text)': write 1 to \(PortName.longest) "
                    + "characters without ':', '/', '{', '}', '^', '*', '@' and blanks, and not "
                    + "'vale' at the beginning"
            )
        }
        try requireFree(text)
        let geometry = request.geometry(rings: 1...16, slots: 1...4096)
        return add(
            Adapter(
                name: text,
                kind: .persistent,
                geometry: geometry,
                allocator: try memory(request, for: geometry)
            )
        )
    }

    private func lookup(
        _ pipe: PortName.Pipe,
        _ request: PortRequest,
        create: Bool
    ) throws(NetmapError) -> Adapter {
        let name = "\(pipe.parent.text)\(pipe.isMaster ? "{" : "}")\(pipe.id)"
        guard request.mode == NR_REG_ALL_NIC || request.mode == NR_REG_ONE_NIC else {
            throw NetmapError(
                EINVAL,
                "the pipe '\(name)' has no host rings; open all of its rings or one of them"
            )
        }
        let parent = try parent(of: pipe, request, create: create)
        guard !parent.isOwnedBySwitch else { throw ownedBySwitch(parent) }
        let found = adapters.first {
            if case .pipe(let isMaster) = $0.kind {
                return isMaster == pipe.isMaster && $0.parent === parent && $0.pipeID == pipe.id
            }
            return false
        }
        if let found { return found }
        guard create else { throw NetmapError(ENODEV, "there is no pipe '\(name)'") }
        return makePipe(pipe, parent, request)
    }

    private func parent(
        of pipe: PortName.Pipe,
        _ request: PortRequest,
        create: Bool
    ) throws(NetmapError) -> Adapter {
        var above = request
        above.mode = NR_REG_ALL_NIC
        do throws(NetmapError) {
            let parent = try lookup(pipe.parent, above, create: create)
            if let memory = request.memory, isIdle(parent) { parent.borrow(memory) }
            return parent
        } catch {
            guard error.errno == ENXIO, create else { throw error }
            let made = try makePersistent(pipe.parent, above)
            made.isAutomatic = true
            return made
        }
    }

    /// Both ends; the request's numbers are the master's.
    private func makePipe(
        _ pipe: PortName.Pipe,
        _ parent: Adapter,
        _ request: PortRequest
    ) -> Adapter {
        var standard = parent.geometry
        standard.transmitRings = 1
        standard.receiveRings = 1
        let geometry = request.geometry(rings: 1...256, slots: 1...4096, default: standard)
        let ends = [true, false].map { isMaster in
            let end = Adapter(
                name: "\(parent.name)\(isMaster ? "{" : "}")\(pipe.id)",
                kind: .pipe(isMaster: isMaster),
                geometry: isMaster ? geometry : geometry.opposite,
                allocator: parent.allocator
            )
            end.parent = parent
            end.pipeID = pipe.id
            return add(end)
        }
        ends[0].peer = ends[1]
        ends[1].peer = ends[0]
        ends[0].receiveBase = geometry.transmitRings
        ends[1].transmitBase = geometry.transmitRings + geometry.receiveRings
        ends[1].receiveBase = ends[1].transmitBase + geometry.receiveRings
        return ends[pipe.isMaster ? 0 : 1]
    }

    private func makeNullPort(
        _ name: PortName,
        _ request: PortRequest
    ) throws(NetmapError) -> Adapter {
        guard let memory = request.memory else {
            throw NetmapError(
                EINVAL,
                "a null port is a way into memory that exists: give its id in nr_mem_id"
            )
        }
        let geometry = request.geometry(rings: 0...65535, slots: 0...4_294_967_295, default: .none)
        return add(
            Adapter(name: "null:\(name.text)", kind: .null, geometry: geometry, allocator: memory)
        )
    }

    @discardableResult
    func add(_ adapter: Adapter) -> Adapter {
        adapters.append(adapter)
        return adapter
    }

    func ownedBySwitch(_ adapter: Adapter) -> NetmapError {
        NetmapError(
            EBUSY,
            "'\(adapter.name)' belongs to the switch of '\(adapter.attachments[0])'; detach it with "
                + "'vale-ctl -d \(adapter.attachments[adapter.attachments.count - 1])' first"
        )
    }
}
