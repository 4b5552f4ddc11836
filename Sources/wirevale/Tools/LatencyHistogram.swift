// Times in buckets that are 1/64 apart: percentiles without keeping every sample.

/// How often which time was seen.
struct LatencyHistogram {
    private var buckets = [UInt64](repeating: 0, count: 64 * 64)
    private(set) var count: UInt64 = 0
    private(set) var sum: UInt64 = 0
    private(set) var least = UInt64.max
    private(set) var most: UInt64 = 0

    /// Adds a time in nanoseconds.
    mutating func add(_ time: UInt64) {
        let time = max(1, time)
        count += 1
        sum += time
        least = min(least, time)
        most = max(most, time)
        buckets[Self.bucket(time)] += 1
    }

    var average: UInt64 { count == 0 ? 0 : sum / count }

    /// The time that `share` of all samples do not exceed, to 1.6 %.
    func percentile(_ share: Double) -> UInt64 {
        let wanted = max(1, UInt64((Double(count) * share).rounded(.up)))
        var seen: UInt64 = 0
        for (bucket, n) in buckets.enumerated() {
            seen += n
            if seen >= wanted { return min(most, max(least, Self.end(of: bucket))) }
        }
        return most
    }

    private static func bucket(_ time: UInt64) -> Int {
        let octave = 63 - time.leadingZeroBitCount
        guard octave >= 6 else { return Int(time) }
        return (octave - 5) * 64 + Int((time >> UInt64(octave - 6)) & 63)
    }

    private static func end(of bucket: Int) -> UInt64 {
        guard bucket >= 64 else { return UInt64(bucket) }
        let shift = UInt64(bucket / 64 - 1)
        return (UInt64(64 + bucket % 64) << shift) + (1 << shift) - 1
    }
}
