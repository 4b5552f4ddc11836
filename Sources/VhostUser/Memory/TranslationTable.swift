// The IOTLB as workers see it, and the way in which they say what it lacks.

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
    // Unchecked: one word that the control thread stores and workers load, and a single-producer,
    // single-consumer queue of misses for each ring.

    /// What queues read: an address and a count, published together in one allocation.
    @unsafe struct Contents {
        let count: Int
        let entries: UnsafeMutablePointer<MappedTranslation>
    }

    /// The address of the contents.
    let cell: UnsafeMutablePointer<UInt64>
    /// How often contents were replaced.
    public private(set) var changes = 0

    /// Knows nothing yet.
    public init() {
        unsafe cell = .allocate(capacity: 1)
        unsafe cell.initialize(to: TranslationTable.make([]))
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
        unsafe nm_store64_release(cell, TranslationTable.make(mapped))
        changes += 1
        return old
    }

    private static func make(_ mapped: [MappedTranslation]) -> UInt64 {
        let entries = UnsafeMutablePointer<MappedTranslation>.allocate(
            capacity: unsafe max(1, mapped.count)
        )
        for index in unsafe mapped.indices {
            unsafe (entries + index).initialize(to: mapped[index])
        }
        let contents = UnsafeMutablePointer<Contents>.allocate(capacity: 1)
        unsafe contents.initialize(to: Contents(count: mapped.count, entries: entries))
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

/// What a translated queue needs: where to look up, and where to say what is missing.
///
/// One worker at a time uses it; the control thread takes misses out.
@safe public struct Translator: ~Copyable {
    private let cell: UnsafeMutablePointer<UInt64>
    private let misses: UnsafeMutablePointer<UInt64>
    private var written: UInt32 = 0
    private var contents: UInt64 = 0
    /// Whether something was looked up in vain in this visit.
    @usableFromInline var isMissing: Bool { @_noLocks get { missing } }
    private var missing = false
    private var lastMiss: UInt64 = .max

    /// Misses that fit, before the words for their count and for how many were taken.
    static let capacity = 64

    /// Looks up in `table`, which must outlive it.
    init(_ table: TranslationTable) {
        unsafe cell = unsafe table.cell
        unsafe misses = .allocate(capacity: Translator.capacity + 2)
        unsafe misses.initialize(repeating: 0, count: Translator.capacity + 2)
    }

    deinit { unsafe misses.deallocate() }

    /// Begins a visit: translations from before may be gone.
    @_noLocks @usableFromInline
    mutating func begin() {
        let now = unsafe nm_load64_acquire(cell)
        missing = false
        // With other translations, what was missing may be missed again.
        if now != contents { lastMiss = .max }
        contents = now
    }

    /// Whether something is missing that has not come since.
    @usableFromInline var isWaiting: Bool {
        @_noLocks get { unsafe missing && nm_load64_acquire(cell) == contents }
    }

    /// Finds the translation of an address.
    ///
    /// - Returns: where it is, and how many bytes from there on; nil, and noted, if there is none.
    @_noLocks @usableFromInline
    mutating func find(
        _ address: UInt64,
        isWrite: Bool
    ) -> (host: UnsafeMutableRawPointer, length: UInt64)? {
        // SAFETY: contents live until every worker has begun a visit after their replacement.
        guard
            let table = unsafe UnsafePointer<TranslationTable.Contents>(bitPattern: UInt(contents))
        else { return nil }
        let entries = unsafe table.pointee.entries
        var low = 0
        var high = unsafe table.pointee.count
        while low < high {
            let middle = (low &+ high) / 2
            if unsafe entries[middle].address <= address {
                low = middle &+ 1
            } else {
                high = middle
            }
        }
        if low > 0 {
            let entry = unsafe entries[low &- 1]
            let offset = unsafe address &- entry.address
            if unsafe offset < entry.size, unsafe entry.access & (isWrite ? 2 : 1) != 0 {
                return unsafe (entry.host + Int(offset), entry.size &- offset)
            }
        }
        note(address, isWrite: isWrite)
        return nil
    }

    @_noLocks
    private mutating func note(_ address: UInt64, isWrite: Bool) {
        missing = true
        let miss = address & ~1 | (isWrite ? 1 : 0)
        if miss == lastMiss { return }
        // SAFETY: the two words behind the entries; indices are masked.
        let taken = unsafe UInt32(
            truncatingIfNeeded: nm_load64_acquire(misses + Translator.capacity + 1)
        )
        guard written &- taken < UInt32(Translator.capacity) else { return }
        lastMiss = miss
        unsafe nm_store64(misses + Int(written % UInt32(Translator.capacity)), miss)
        written = written &+ 1
        unsafe nm_store64_release(misses + Translator.capacity, UInt64(written))
    }

    /// Whether the control thread has misses to take.
    @usableFromInline var hasMisses: Bool {
        @_noLocks get {
            unsafe UInt32(truncatingIfNeeded: nm_load64(misses + Translator.capacity + 1))
                != written
        }
    }

    /// What has been missed since the last call; for the control thread.
    func takeMisses() -> [BackendRequest] {
        // SAFETY: as in `note`.
        let end = unsafe UInt32(truncatingIfNeeded: nm_load64_acquire(misses + Translator.capacity))
        var at = unsafe UInt32(truncatingIfNeeded: nm_load64(misses + Translator.capacity + 1))
        var found: [BackendRequest] = []
        while at != end {
            let miss = unsafe nm_load64(misses + Int(at % UInt32(Translator.capacity)))
            found.append(.translationMiss(address: miss & ~1, isWrite: miss & 1 != 0))
            at = at &+ 1
        }
        unsafe nm_store64_release(misses + Translator.capacity + 1, UInt64(end))
        return found
    }
}
