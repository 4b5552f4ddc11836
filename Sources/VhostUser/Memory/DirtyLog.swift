// Which pages of a guest's memory the device has written, while the guest is being migrated: a bitmap
// in a file that the front-end shares, one bit for each 4096 bytes (vhost-user-spec 2.6, rules 8 and 9).

public import CNetmap
public import Netmap

/// A mapped dirty bitmap.
///
/// Owns the mapping. Workers use `base` and `size` under the same rule as guest memory.
@safe public final class DirtyLog: @unchecked Sendable {
    // Unchecked: constant after init; the bitmap itself is only ever written with atomic ORs.
    let base: UnsafeMutableRawPointer
    /// Bytes of bitmap.
    public let size: Int
    private let mapping: Mapping

    /// Maps `size` bytes at `offset` of `file`.
    public init(file: OwnedDescriptor, size: UInt64, offset: UInt64) throws(GuestMemoryError) {
        let (end, overflow) = size.addingReportingOverflow(offset)
        guard size > 0, !overflow, end <= 1 << 40 else {
            throw GuestMemoryError(description: "a dirty log of \(size) bytes at \(offset)")
        }
        try GuestMemoryError.requireLocal(file, "dirty log")
        let length = nm_file_size(file.number)
        guard length >= 0, UInt64(length) >= end else {
            throw GuestMemoryError(
                description: "a dirty log file of \(length) bytes for a log that ends at \(end)"
            )
        }
        do throws(SystemError) {
            mapping = try Mapping(file, length: Int(end), isForeign: true)
        } catch {
            throw GuestMemoryError(description: error.description)
        }
        unsafe base = unsafe mapping.base + Int(offset)
        self.size = Int(size)
    }
}

/// The words that a queue needs to log what it writes.
@safe public struct DirtyPages: BitwiseCopyable {
    @usableFromInline let base: UnsafeMutableRawPointer
    @usableFromInline let size: Int
    /// Guest addresses of the pages in which the device writes the ring itself.
    @usableFromInline let ringPages: UnsafePointer<UInt64>
    @usableFromInline let ringPageCount: Int

    /// Logs into `log`; it and `ring` must outlive every copy.
    ///
    /// - Parameters:
    ///   - log: the bitmap.
    ///   - ring: the area of the ring that the device writes.
    ///   - isRingLogged: whether what is written there is logged too.
    public init(_ log: DirtyLog, ring: RingArea, isRingLogged: Bool) {
        unsafe base = unsafe log.base
        size = log.size
        unsafe ringPages = unsafe UnsafePointer(ring.pages)
        ringPageCount = isRingLogged ? ring.pageCount : 0
    }

    /// Marks the ring.
    @_noLocks @inlinable
    func markRing() {
        for k in 0..<ringPageCount {
            // SAFETY: below the count of pages.
            mark(unsafe ringPages[k], 1)
        }
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
