// Which pages of a guest's memory the device has written, while the guest is being migrated: a bitmap
// in a file that the front-end shares, one bit for each 4096 bytes (vhost-user-spec 2.6, rules 8 and 9).

public import CNetmap
import Glibc
public import Netmap

/// A mapped dirty bitmap.
///
/// Owns the mapping. Workers use `base` and `size` under the same rule as guest memory.
@safe public final class DirtyLog: @unchecked Sendable {
    // Unchecked: constant after init; the bitmap itself is only ever written with atomic ORs.
    let base: UnsafeMutableRawPointer
    /// Bytes of bitmap.
    public let size: Int
    private let mapping: (address: UInt, length: Int, guardNumber: Int32)

    /// Maps `size` bytes at `offset` of `file`.
    public init(file: OwnedDescriptor, size: UInt64, offset: UInt64) throws(GuestMemoryError) {
        let (end, overflow) = size.addingReportingOverflow(offset)
        guard size > 0, !overflow, end <= 1 << 40 else {
            throw GuestMemoryError(description: "a dirty log of \(size) bytes at \(offset)")
        }
        let length = nm_file_size(file.number)
        guard length >= 0, UInt64(length) >= end else {
            throw GuestMemoryError(
                description: "a dirty log file of \(length) bytes for a log that ends at \(end)"
            )
        }
        // SAFETY: a new shared mapping, guarded below like guest memory against truncation.
        guard
            let address = unsafe mmap(
                nil,
                Int(end),
                PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_NORESERVE,
                file.number,
                0
            ),
            unsafe address != MAP_FAILED
        else {
            throw GuestMemoryError(
                description: SystemError("mmap the dirty log", result: -errno).description
            )
        }
        let number = unsafe nm_guard_add(address, Int(end))
        guard number >= 0 else {
            unsafe munmap(address, Int(end))
            throw GuestMemoryError(description: "no room to guard a dirty log against truncation")
        }
        mapping = (UInt(bitPattern: address), Int(end), number)
        unsafe base = unsafe address + Int(offset)
        self.size = Int(size)
    }

    deinit {
        nm_guard_remove(mapping.guardNumber)
        // SAFETY: mapped in init; no worker holds the address (type's contract).
        unsafe munmap(UnsafeMutableRawPointer(bitPattern: mapping.address), mapping.length)
    }
}

/// The words that a queue needs to log what it writes.
@safe public struct DirtyPages: BitwiseCopyable {
    @usableFromInline let base: UnsafeMutableRawPointer
    @usableFromInline let size: Int
    /// Guest address of the part of the ring that the device writes.
    @usableFromInline let ring: UInt64
    @usableFromInline let ringLength: Int

    /// Logs into `log`, which must outlive every copy.
    ///
    /// - Parameters:
    ///   - log: the bitmap.
    ///   - ring: guest address of the used ring, or of the packed ring.
    ///   - ringLength: its length in bytes.
    public init(_ log: DirtyLog, ring: UInt64, ringLength: Int) {
        unsafe base = unsafe log.base
        size = log.size
        self.ring = ring
        self.ringLength = ringLength
    }

    /// Marks `length` bytes at guest address `address`; what lies outside the bitmap is not marked.
    @_noLocks @inlinable
    func mark(_ address: UInt64, _ length: Int) {
        guard length > 0 else { return }
        var page = address &>> 12
        let last = (address &+ UInt64(length) &- 1) &>> 12
        while page <= last {
            let byte = page &>> 3
            // SAFETY: below `size`, inside the mapping.
            guard byte < UInt64(size) else { return }
            unsafe nm_or8(base + Int(byte), 1 &<< UInt8(page & 7))
            page = page &+ 1
        }
    }
}
