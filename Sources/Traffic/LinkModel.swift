// A link that is not there: queue, line, losses, delay. Times and lengths in, times out; the frames
// themselves are somebody else's.
//
//   offered --> queue --> line (bandwidth) --> loss --> delay --> due
//                 |                             |
//             no room                          lost

internal import Glibc

/// One direction of an emulated link.
///
/// Frames keep their order, except those that are held back. A frame that is lost has taken its time on the
/// line before. Times are nanoseconds of any clock that does not run backwards.
public struct LinkModel: Sendable {
    /// What becomes of a frame.
    public enum Fate: Sendable, Hashable {
        /// It arrives then, behind all that did not wait longer.
        case arrives(at: UInt64)
        /// It arrives then, and others pass it.
        case isHeld(until: UInt64)
        /// It is lost on the way.
        case isLost
        /// The queue in front of the line has no room for it.
        case findsNoRoom
    }

    /// What became of all frames so far.
    public struct Counts: Sendable, Hashable {
        /// Frames that were offered.
        public internal(set) var offered: UInt64 = 0
        /// Their bytes.
        public internal(set) var bytes: UInt64 = 0
        /// Frames that arrive.
        public internal(set) var arriving: UInt64 = 0
        /// Those among them that others pass.
        public internal(set) var held: UInt64 = 0
        /// Frames that are lost on the way.
        public internal(set) var lost: UInt64 = 0
        /// Frames for which the queue had no room.
        public internal(set) var withoutRoom: UInt64 = 0

        /// Nothing yet.
        public init() {}
    }

    /// What the link is like.
    public let settings: LinkSettings
    /// What became of all frames so far.
    public private(set) var counts = Counts()
    private var random: SeededRandom
    /// When the line has sent all that it was given.
    private var lineIsFree: UInt64 = 0
    /// Parts of a nanosecond that the line is busy for longer: bits x 10^9 modulo the bandwidth.
    private var rest: UInt64 = 0
    private var lastArrival: UInt64 = 0

    /// Makes an idle link; what it loses and holds depends on the seed alone.
    public init(_ settings: LinkSettings, seed: UInt64) {
        self.settings = settings
        random = SeededRandom(seed: seed)
    }

    /// Says what becomes of a frame of `length` bytes that comes at `now`.
    public mutating func offer(length: Int, at now: UInt64) -> Fate {
        counts.offered &+= 1
        counts.bytes &+= UInt64(truncatingIfNeeded: length)
        guard hasRoom(for: length, at: now) else {
            counts.withoutRoom &+= 1
            return .findsNoRoom
        }
        let sent = send(length, at: now)
        guard !isLost(length) else {
            counts.lost &+= 1
            return .isLost
        }
        counts.arriving &+= 1
        // No random number is used up where nothing is random, so that options do not disturb each other.
        lastArrival = max(lastArrival, sent &+ delay())
        let reordering = settings.reordering
        if reordering.share > 0, random.happens(reordering.share) {
            counts.held &+= 1
            return .isHeld(until: lastArrival &+ reordering.hold)
        }
        return .arrives(at: lastArrival)
    }

    private var bitsPerSecond: UInt64? {
        switch settings.bandwidth {
        case .unlimited, .recorded: nil
        case .constant(let bits), .ethernet(let bits): bits
        }
    }

    private func bytesOnLine(_ length: Int) -> UInt64 {
        guard case .ethernet = settings.bandwidth else { return UInt64(length) }
        return UInt64(length + LinkSettings.Bandwidth.framing)
    }

    /// Whether the queue takes it: an idle line takes anything.
    private func hasRoom(for length: Int, at now: UInt64) -> Bool {
        guard let queue = settings.queue, let bits = bitsPerSecond, lineIsFree > now else {
            return true
        }
        // Full width: an hour of 10 Tbit/s in bits x 10^9 does not fit 64.
        let waiting = (lineIsFree - now).multipliedFullWidth(by: bits)
        let limit = UInt64(queue).multipliedFullWidth(by: 8_000_000_000)
        let own = bytesOnLine(length).multipliedFullWidth(by: 8_000_000_000)
        let (low, carry) = waiting.low.addingReportingOverflow(own.low)
        let high = waiting.high &+ own.high &+ (carry ? 1 : 0)
        return high < limit.high || high == limit.high && low <= limit.low
    }

    /// When the last bit of it has left.
    private mutating func send(_ length: Int, at now: UInt64) -> UInt64 {
        guard let bits = bitsPerSecond else { return now }
        if lineIsFree <= now {
            lineIsFree = now
            rest = 0
        }
        let busy = bytesOnLine(length) &* 8_000_000_000 &+ rest
        let (time, rest) = busy.quotientAndRemainder(dividingBy: bits)
        self.rest = rest
        lineIsFree &+= time
        return lineIsFree
    }

    private mutating func isLost(_ length: Int) -> Bool {
        switch settings.loss {
        case .frames(let share): share > 0 && random.happens(share)
        // 1 - (1 - share)^bits, without losing what is small.
        case .bits(let share):
            share > 0 && random.happens(-expm1(Double(length) * 8 * log1p(-share)))
        }
    }

    private mutating func delay() -> UInt64 {
        switch settings.delay {
        case .constant(let time): return time
        case .uniform(let least, let most):
            return least < most ? UInt64.random(in: least...most, using: &random) : least
        case .exponential(let least, let average):
            let mean = Double(average - least)
            return least &+ UInt64((-log1p(-random.fraction()) * mean).rounded())
        }
    }
}
