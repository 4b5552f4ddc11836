// Which port a station was last seen on: learning, ageing, static entries, in bounded memory.

public import CNetmap

/// The forwarding database of one switch.
///
/// A set-associative hash table of fixed size: a key may stand in one of the four entries of its
/// bucket, which fill one cache line. A flood of source addresses therefore costs no memory; it
/// replaces the entries that were not heard of for the longest time, and says so in `evictions`.
///
/// Several workers read and write it without a lock. An entry is two 64-bit words; a reader that
/// catches one in the middle of a replacement sends one frame to a port of the same switch where it
/// is not wanted, as flooding would have. The multiplier of the hash is drawn at random, so
/// nobody can aim at one bucket.
@safe public struct ForwardingTable: ~Copyable {
    /// Entries a bucket.
    @inlinable static var ways: Int { @_noLocks get { 4 } }

    /// How many stations fit.
    public let capacity: Int
    @usableFromInline let entries: UnsafeMutableRawPointer
    @usableFromInline let shift: UInt64
    @usableFromInline let multiplier: UInt64
    @usableFromInline let statistics: UnsafeMutablePointer<UInt64>
    private let ownsMemory: Bool

    /// Makes a table in the caller's memory, with what is there already.
    ///
    /// Contents that no table would have are harmless once `retain` has been through them.
    public init(_ storage: Storage) {
        let capacity = unsafe storage.capacity
        precondition(capacity >= 16 && capacity & (capacity - 1) == 0, "a power of two from 16 on")
        self.capacity = capacity
        let buckets = capacity / ForwardingTable.ways
        shift = UInt64(64 - buckets.trailingZeroBitCount)
        multiplier = unsafe storage.multiplier | 1
        unsafe entries = unsafe storage.entries
        unsafe statistics = unsafe storage.statistics
        ownsMemory = false
    }

    /// Makes an empty table for at least `capacity` stations.
    ///
    /// - Parameters:
    ///   - capacity: rounded up to a power of two, at least 16.
    ///   - seed: fixes the hash, for tests; random by default.
    public init(capacity: Int = 8192, seed: UInt64? = nil) {
        var buckets = 4
        while buckets * ForwardingTable.ways < capacity { buckets *= 2 }
        self.capacity = buckets * ForwardingTable.ways
        shift = UInt64(64 - buckets.trailingZeroBitCount)
        multiplier = (seed ?? UInt64.random(in: .min ... .max)) | 1
        let size = self.capacity * 16
        unsafe entries = .allocate(byteCount: size, alignment: 64)
        unsafe entries.initializeMemory(as: UInt8.self, repeating: 0, count: size)
        unsafe statistics = .allocate(capacity: 8)
        unsafe statistics.initialize(repeating: 0, count: 8)
        ownsMemory = true
    }

    deinit {
        if ownsMemory {
            unsafe entries.deallocate()
            unsafe statistics.deallocate()
        }
    }

    /// What `learn` did.
    public enum Learned: Sendable {
        /// The station was known there.
        case known
        /// A new station.
        case added
        /// The station was on another port before.
        case moved
        /// The station has a static entry, which stands.
        case pinned
        /// Its bucket is full of static entries.
        case full

        /// Whether a lookup may now give another answer than before.
        @inlinable var changedTable: Bool {
            @_noLocks get {
                switch self {
                case .added, .moved: true
                case .known, .pinned, .full: false
                }
            }
        }
    }

    /// Stations that changed their port.
    public var moves: UInt64 { unsafe nm_load64(statistics) }
    /// Live entries that gave way to another station because their bucket was full.
    public var evictions: UInt64 { unsafe nm_load64(statistics + 1) }

    // An entry: word 0 the key (48 bits of address as loaded from the wire, the VLAN in the 12 bits above
    // them, which is 0 without VLANs, bit 63 set), word 1 the port (16 bits), static flag (bit 16), and the second in which it was last heard (high half).

    @_noLocks @inlinable static func key(_ mac: UInt64) -> UInt64 {
        (mac & 0x0fff_ffff_ffff_ffff) | (1 &<< 63)
    }

    static func key(_ mac: UInt64, _ vlan: UInt16) -> UInt64 {
        key(mac & 0xffff_ffff_ffff | UInt64(vlan) << 48)
    }

    @_noLocks @inlinable static func value(port: UInt16, fixed: Bool, seen: UInt32) -> UInt64 {
        UInt64(port) | (fixed ? 0x1_0000 : 0) | UInt64(seen) &<< 32
    }

