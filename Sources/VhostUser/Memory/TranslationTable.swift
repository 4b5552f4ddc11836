// The IOTLB as workers see it.

import CNetmap

/// One translation to an address of ours.
@unsafe public struct MappedTranslation: BitwiseCopyable {
    @usableFromInline let address: UInt64
    @usableFromInline let size: UInt64
    @usableFromInline let host: UnsafeMutableRawPointer
    /// Bit 0 the device may read, bit 1 it may write.
    @usableFromInline let access: UInt64
}

/// The translations of one front-end, looked up by its queues and replaced as a whole.
///
/// The control thread calls `replace`, and waits until no worker is in a visit from before it lets go
/// of what that returns. Queues hold the address and must not outlive it.
@safe public final class TranslationTable: @unchecked Sendable {
    // Unchecked: one word that the control thread stores and workers load.

    /// What queues read: an address and a count, published together in one allocation.
    @unsafe struct Contents {
        /// Which it is: an address alone can come again.
        let number: UInt64
        let count: Int
        let entries: UnsafeMutablePointer<MappedTranslation>
    }

    /// The address of the contents.
    let cell: UnsafeMutablePointer<UInt64>
    /// The number of the contents.
    var number: UInt64 = 1

    /// Knows nothing yet.
    public init() {
        unsafe cell = .allocate(capacity: 1)
        unsafe cell.initialize(to: TranslationTable.make([], number: 1))
    }

    deinit {
        unsafe TranslationTable.free(cell.pointee)
        unsafe cell.deallocate()
    }

    /// Publishes the translations of `iotlb` that lie in `memory`.
    ///
    /// - Returns: what to hand to `free` when no worker can use it any more.
    public func replace(_ iotlb: IOTLB, in memory: GuestMemory?) -> UInt64 {
        var mapped: [MappedTranslation] = unsafe []
        for entry in iotlb.entries {
            guard let host = unsafe memory?.host(user: entry.userAddress, length: Int(entry.size))
            else { continue }
            // Neighbours that lie together are one: queues then find whole buffers.
            if let last = unsafe mapped.last,
                unsafe last.address + last.size == entry.address,
                unsafe last.host + Int(last.size) == host,
                unsafe last.access == UInt64(entry.access.rawValue)
            {
                unsafe mapped[mapped.count - 1] = unsafe MappedTranslation(
                    address: last.address,
                    size: last.size + entry.size,
                    host: last.host,
                    access: last.access
                )
                continue
            }
            unsafe mapped.append(
                MappedTranslation(
                    address: entry.address,
                    size: entry.size,
                    host: host,
                    access: UInt64(entry.access.rawValue)
                )
            )
        }
        let old = unsafe nm_load64(cell)
        number += 1
        unsafe nm_store64_release(cell, TranslationTable.make(mapped, number: number))
        return old
    }

    private static func make(_ mapped: [MappedTranslation], number: UInt64) -> UInt64 {
        let entries = UnsafeMutablePointer<MappedTranslation>.allocate(
            capacity: unsafe max(1, mapped.count)
        )
        for index in unsafe mapped.indices {
            unsafe (entries + index).initialize(to: mapped[index])
        }
        let contents = UnsafeMutablePointer<Contents>.allocate(capacity: 1)
        unsafe contents.initialize(
            to: Contents(number: number, count: mapped.count, entries: entries)
        )
        return UInt64(UInt(bitPattern: contents))
    }

    /// Frees contents that `replace` returned.
    public static func free(_ contents: UInt64) {
        // SAFETY: made by `make`, and no worker uses it any more (callers wait).
        guard let contents = unsafe UnsafeMutablePointer<Contents>(bitPattern: UInt(contents))
        else { return }
        unsafe contents.pointee.entries.deallocate()
        unsafe contents.deallocate()
    }
}
