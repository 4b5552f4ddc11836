// What stands behind /dev/netmap: requests in, memory files and calls of the fabric out. No I/O but for
// making the memory; the sockets of programs and the threads that move frames are its user's.

import CNetmap
import Glibc

/// All ports, regions and descriptors of an engine.
///
/// One thread only: whoever made it.
package final class NetmapDevice {
    /// What a user can set before the first request (netmap-spec 2.20).
    package struct Tunables: Sendable {
        /// The pools that interfaces share (netmap's if_size to buf_num).
        package var global = PoolSizes.global
        /// The least that a port's own pools have (netmap's priv_if_size to priv_buf_num).
        package var privateMinimum = PoolSizes.privateMinimum
        /// Processors that polling threads can be put on.
        package var processors = 1

        package init() {}
    }

    unowned let fabric: any NetmapFabric
    let tunables: Tunables
    var descriptors: [DescriptorNumber: Descriptor] = [:]
    private var lastDescriptor: DescriptorNumber = 0
    private var lastID = Allocator.globalID
    private var global: Allocator?

    /// All ports that exist.
    package internal(set) var adapters: [Adapter] = []

    /// Why the last request that failed did.
    package internal(set) var lastRefusal: NetmapError?

    package init(fabric: any NetmapFabric, tunables: Tunables = Tunables()) {
        unowned let fabric = fabric
        self.fabric = fabric
        self.tunables = tunables
    }

    /// A program opens /dev/netmap.
    package func open() -> DescriptorNumber {
        lastDescriptor += 1
        descriptors[lastDescriptor] = Descriptor(lastDescriptor)
        return lastDescriptor
    }

    /// The last holder of a descriptor has closed it, or died.
    package func close(_ number: DescriptorNumber) {
        guard let descriptor = descriptors.removeValue(forKey: number) else { return }
        unbind(descriptor)
        collect()
    }

    /// Adds an interface, with a host ring a direction unless `geometry` has some.
    ///
    /// Whoever serves it decides what becomes of its frames.
    @discardableResult
    package func addInterface(
        name: String,
        geometry: RingGeometry = RingGeometry(),
        mtu: Int = 1500
    ) throws(NetmapError) -> Adapter {
        try requireFree(name)
        var geometry = geometry
        geometry.hostTransmitRings = max(1, geometry.hostTransmitRings)
        geometry.hostReceiveRings = max(1, geometry.hostReceiveRings)
        let adapter = Adapter(
            name: name,
            kind: .interface,
            geometry: geometry,
            allocator: try globalAllocator()
        )
        adapter.mtu = mtu
        adapters.append(adapter)
        return adapter
    }

    /// Removes an interface that nobody has open.
    package func removeInterface(name: String) throws(NetmapError) {
        guard let adapter = adapters.first(where: { $0.isInterface && $0.name == name }) else {
            throw NetmapError(ENXIO, "there is no interface '\(name)'")
        }
        guard isIdle(adapter), adapter.attachments.isEmpty else {
            throw NetmapError(EBUSY, "'\(name)' is open or on a switch; close and detach it first")
        }
        adapters.removeAll { $0 === adapter }
    }

    func requireFree(_ name: String) throws(NetmapError) {
        if named(name) != nil {
            throw NetmapError(EEXIST, "there is an interface '\(name)'; choose another name")
        }
    }

    /// The interface or persistent port of that name.
    func named(_ name: String) -> Adapter? {
        adapters.first { ($0.isInterface || $0.isPersistent) && $0.name == name }
    }

    /// The allocator that interfaces share.
    func globalAllocator() throws(NetmapError) -> Allocator {
        if let global { return global }
        let geometry = try PoolGeometry(tunables.global, isGlobal: true)
        let made = Allocator(id: Allocator.globalID, geometry: geometry)
        global = made
        return made
    }

    /// Pools with a number that no other has.
    func makeAllocator(
        _ geometry: PoolGeometry,
        foreign: ForeignMemory? = nil
    ) throws(NetmapError) -> Allocator {
        let used = Set(adapters.flatMap { [$0.allocator.id, $0.home.id] })
        for _ in 0..<Int(UInt16.max) {
            lastID = lastID == .max ? Allocator.globalID + 1 : lastID + 1
            guard !used.contains(lastID) else { continue }
            return Allocator(id: lastID, geometry: geometry, foreign: foreign)
        }
        throw NetmapError(ENOMEM, "all 65534 memory ids are in use; close some ports")
    }

    /// The allocator with that number.
    func allocator(_ id: Int) throws(NetmapError) -> Allocator {
        if id == Int(Allocator.globalID) { return try globalAllocator() }
        for adapter in adapters {
            for allocator in [adapter.allocator, adapter.home] where Int(allocator.id) == id {
                return allocator
            }
        }
        throw NetmapError(
            EINVAL,
            "there is no memory with id \(id); leave it 0, or write the id that another open port "
                + "has (1 is the one that interfaces share)"
        )
    }

    /// Whether nobody uses an adapter, so that its memory and its rings can change.
    func isIdle(_ adapter: Adapter) -> Bool {
        adapter.bindings == 0 && !adapters.contains { $0.parent === adapter }
    }

    /// Lets go of all that nobody needs any more: ports that live only as long as they are open, and the
    /// files and borrowed memory of the others.
    func collect() {
        var alive: Set<ObjectIdentifier> = []
        func keep(_ adapter: Adapter) {
            guard alive.insert(ObjectIdentifier(adapter)).inserted else { return }
            if let peer = adapter.peer { keep(peer) }
            if let parent = adapter.parent { keep(parent) }
        }
        for adapter in adapters where isNeeded(adapter) { keep(adapter) }
        let gone = adapters.filter { !alive.contains(ObjectIdentifier($0)) }
        adapters.removeAll { !alive.contains(ObjectIdentifier($0)) }
        for adapter in gone {
            for place in adapter.attachments {
                fabric.leave(adapter, switch: place.vale, port: place.port)
            }
            adapter.attachments = []
        }
        for adapter in adapters + gone where adapter.ends.allSatisfy({ $0.bindings == 0 }) {
            adapter.control = nil
            adapter.region = nil
        }
        let parents = Set(adapters.compactMap { $0.parent.map(ObjectIdentifier.init) })
        for adapter in adapters
        where adapter.bindings == 0 && !parents.contains(ObjectIdentifier(adapter)) {
            adapter.allocator = adapter.home
            adapter.geometry = adapter.homeGeometry
        }
    }

    private func isNeeded(_ adapter: Adapter) -> Bool {
        if adapter.bindings > 0 { return true }
        return switch adapter.kind {
        case .interface: !adapter.isKernel || !adapter.attachments.isEmpty
        case .persistent: !adapter.isAutomatic || !adapter.attachments.isEmpty
        case .ephemeral, .pipe, .monitor, .null: false
        }
    }
}