    @_noLocks @inlinable func bucket(_ key: UInt64) -> UnsafeMutableRawPointer {
        // SAFETY: `shift` leaves exactly the bits of a bucket number.
        let index = Int(truncatingIfNeeded: (key &* multiplier) &>> shift)
        return unsafe entries + index &* (16 &* ForwardingTable.ways)
    }

    @_noLocks @inlinable static func isLive(_ value: UInt64, now: UInt32, ageing: UInt32) -> Bool {
        value & 0x1_0000 != 0 || ageing == 0
            || age(value, now: now) <= ageing
    }

    /// Seconds since an entry was heard.
    ///
    /// Workers read the clock at different moments, so an entry can be a second younger than now;
    /// that is no age at all.
    @_noLocks @inlinable static func age(_ value: UInt64, now: UInt32) -> UInt32 {
        let age = now &- UInt32(truncatingIfNeeded: value &>> 32)
        return age > UInt32.max / 2 ? 0 : age
    }

    /// Finds the port that a station was last seen on.
    ///
    /// - Parameters:
    ///   - mac: the address as the low 48 bits of a little-endian load, and its VLAN in the 12 bits above.
    ///   - now: the time in seconds, on any clock that does not go back.
    ///   - ageing: seconds after which an entry is forgotten; 0 for never.
    /// - Returns: the port, or nil if the station is unknown or was silent for too long.
    @_noLocks @inlinable
    public func lookup(_ mac: UInt64, now: UInt32, ageing: UInt32) -> UInt16? {
        let key = ForwardingTable.key(mac)
        // SAFETY: four entries of 16 bytes follow the bucket's address (init).
        let at = unsafe bucket(key)
        var way = 0
        while way < 64 {
            if unsafe nm_load64_acquire(at + way) == key {
                let value = unsafe nm_load64(at + way + 8)
                return ForwardingTable.isLive(value, now: now, ageing: ageing)
                    ? UInt16(truncatingIfNeeded: value) : nil
            }
            way = way &+ 16
        }
        return nil
    }

    /// Notes that `mac` was heard on `port`.
    @_noLocks @inlinable @discardableResult
    public func learn(_ mac: UInt64, on port: UInt16, now: UInt32, ageing: UInt32) -> Learned {
        let key = ForwardingTable.key(mac)
        let fresh = ForwardingTable.value(port: port, fixed: false, seen: now)
        // SAFETY: as in `lookup`.
        let at = unsafe bucket(key)
        var way = 0
        while way < 64 {
            if unsafe nm_load64_acquire(at + way) == key {
                let value = unsafe nm_load64(at + way + 8)
                if value == fresh { return .known }
                return unsafe refresh(at + way + 8, value, fresh, now: now, ageing: ageing)
            }
            way = way &+ 16
        }
        return unsafe insert(at, key, fresh, now: now, ageing: ageing)
    }

    @usableFromInline @inline(never) @_noLocks
    func refresh(
        _ cell: UnsafeMutableRawPointer,
        _ old: UInt64,
        _ fresh: UInt64,
        now: UInt32,
        ageing: UInt32
    ) -> Learned {
        if old & 0x1_0000 != 0 {
            return UInt16(truncatingIfNeeded: old) == UInt16(truncatingIfNeeded: fresh)
                ? .known : .pinned
        }
        // SAFETY: `cell` is the second word of an entry (caller).
        unsafe nm_store64(cell, fresh)
        if UInt16(truncatingIfNeeded: old) == UInt16(truncatingIfNeeded: fresh) {
            return ForwardingTable.isLive(old, now: now, ageing: ageing) ? .known : .added
        }
        guard ForwardingTable.isLive(old, now: now, ageing: ageing) else { return .added }
        unsafe nm_count_shared(statistics, 1)
        return .moved
    }

    @usableFromInline @inline(never) @_noLocks
    func insert(
        _ at: UnsafeMutableRawPointer,
        _ key: UInt64,
        _ value: UInt64,
        now: UInt32,
        ageing: UInt32
    ) -> Learned {
        // SAFETY: as in `lookup`.
        var victim = -1
        var oldest: UInt32 = 0
        for way in stride(from: 0, to: 64, by: 16) {
            let oldKey = unsafe nm_load64(at + way)
            let oldValue = unsafe nm_load64(at + way + 8)
            if oldKey == 0 {
                victim = way
                oldest = .max
                break
            }
            if oldValue & 0x1_0000 != 0 { continue }
            let age = ForwardingTable.age(oldValue, now: now)
            if victim < 0 || age > oldest {
                victim = way
                oldest = age
            }
        }
        guard victim >= 0 else { return .full }
        let replaced = unsafe nm_load64(at + victim)
        if replaced != 0 {
            let old = unsafe nm_load64(at + victim + 8)
            if ForwardingTable.isLive(old, now: now, ageing: ageing) {
                unsafe nm_count_shared(statistics + 1, 1)
            }
        }
        // A reader never pairs the new key with the old port: no key, the port, then the key.
        unsafe nm_store64_release(at + victim, 0)
        unsafe nm_store64_release(at + victim + 8, value)
        unsafe nm_store64_release(at + victim, key)
        return .added
    }

