// How a queue finds its buffers behind an IOMMU, and says which it cannot find.

import CNetmap

/// What a translated queue needs: where to look up, and where to say what is missing.
///
/// One worker at a time uses it; the control thread takes misses out.
@safe public struct Translator: ~Copyable {
    private let cell: UnsafeMutablePointer<UInt64>
    private let misses: UnsafeMutablePointer<UInt64>
    private var written: UInt32 = 0
    private var contents: UInt64 = 0
    /// The number of the contents of the last visit.
    private var seen: UInt64 = 0
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
        contents = now
        // With other translations, what was missing may be missed again.
        let number = number(of: now)
        if number != seen { lastMiss = .max }
        seen = number
    }

    @_noLocks
    private func number(of contents: UInt64) -> UInt64 {
        // SAFETY: loaded in this visit, and not freed before it ends.
        unsafe UnsafePointer<TranslationTable.Contents>(bitPattern: UInt(contents))?.pointee.number
            ?? 0
    }

    /// Whether something is missing that has not come since.
    @usableFromInline var isWaiting: Bool {
        @_noLocks get { unsafe missing && number(of: nm_load64_acquire(cell)) == seen }
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
