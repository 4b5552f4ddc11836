// Randomness that can be repeated: what a run lost, a second one with the same seed loses, too.

/// A generator of numbers that a seed settles (SplitMix64).
public struct SeededRandom: RandomNumberGenerator, Sendable, Hashable {
    private var state: UInt64

    /// Begins a sequence.
    public init(seed: UInt64) { state = seed }

    /// The next number.
    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }

    /// The next number, from 0 up to and without 1.
    public mutating func fraction() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// Whether something happens that does so in `probability` of all cases; 0 is never, 1 always.
    public mutating func happens(_ probability: Double) -> Bool { fraction() < probability }
}
