// A table that outlives its process: the memory that it is in, and the check of what is found there.

import CNetmap

extension ForwardingTable {
    /// Memory of the caller for a table that outlives its process.
    ///
    /// Whoever makes it knows that `entries` is 64-byte aligned and has room for `capacity` entries of
    /// 16 bytes, that `statistics` has room for 8 words, and that both outlive the table.
    @unsafe public struct Storage {
        /// The entries; all zero for an empty table.
        public var entries: UnsafeMutableRawPointer
        /// Where moves and evictions are counted.
        public var statistics: UnsafeMutablePointer<UInt64>
        /// How many entries there are: a power of two, at least 16.
        public var capacity: Int
        /// The hash's multiplier, odd; the one that the entries were stored with.
        public var multiplier: UInt64

        /// Puts the parts together.
        public init(
            entries: UnsafeMutableRawPointer,
            statistics: UnsafeMutablePointer<UInt64>,
            capacity: Int,
            multiplier: UInt64
        ) {
            unsafe self.entries = unsafe entries
            unsafe self.statistics = unsafe statistics
            unsafe self.capacity = capacity
            unsafe self.multiplier = multiplier
        }
    }

    /// Keeps only what was learned on ports for which `isPort` says yes and could have been learned
    /// by now; for a table whose memory comes from elsewhere.
    ///
    /// Static entries go too: who restores a table knows them and adds them again.
    ///
    /// - Returns: how many entries went.
    @discardableResult
    public func retain(now: UInt32, where isPort: (UInt16) -> Bool) -> Int {
        var removed = 0
        var seen: Set<UInt64> = []
        for index in 0..<capacity {
            // SAFETY: `capacity` entries of 16 bytes (init).
            let cell = unsafe entries + index * 16
            let key = unsafe nm_load64_acquire(cell)
            guard key != 0 else { continue }
            let value = unsafe nm_load64(cell + 8)
            let isWellFormed =
                unsafe key == ForwardingTable.key(key) && key & 1 == 0
                && bucket(key) == entries + index & ~(ForwardingTable.ways - 1) * 16
                && value >> 16 & 0xffff == 0
                && now >= UInt32(truncatingIfNeeded: value >> 32)
            if isWellFormed, isPort(UInt16(truncatingIfNeeded: value)), seen.insert(key).inserted {
                continue
            }
            unsafe nm_store64_release(cell, 0)
            removed += 1
        }
        return removed
    }
}
