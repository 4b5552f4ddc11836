// What a guest's IOMMU lets the device see: translations from its addresses to the front-end's
// (vhost-user-spec 2.6, rule 14). Plain data; `TranslationTable` is what queues look up.

/// One entry of a device IOTLB.
public struct Translation: Hashable, Sendable {
    /// What the device may do there.
    public struct Access: OptionSet, Hashable, Sendable {
        /// Bit 0 reading, bit 1 writing.
        public let rawValue: UInt8
        /// The device may read.
        public static let read = Access(rawValue: 1)
        /// The device may write.
        public static let write = Access(rawValue: 2)

        /// Makes it of a message's byte.
        public init(rawValue: UInt8) { self.rawValue = rawValue }
    }

    /// Where the device sees it (IOVA).
    public var address: UInt64
    /// Its length in bytes.
    public var size: UInt64
    /// Where the front-end sees it.
    public var userAddress: UInt64
    /// What the device may do there.
    public var access: Access

    /// Makes an entry, unchecked.
    public init(address: UInt64, size: UInt64, userAddress: UInt64, access: Access) {
        self.address = address
        self.size = size
        self.userAddress = userAddress
        self.access = access
    }

    /// Bytes of `struct vhost_iotlb_msg`.
    static let messageLength = 32

    /// The message that asks for the translation of one address.
    static func miss(_ address: UInt64, isWrite: Bool) -> [UInt8] {
        var bytes: [UInt8] = []
        for word in [address, 0, 0] { bytes.append(little: word) }
        bytes += [isWrite ? Access.write.rawValue : Access.read.rawValue, 1]
        return bytes + [UInt8](repeating: 0, count: messageLength - bytes.count)
    }

    /// Whether it describes something and wraps around nowhere.
    var isValid: Bool {
        size > 0 && size <= 1 << 46 && !address.addingReportingOverflow(size - 1).overflow
            && !userAddress.addingReportingOverflow(size - 1).overflow
    }

    var last: UInt64 { address + (size - 1) }
}

/// The translations that a front-end has given, ordered by address, none overlapping another.
public struct IOTLB: Sendable {
    /// In rising order.
    public private(set) var entries: [Translation] = []
    private var victim = 0
    /// How many are kept; a front-end is asked again for one that had to go.
    public static let capacity = 8192
    /// Translations are asked for by pages of this size.
    static let page: UInt64 = 4096

    /// Knows nothing.
    public init() {}

    /// Where a range of the device's addresses lies for the front-end.
    enum Pieces: Equatable {
        case found([UserRange])
        /// The pages of which there is no translation with that access.
        case missing([UInt64])
    }

    /// Adds an entry, in place of what was known of its range.
    mutating func insert(_ entry: Translation) {
        remove(entry.address, through: entry.last)
        if entries.count >= IOTLB.capacity {
            victim = (victim + 1) % entries.count
            entries.remove(at: victim)
        }
        entries.insert(entry, at: index(of: entry.address))
    }

    /// Forgets every entry that has an address in the range.
    mutating func remove(_ address: UInt64, through last: UInt64) {
        var first = index(of: address)
        if first > 0, entries[first - 1].last >= address { first -= 1 }
        var behind = first
        while behind < entries.count, entries[behind].address <= last { behind += 1 }
        entries.removeSubrange(first..<behind)
    }

    /// Looks a range up.
    func pieces(_ address: UInt64, _ length: Int, _ access: Translation.Access) -> Pieces {
        guard length > 0 else { return .found([]) }
        let (last, overflow) = address.addingReportingOverflow(UInt64(length - 1))
        guard !overflow else { return .missing([address]) }
        var found: [UserRange] = []
        var missing: [UInt64] = []
        var at = address
        while true {
            let next: UInt64
            if let entry = entry(at: at), entry.access.isSuperset(of: access) {
                let end = min(entry.last, last)
                let user = entry.userAddress + (at - entry.address)
                let n = Int(end - at) + 1
                // The piece before can end with the address space, behind which nothing is.
                if let before = found.last, user > before.address,
                    user - before.address == UInt64(before.length)
                {
                    found[found.count - 1].length += n
                } else {
                    found.append(UserRange(address: user, length: n))
                }
                next = end
            } else {
                missing.append(at)
                next = min(at | (IOTLB.page - 1), last)
            }
            if next == last { break }
            at = next + 1
        }
        return missing.isEmpty ? .found(found) : .missing(missing)
    }

    private func entry(at address: UInt64) -> Translation? {
        var i = index(of: address)
        if i < entries.count, entries[i].address == address { return entries[i] }
        i -= 1
        return i >= 0 && entries[i].last >= address ? entries[i] : nil
    }

    /// The first entry that begins at `address` or behind it.
    private func index(of address: UInt64) -> Int {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].address < address { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
