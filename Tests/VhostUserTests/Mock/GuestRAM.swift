// A guest's memory from the guest's side: memory files, a mapping of our own, guest addresses that
// differ from front-end addresses, and tripwires around everything that the switch may touch.

import CNetmap
import Glibc
import Netmap

@testable import VhostUser

/// Memory that a test shares with the switch as a front-end would.
///
/// Regions lie one behind the other in guest addresses but not in front-end addresses, nor in ours.
/// Around a region's part of its file are bytes that nobody may write: pages that trap if it begins
/// and ends at a page, a pattern otherwise.
@safe final class GuestRAM {
    let regions: [MemoryRegion]
    let memory: GuestMemory
    /// The memory files, for tests that send them again.
    let files: [OwnedDescriptor]
    private let mappings: [(base: UInt, length: Int)]
    private var guards: [UInt] = []
    private static let canary: UInt8 = 0xc5
    private static let page = 4096

    /// Makes regions of `sizes` bytes, the first at `start`, each followed by a `hole` in the
    /// guest's address space.
    init(_ sizes: [Int], start: UInt64 = 0x10_0000, hole: UInt64 = 0) throws {
        var regions: [MemoryRegion] = []
        var files: [OwnedDescriptor] = []
        var mappings: [(base: UInt, length: Int)] = []
        var guest = start
        for (index, size) in sizes.enumerated() {
            // Where a region stands in a page is the same in all three address spaces.
            let place = Int(guest % UInt64(GuestRAM.page))
            let offset = GuestRAM.page + place
            let length = (offset + size + GuestRAM.page - 1) / GuestRAM.page * GuestRAM.page
            let file = try SystemError.check(
                unsafe nm_memfd_create("guest", UInt64(length)),
                "memfd_create"
            )
            files.append(OwnedDescriptor(file))
            // SAFETY: a new mapping of a file of `length` bytes.
            guard
                let base = unsafe mmap(
                    nil,
                    length,
                    PROT_READ | PROT_WRITE,
                    MAP_SHARED,
                    file,
                    0
                ),
                unsafe base != MAP_FAILED
            else { throw SystemError("mmap", result: -errno) }
            unsafe memset(base, Int32(GuestRAM.canary), offset)
            unsafe memset(
                base + offset + size,
                Int32(GuestRAM.canary),
                length - offset - size
            )
            mappings.append((UInt(bitPattern: base), length))
            regions.append(
                MemoryRegion(
                    guestAddress: guest,
                    size: UInt64(size),
                    userAddress: 0x7f00_0000_0000 + UInt64(sizes.count - index) << 32
                        + UInt64(place),
                    fileOffset: UInt64(offset)
                )
            )
            guest += UInt64(size) + hole
        }
        self.regions = regions
        self.files = files
        self.mappings = mappings
        memory = try GuestMemory(regions, files: files)
        setTraps(memory)
    }

    deinit {
        // SAFETY: made by `init` and `setTraps`.
        for mapping in mappings {
            unsafe munmap(UnsafeMutableRawPointer(bitPattern: mapping.base), mapping.length)
        }
        for address in guards {
            unsafe munmap(UnsafeMutableRawPointer(bitPattern: address), GuestRAM.page)
        }
    }

    /// Where the guest's memory begins.
    var start: UInt64 { regions[0].guestAddress }

    /// The first guest address behind it.
    var end: UInt64 { regions.reduce(0) { max($0, $1.guestAddress + $1.size) } }

    /// Whether the bytes of the files around the regions are as they were.
    var canariesAreIntact: Bool {
        for (region, mapping) in zip(regions, mappings) {
            let inside = Int(region.fileOffset)..<Int(region.fileOffset + region.size)
            for offset in 0..<mapping.length where !inside.contains(offset) {
                // SAFETY: inside the mapping.
                let address = unsafe UnsafeMutableRawPointer(
                    bitPattern: mapping.base + UInt(offset)
                )
                guard let address = unsafe address else { return false }
                if unsafe nm_load8(address) != GuestRAM.canary { return false }
            }
        }
        return true
    }

    /// The front-end's address of a guest address.
    func user(_ guest: UInt64) -> UInt64 {
        let region = regions[index(of: guest)]
        return guest - region.guestAddress + region.userAddress
    }

    /// A second mapping of the same memory, as the guest's second port has it.
    func secondMapping() throws -> GuestMemory {
        let second = try GuestMemory(regions, files: files)
        setTraps(second)
        return second
    }

