// What nr_mem_id numbers: pools that several ports can share. Memory comes with the first descriptor
// that uses them and goes with the last, and with it whatever a program has lost (netmap-spec 1.8).

/// Memory that a program brought along (NETMAP_REQ_OPT_EXTMEM).
struct ForeignMemory: Hashable {
    /// Whose address space it is in.
    let process: Int32
    /// Where it begins.
    let address: UInt64
}

/// Pools with a number, and their memory while anybody uses them.
package final class Allocator {
    /// nr_mem_id: 1 is the one that interfaces share, 0 is none.
    package let id: UInt16
    package let geometry: PoolGeometry
    /// Where the program puts it, if it has memory of its own for it.
    let foreign: ForeignMemory?
    /// There while `users` is not 0.
    package private(set) var region: NetmapRegion?
    /// Descriptors that use it.
    private(set) var users = 0

    init(id: UInt16, geometry: PoolGeometry, foreign: ForeignMemory? = nil) {
        self.id = id
        self.geometry = geometry
        self.foreign = foreign
    }

    static let globalID: UInt16 = 1

    /// Whether ports have it for themselves (NI_PRIV_MEM).
    var isPrivate: Bool { id != Self.globalID }

    /// Another descriptor uses it: makes the memory, if it is the first.
    func acquire() throws(NetmapError) -> NetmapRegion {
        let region =
            if let region { region } else { try NetmapRegion(id: id, geometry: geometry) }
        self.region = region
        users += 1
        return region
    }

    /// Undoes one `acquire`; the last one lets go of the memory.
    func release() {
        users -= 1
        if users == 0 { region = nil }
    }
}