    /// Pins `mac` to `port` until it is removed or the port goes; in one VLAN.
    ///
    /// - Returns: false if its bucket is full of static entries.
    public func addStatic(_ mac: UInt64, vlan: UInt16 = 0, on port: UInt16) -> Bool {
        remove(mac, vlan: vlan)
        let key = ForwardingTable.key(mac, vlan)
        let value = ForwardingTable.value(port: port, fixed: true, seen: 0)
        return unsafe insert(bucket(key), key, value, now: 0, ageing: 0) != .full
    }

    /// Forgets `mac` in one VLAN.
    ///
    /// - Returns: whether it was known.
    @discardableResult
    public func remove(_ mac: UInt64, vlan: UInt16 = 0) -> Bool {
        let key = ForwardingTable.key(mac, vlan)
        return removeAll { entryKey, _ in entryKey == key } > 0
    }

    /// Forgets every station on `port`, static ones too: the port is gone.
    @discardableResult
    public func flush(port: UInt16) -> Int {
        removeAll { _, value in UInt16(truncatingIfNeeded: value) == port }
    }

    /// Forgets the stations that were learned on `port`, or on any port.
    @discardableResult
    public func flush(dynamicOn port: UInt16?) -> Int {
        removeAll { _, value in
            value & 0x1_0000 == 0 && (port == nil || UInt16(truncatingIfNeeded: value) == port)
        }
    }

    private func removeAll(where matches: (UInt64, UInt64) -> Bool) -> Int {
        var removed = 0
        for index in 0..<capacity {
            // SAFETY: `capacity` entries of 16 bytes (init).
            let cell = unsafe entries + index * 16
            let key = unsafe nm_load64_acquire(cell)
            if key != 0, matches(key, unsafe nm_load64(cell + 8)) {
                unsafe nm_store64_release(cell, 0)
                removed += 1
            }
        }
        return removed
    }

    /// How many stations a lookup finds that were learned on `port`.
    @_noLocks func count(learnedOn port: UInt16, now: UInt32, ageing: UInt32) -> Int {
        var count = 0
        for index in 0..<capacity {
            // SAFETY: `capacity` entries of 16 bytes (init).
            let cell = unsafe entries + index &* 16
            let value = unsafe nm_load64(cell + 8)
            if unsafe nm_load64_acquire(cell) != 0, UInt16(truncatingIfNeeded: value) == port,
                value & 0x1_0000 == 0, ForwardingTable.isLive(value, now: now, ageing: ageing)
            {
                count = count &+ 1
            }
        }
        return count
    }

    /// A station as the table knows it.
    public struct Entry: Hashable, Sendable {
        /// The address, first octet in the low byte.
        public let mac: UInt64
        /// The VLAN in which it was heard; 0 for none.
        public let vlan: UInt16
        /// Where it is.
        public let port: UInt16
        /// Whether an operator put it there.
        public let isStatic: Bool
        /// Seconds since it was last heard; 0 for static ones.
        public let age: UInt32
    }

    /// All stations that a lookup would find.
    public func contents(now: UInt32, ageing: UInt32) -> [Entry] {
        (0..<capacity).compactMap { index in
            // SAFETY: `capacity` entries of 16 bytes (init).
            let cell = unsafe entries + index * 16
            let key = unsafe nm_load64_acquire(cell)
            let value = unsafe nm_load64(cell + 8)
            guard key != 0, ForwardingTable.isLive(value, now: now, ageing: ageing) else {
                return nil
            }
            let fixed = value & 0x1_0000 != 0
            return Entry(
                mac: key & 0xffff_ffff_ffff,
                vlan: UInt16(truncatingIfNeeded: key >> 48) & 0xfff,
                port: UInt16(truncatingIfNeeded: value),
                isStatic: fixed,
                age: fixed ? 0 : ForwardingTable.age(value, now: now)
            )
        }
    }
}
