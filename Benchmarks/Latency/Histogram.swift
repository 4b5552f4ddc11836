// Times in buckets that grow with them: every value is kept to 1.6 %, and adding one touches one word.

/// A log-linear histogram of nanoseconds; adding allocates nothing.
struct Histogram {
    /// Buckets of each power of two; smaller values have one each.
    private static let steps: UInt64 = 64
    /// log2 of `steps`.
    private static let bits = 6
    private var buckets = [UInt32](repeating: 0, count: (64 - bits + 1) * Int(steps))
    private(set) var count = 0
    private(set) var maximum: UInt64 = 0

    mutating func add(_ value: UInt64) {
        buckets[Histogram.bucket(of: value)] &+= 1
        count &+= 1
        maximum = max(maximum, value)
    }

    mutating func removeAll() {
        for k in buckets.indices { buckets[k] = 0 }
        (count, maximum) = (0, 0)
    }

    /// The value that `share` of all values do not exceed, to the width of a bucket; 0 without values.
    func quantile(_ share: Double) -> UInt64 {
        let wanted = (Double(count) * share).rounded(.up)
        var seen = 0
        for k in buckets.indices where buckets[k] > 0 {
            seen += Int(buckets[k])
            if Double(seen) >= wanted { return min(Histogram.upperBound(of: k), maximum) }
        }
        return maximum
    }

    private static func bucket(of value: UInt64) -> Int {
        guard value >= steps else { return Int(value) }
        // 0 for the first power of two whose values share nothing, and so on.
        let shift = 63 - value.leadingZeroBitCount - bits
        return (shift + 1) << bits + Int(value >> UInt64(shift) & (steps - 1))
    }

    private static func upperBound(of bucket: Int) -> UInt64 {
        guard bucket >= Int(steps) else { return UInt64(bucket) }
        let shift = UInt64(bucket >> bits - 1)
        let step = UInt64(bucket) & (steps - 1) | steps
        return step << shift | (1 << shift - 1)
    }
}
