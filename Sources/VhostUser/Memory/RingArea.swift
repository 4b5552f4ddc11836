// One area of a ring, contiguous for us even where it is not in the guest's memory.

import CNetmap
import Glibc
import Netmap

/// A descriptor table, a driver's or a device's ring in guest memory.
///
/// Behind an IOMMU its pages can lie anywhere; they are mapped once more then, side by side. The
/// guest memory that it was found in must outlive it.
@safe public final class RingArea {
    /// Where it is.
    public let host: UnsafeMutableRawPointer
    /// Guest addresses of its pages, for the dirty log.
    let pages: UnsafeMutablePointer<UInt64>
    let pageCount: Int
    private let view: View?
    private static let page: UInt64 = 4096
    private typealias View = (base: UnsafeMutableRawPointer, length: Int, guardNumber: Int32)

    /// Finds an area that the front-end describes in one or several pieces.
    public init(_ ranges: [UserRange], in memory: GuestMemory) throws(GuestMemoryError) {
        var guests: [UInt64] = []
        var isContiguous = true
        var next: UnsafeMutableRawPointer?
        for range in ranges {
            guard let (index, offset) = memory.place(user: range.address, length: range.length)
            else { throw GuestMemoryError(description: "lies outside the shared memory") }
            let here = unsafe memory.table[index].host + Int(offset)
            if let next = unsafe next, unsafe next != here { isContiguous = false }
            unsafe next = unsafe here + range.length
            let first = memory.regions[index].guestAddress + offset
            let last = first + UInt64(range.length - 1)
            // By number, because behind the last page of all there is no address.
            for number in first / RingArea.page...last / RingArea.page {
                guests.append(number * RingArea.page)
            }
        }
        guard let first = ranges.first,
            let start = unsafe memory.host(user: first.address, length: first.length)
        else { throw GuestMemoryError(description: "has no length") }
        if isContiguous {
            unsafe view = nil
            unsafe host = unsafe start
        } else {
            let made = try unsafe RingArea.assemble(ranges, memory)
            unsafe view = unsafe made
            unsafe host = unsafe made.base + Int(first.address & (RingArea.page - 1))
        }
        pageCount = guests.count
        unsafe pages = .allocate(capacity: max(1, guests.count))
        for (index, guest) in guests.enumerated() { unsafe (pages + index).initialize(to: guest) }
    }

    deinit {
        unsafe pages.deallocate()
        guard let view = unsafe view else { return }
        unsafe nm_guard_remove(view.guardNumber)
        // SAFETY: mapped in init; no worker uses the ring any more (type's contract).
        unsafe munmap(view.base, view.length)
    }

    /// Whether the memory that was mapped once more was cut short.
    public var isTruncated: Bool {
        if let view = unsafe view { return unsafe nm_guard_tripped(view.guardNumber) != 0 }
        return false
    }

    /// Maps pieces side by side.
    private static func assemble(
        _ ranges: [UserRange],
        _ memory: GuestMemory
    ) throws(GuestMemoryError) -> View {
        let lead = ranges[0].address & (page - 1)
        let length = ranges.reduce(Int(lead)) { $0 + $1.length }
        let whole = (length + Int(page) - 1) & ~(Int(page) - 1)
        // SAFETY: an address range of our own that nothing can be read from yet.
        guard
            let base = unsafe mmap(nil, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            unsafe base != MAP_FAILED
        else {
            throw GuestMemoryError(
                description: "cannot be mapped: \(SystemError("mmap", result: -errno))"
            )
        }
        var at = 0
        for range in ranges {
            let inPage = range.address & (page - 1)
            // Only the first piece may begin, and only the last may end, within a page.
            guard let (index, offset) = memory.place(user: range.address, length: range.length),
                at == 0 || inPage == 0, at == 0 || at & (Int(page) - 1) == 0
            else {
                unsafe munmap(base, whole)
                throw GuestMemoryError(description: "is in pieces smaller than pages")
            }
            let from = memory.regions[index].fileOffset + offset - inPage
            let n = (Int(inPage) + range.length + Int(page) - 1) & ~(Int(page) - 1)
            // SAFETY: inside the range reserved above, which it replaces.
            let made = unsafe mmap(
                base + at,
                n,
                PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
                memory.files[index].number,
                off_t(from)
            )
            guard unsafe made != MAP_FAILED else {
                let why = SystemError("mmap its pages side by side", result: -errno)
                unsafe munmap(base, whole)
                throw GuestMemoryError(description: "is not contiguous; \(why)")
            }
            at += Int(inPage) + range.length
        }
        let number = unsafe nm_guard_add(base, whole)
        guard number >= 0 else {
            unsafe munmap(base, whole)
            throw GuestMemoryError(description: "cannot be guarded against truncation")
        }
        return unsafe (base, whole, number)
    }
}
