// Files in memory: shared mappings that are unmapped with their last owner.

import CNetmap
import Glibc

/// A file mapped for reading and writing, shared with whoever else has mapped it.
///
/// Owns the mapping, not the file. What is handed out as an address must not outlive it.
@safe public final class Mapping: @unchecked Sendable {
    // Unchecked: constant after init; what lies in the memory is its users' business.

    /// Where it begins; aligned to a page.
    public let base: UnsafeMutableRawPointer
    /// Its length in bytes.
    public let length: Int
    private let guardNumber: Int32

    /// Maps `length` bytes of `file`, which may be closed afterwards.
    ///
    /// - Parameters:
    ///   - file: what to map.
    ///   - length: bytes; a multiple of the file's block size on hugetlbfs.
    ///   - offset: where in the file the mapping begins.
    ///   - isForeign: whether others can cut the file short. Where nothing is left, zeroes are read
    ///     then instead of dying of SIGBUS, and `isTruncated` says so.
    /// - Throws: when the kernel refuses.
    public init(
        _ file: OwnedDescriptor,
        length: Int,
        offset: Int = 0,
        isForeign: Bool = false
    ) throws(SystemError) {
        let flags = isForeign ? MAP_SHARED | MAP_NORESERVE : MAP_SHARED
        // SAFETY: a new mapping; nothing of ours lies where the kernel puts it.
        guard
            let base = unsafe mmap(nil, length, PROT_READ | PROT_WRITE, flags, file.number, offset),
            unsafe base != MAP_FAILED
        else { throw SystemError("mmap \(length) bytes", result: -errno) }
        // SAFETY: the mapping made just now; the guard is removed before it is unmapped.
        let number = unsafe isForeign ? nm_guard_add(base, length) : -1
        guard !isForeign || number >= 0 else {
            unsafe munmap(base, length)
            throw SystemError("guard another mapping against truncation", result: -ENOSPC)
        }
        unsafe self.base = unsafe base
        self.length = length
        guardNumber = number
    }

    deinit {
        nm_guard_remove(guardNumber)
        // SAFETY: made in init, and nobody uses an address in it any more (type's contract).
        unsafe munmap(base, length)
    }

    /// Whether the file was cut short under us.
    public var isTruncated: Bool { nm_guard_tripped(guardNumber) != 0 }
}

extension OwnedDescriptor {
    /// Makes sure that nobody can keep us waiting by what they put behind a file that they gave us: its
    /// size, and each of its pages, would be asked of a FUSE server, or of another machine.
    ///
    /// Comes before anything else that is done with the file.
    public func requireLocal() throws(SystemError) {
        guard !canStall else {
            throw SystemError(
                "use a file of FUSE or of a network, whose pages can take for ever",
                result: -ENOTSUP
            )
        }
    }
}
