// A token bucket: what a limit of so many bytes or frames a second is made of.

/// Fills with time up to its depth and is emptied by what passes.
///
/// A frame passes if anything is in the bucket, and takes its whole length out, below zero too: so a frame
/// larger than the bucket (TCP segments that a guest left uncut) passes now and then, and the rate is kept.
public struct TokenBucket: BitwiseCopyable, Sendable {
    /// Tokens a second; 0 if there is no limit.
    public let rate: UInt64
    /// The most tokens that wait.
    public let depth: Int64
    /// What is in it.
    public private(set) var level: Int64
    /// When that was so, in nanoseconds.
    private var last: UInt64
    /// Billionths of a token that are in it besides.
    private var fraction: UInt64 = 0

    private static var second: UInt64 { @_noLocks get { 1_000_000_000 } }

    /// Makes a full bucket.
    @_noLocks public init(rate: UInt64, depth: Int64, now: UInt64) {
        // So that nothing below can overflow.
        self.rate = min(rate, 1 << 50)
        self.depth = min(max(1, depth), 1 << 60)
        level = self.depth
        last = now
    }

    /// A bucket that limits nothing.
    public static var unlimited: TokenBucket {
        @_noLocks get { TokenBucket(rate: 0, depth: 1, now: 0) }
    }

    /// Whether it limits anything.
    public var isLimit: Bool { @_noLocks get { rate != 0 } }

    /// Adds what has come since the last call.
    @_noLocks public mutating func fill(now: UInt64) {
        // Workers read the clock at different moments.
        guard rate != 0, now > last else { return }
        let elapsed = now &- last
        guard elapsed < 64 &* TokenBucket.second else {
            // Once more makes up for the rest of a larger bucket.
            level = min(depth, level &+ Int64(rate) &* 64)
            fraction = 0
            last = now
            return
        }
        var product = rate.multipliedFullWidth(by: elapsed)
        let sum = product.low.addingReportingOverflow(fraction)
        product = (product.high &+ (sum.overflow ? 1 : 0), sum.partialValue)
        let tokens = TokenBucket.second.dividingFullWidth(product)
        last = now
        if tokens.quotient >= UInt64(depth &- level) {
            level = depth
            fraction = 0
        } else {
            level = level &+ Int64(tokens.quotient)
            fraction = tokens.remainder
        }
    }

    /// Takes `count` tokens if there are any.
    @_noLocks public mutating func take(_ count: Int) -> Bool {
        guard rate != 0 else { return true }
        guard level > 0 else { return false }
        level = level &- Int64(truncatingIfNeeded: count)
        return true
    }
}