    /// Where the switch sees `length` bytes at `guest`; they lie in one region.
    func host(
        _ guest: UInt64,
        _ length: Int,
        _ memory: GuestMemory
    ) -> UnsafeMutableRawPointer {
        guard let host = unsafe memory.host(user: user(guest), length: length) else {
            fatalError("the test's rings cross regions")
        }
        return unsafe host
    }

    // MARK: Access by the guest

    func load16(_ guest: UInt64) -> UInt16 { unsafe nm_load16_acquire(cell(guest)) }
    func load32(_ guest: UInt64) -> UInt32 { unsafe nm_load32(cell(guest)) }
    func load64(_ guest: UInt64) -> UInt64 { unsafe nm_load64(cell(guest)) }
    func load64Acquire(_ guest: UInt64) -> UInt64 { unsafe nm_load64_acquire(cell(guest)) }
    func store16(_ value: UInt16, at guest: UInt64) {
        unsafe nm_store16_release(cell(guest), value)
    }
    func store32(_ value: UInt32, at guest: UInt64) { unsafe nm_store32(cell(guest), value) }
    func store64(_ value: UInt64, at guest: UInt64) {
        unsafe nm_store64_release(cell(guest), value)
    }

    /// Whether `count` bytes at `guest` lie in one region.
    func holds(_ guest: UInt64, _ count: Int) -> Bool {
        regions.contains {
            let offset = guest &- $0.guestAddress
            return offset < $0.size && UInt64(count) <= $0.size - offset
        }
    }

    func write(_ bytes: [UInt8], at guest: UInt64) {
        var done = 0
        while done < bytes.count {
            let address = guest + UInt64(done)
            let n = min(bytes.count - done, contiguous(address))
            unsafe bytes.withUnsafeBytes { source in
                if let base = source.baseAddress {
                    unsafe memcpy(cell(address), base + done, n)
                }
            }
            done += n
        }
    }

    func bytes(at guest: UInt64, _ count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        copy(guest, count, into: &bytes, at: 0)
        return bytes
    }

    /// Copies `count` bytes at `guest` to a place in `bytes`.
    func copy(_ guest: UInt64, _ count: Int, into bytes: inout [UInt8], at place: Int) {
        precondition(place + count <= bytes.count)
        var done = 0
        while done < count {
            let address = guest + UInt64(done)
            let n = min(count - done, contiguous(address))
            unsafe bytes.withUnsafeMutableBytes { target in
                if let base = target.baseAddress {
                    unsafe memcpy(base + place + done, cell(address), n)
                }
            }
            done += n
        }
    }

    private func index(of guest: UInt64) -> Int {
        for (index, region) in regions.enumerated()
        where guest >= region.guestAddress && guest - region.guestAddress < region.size {
            return index
        }
        fatalError("the test has no memory at guest address \(guest)")
    }

    private func contiguous(_ guest: UInt64) -> Int {
        let region = regions[index(of: guest)]
        return Int(region.guestAddress + region.size - guest)
    }

    private func cell(_ guest: UInt64) -> UnsafeMutableRawPointer {
        let index = index(of: guest)
        let offset = guest - regions[index].guestAddress + regions[index].fileOffset
        guard
            let cell = unsafe UnsafeMutableRawPointer(
                bitPattern: mappings[index].base + UInt(offset)
            )
        else { fatalError("page zero") }
        return unsafe cell
    }

    /// Makes the pages before and behind the regions in a mapping trap, where they are whole pages.
    private func setTraps(_ memory: GuestMemory) {
        let page = UInt64(GuestRAM.page)
        for region in regions where region.guestAddress % page == 0 && region.size % page == 0 {
            let host = unsafe memory.host(user: region.userAddress, length: Int(region.size))
            guard let host = unsafe host else { continue }
            // SAFETY: the page before is of the same mapping; the one behind is taken only if free.
            unsafe mprotect(host - GuestRAM.page, GuestRAM.page, PROT_NONE)
            let fixedNoReplace: Int32 = 0x10_0000
            let behind = unsafe mmap(
                host + Int(region.size),
                GuestRAM.page,
                PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | fixedNoReplace,
                -1,
                0
            )
            if let behind = unsafe behind, unsafe behind != MAP_FAILED {
                guards.append(UInt(bitPattern: behind))
            }
        }
    }
}
