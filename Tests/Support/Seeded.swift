// Randomness that can be repeated, and counters that belong to one test.

import CNetmap
package import Netmap

/// A seeded generator (SplitMix64), so that a failure can be repeated.
package struct Seeded: RandomNumberGenerator {
    package var state: UInt64

    package init(_ seed: Int) { state = UInt64(truncatingIfNeeded: seed) }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }

    package mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

    package mutating func within(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + below(range.count)
    }

    package mutating func chance(_ percent: Int) -> Bool { below(100) < percent }

    package mutating func bytes(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 8)
        while bytes.count < count {
            let word = next()
            for shift in stride(from: UInt64(0), to: 64, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: word >> shift))
            }
        }
        bytes.removeLast(bytes.count - count)
        return bytes
    }

    /// Cuts `total` into `pieces` lengths of at least one byte (fewer if there are not enough).
    package mutating func split(_ total: Int, into pieces: Int) -> [Int] {
        var lengths: [Int] = []
        var left = total
        for k in 0..<pieces where left > 0 {
            let remaining = pieces - k
            let n = remaining == 1 ? left : within(1...max(1, left - remaining + 1))
            lengths.append(n)
            left -= n
        }
        return lengths
    }
}

/// The counters of one direction, in memory of the test.
@safe package final class CounterPage {
    private let page: UnsafeMutablePointer<nm_direction_counters>

    package init() {
        unsafe page = .allocate(capacity: 1)
        unsafe page.initialize(to: nm_direction_counters())
    }

    deinit { unsafe page.deallocate() }

    package var counters: DirectionCounters { unsafe DirectionCounters(unsafePage: page) }

    /// The reasons that were counted, by name.
    package var drops: [String: UInt64] {
        var drops: [String: UInt64] = [:]
        for reason in DropReason.allCases where counters.dropped(reason) != 0 {
            drops[reason.name] = counters.dropped(reason)
        }
        return drops
    }
}
