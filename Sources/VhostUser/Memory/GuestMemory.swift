// A guest's RAM as its front-end shared it: files mapped here, guest addresses translated there.

import CNetmap
public import Netmap

/// One range of guest memory in a `SET_MEM_TABLE` or `ADD_MEM_REG` message.
public struct MemoryRegion: Hashable, Sendable {
    /// Where the guest sees it.
    public var guestAddress: UInt64
    /// Its length in bytes.
    public var size: UInt64
    /// Where the front-end sees it; ring addresses are given so.
    public var userAddress: UInt64
    /// Where it begins in its file.
    public var fileOffset: UInt64

    /// Makes a region from a message's words, unchecked.
    public init(guestAddress: UInt64, size: UInt64, userAddress: UInt64, fileOffset: UInt64) {
        self.guestAddress = guestAddress
        self.size = size
        self.userAddress = userAddress
        self.fileOffset = fileOffset
    }
}

/// A region as the data plane needs it: three words, read for every descriptor.
@unsafe public struct MappedRegion: BitwiseCopyable {
    @usableFromInline let guest: UInt64
    @usableFromInline let size: UInt64
    @usableFromInline let host: UnsafeMutableRawPointer
}

/// Why guest memory was refused.
public struct GuestMemoryError: Error, CustomStringConvertible, Sendable {
    /// A sentence that names the region.
    public let description: String

    /// Refuses a file that its owner could keep us waiting for, before anything is asked of it.
    static func requireLocal(_ file: OwnedDescriptor, _ what: String) throws(GuestMemoryError) {
        do throws(SystemError) {
            try file.requireLocal()
        } catch {
            throw GuestMemoryError(description: "\(what): \(error)")
        }
    }
}

/// All memory that one front-end shares, mapped for as long as this object lives.
///
/// Workers use the translation table without owning it: whoever drops the last reference waits
/// first until no worker can still hold an address (Engine's grace period).
@safe public final class GuestMemory: @unchecked Sendable {
    // Unchecked: the table is written in init and only read afterwards.

    /// The regions, as the front-end described them.
    public let regions: [MemoryRegion]
    let table: UnsafeMutablePointer<MappedRegion>
    let files: [OwnedDescriptor]
    private let mappings: [Mapping]

    /// How many regions a front-end may share (`GET_MAX_MEM_SLOTS`).
    public static let maximumRegions = 32

    /// Maps the regions, one file each.
    ///
    /// Refuses what cannot be served safely: more regions than files, sizes that overflow, overlap,
    /// or files shorter than their region.
    public init(_ regions: [MemoryRegion], files: [OwnedDescriptor]) throws(GuestMemoryError) {
        guard !regions.isEmpty, regions.count <= GuestMemory.maximumRegions else {
            throw GuestMemoryError(description: "\(regions.count) memory regions")
        }
        guard regions.count == files.count else {
            throw GuestMemoryError(
                description: "\(regions.count) memory regions but \(files.count) files"
            )
        }
        try GuestMemory.checkRanges(regions)
        var mappings: [Mapping] = []
        for (region, file) in zip(regions, files) {
            mappings.append(try GuestMemory.map(region, file))
        }
        self.regions = regions
        self.files = files
        self.mappings = mappings
        unsafe table = .allocate(capacity: regions.count)
        for (index, region) in regions.enumerated() {
            unsafe (table + index).initialize(
                to: MappedRegion(
                    guest: region.guestAddress,
                    size: region.size,
                    host: mappings[index].base + Int(region.fileOffset)
                )
            )
        }
    }

    deinit { unsafe table.deallocate() }

    /// Whether a file was cut short under us: its contents now read as zeroes, and the port is dead.
    public var isTruncated: Bool { mappings.contains(where: \.isTruncated) }

    /// Translates a front-end address of `length` contiguous bytes, for rings.
    public func host(user address: UInt64, length: Int) -> UnsafeMutableRawPointer? {
        guard let (index, offset) = place(user: address, length: length) else { return nil }
        // SAFETY: inside region `index`, which is mapped as long as `self` lives.
        return unsafe table[index].host + Int(offset)
    }

    /// In which region, and where in it, `length` bytes at a front-end address lie.
    func place(user address: UInt64, length: Int) -> (region: Int, offset: UInt64)? {
        for (index, region) in regions.enumerated() {
            let offset = address &- region.userAddress
            if offset < region.size, UInt64(length) <= region.size - offset {
                return (index, offset)
            }
        }
        return nil
    }

    private static func checkRanges(_ regions: [MemoryRegion]) throws(GuestMemoryError) {
        for (index, region) in regions.enumerated() {
            let name = "memory region \(index)"
            guard region.size > 0, region.size <= 1 << 46 else {
                throw GuestMemoryError(description: "\(name) has a size of \(region.size) bytes")
            }
            for start in [region.guestAddress, region.userAddress, region.fileOffset]
            where start.addingReportingOverflow(region.size).overflow {
                throw GuestMemoryError(description: "\(name) wraps around the address space")
            }
            // Rings keep their alignment only if all three addresses have the same place in a page.
            guard (region.guestAddress ^ region.userAddress) & 4095 == 0,
                (region.userAddress ^ region.fileOffset) & 4095 == 0
            else { throw GuestMemoryError(description: "\(name) is not aligned to pages") }
            guard region.fileOffset <= 1 << 46 else {
                throw GuestMemoryError(description: "\(name) begins at \(region.fileOffset)")
            }
            for other in regions[..<index]
            where region.guestAddress < other.guestAddress + other.size
                && other.guestAddress < region.guestAddress + region.size
            {
                throw GuestMemoryError(description: "\(name) overlaps another")
            }
        }
    }

    private static func map(
        _ region: MemoryRegion,
        _ file: OwnedDescriptor
    ) throws(GuestMemoryError) -> Mapping {
        let end = region.fileOffset + region.size
        try GuestMemoryError.requireLocal(file, "memory")
        let size = nm_file_size(file.number)
        guard size >= 0, UInt64(size) >= end else {
            throw GuestMemoryError(
                description:
                    "memory file of \(size) bytes is shorter than its region, which ends at "
                    + "\(end)"
            )
        }
        // Mapped from the file's beginning, in whole blocks: hugetlbfs accepts nothing else.
        let block = UInt64(max(4096, nm_file_block_size(file.number)))
        do throws(SystemError) {
            let length = Int((end + block - 1) / block * block)
            return try Mapping(file, length: length, isForeign: true)
        } catch {
            throw GuestMemoryError(description: error.description)
        }
    }
}
