// What a link is like, in the words that nmreplay and tlem take.

/// What a link does to the frames that cross it.
public struct LinkSettings: Sendable, Hashable {
    /// How fast frames leave.
    public enum Bandwidth: Sendable, Hashable {
        /// At once.
        case unlimited
        /// So many bits of frames a second.
        case constant(UInt64)
        /// So many bits a second, with preamble, CRC and gap.
        case ethernet(UInt64)
        /// As the times in a capture say, or so many times faster.
        case recorded(speedup: Double)

        /// Bytes that a frame takes besides its own.
        public static let framing = 24
    }

    /// How long a frame is under way, in nanoseconds.
    public enum Delay: Sendable, Hashable {
        /// Always the same.
        case constant(UInt64)
        /// Anything between the two.
        case uniform(least: UInt64, most: UInt64)
        /// At least the first, the second on average, sometimes much more.
        case exponential(least: UInt64, average: UInt64)
    }

    /// Which frames are lost on the way.
    public enum Loss: Sendable, Hashable {
        /// That share of all.
        case frames(Double)
        /// Those in which a bit is wrong; that share of all bits is.
        case bits(Double)
    }

    /// Which frames let others pass.
    public struct Reordering: Sendable, Hashable {
        /// That share of all.
        public var share: Double
        /// Nanoseconds for which they are held.
        public var hold: UInt64

        /// Holds `share` of the frames back for `hold` nanoseconds.
        public init(share: Double, hold: UInt64) {
            self.share = share
            self.hold = hold
        }
    }

    /// How fast frames leave.
    public var bandwidth = Bandwidth.unlimited
    /// How long they are under way.
    public var delay = Delay.constant(0)
    /// Which of them are lost.
    public var loss = Loss.frames(0)
    /// Which of them let others pass.
    public var reordering = Reordering(share: 0, hold: 0)
    /// Bytes that may wait for the line; nil for any number.
    public var queue: Int?

    /// A link that does nothing.
    public init() {}
}

/// What is wrong with a setting, and what to write instead.
public struct LinkSettingError: Error, Hashable, CustomStringConvertible {
    /// The sentence.
    public let description: String

    init(_ text: String, _ option: String, _ instead: String) {
        description = "\(option) '\(text)' makes no sense; write \(instead)"
    }

    /// An option that was given too often.
    public init(_ option: String, count: Int, most: Int) {
        description =
            "\(option) is there \(count) times; "
            + (most == 1 ? "write it once" : "write it once, or once for each direction")
    }
}

extension LinkSettings.Bandwidth {
    /// Reads `100M`, `constant,100M`, `ether,10G`, `real` or `real,2`.
    public init(_ text: String) throws(LinkSettingError) {
        let wrong = LinkSettingError(
            text,
            "-B",
            "'100M', 'ether,10G' (with preamble, CRC and gap), 'real' or 'real,2' (as recorded)"
        )
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        switch (parts[0], parts.count) {
        case ("real", 1): self = .recorded(speedup: 1)
        case ("real", 2):
            guard let speedup = Double(parts[1]), speedup > 0, speedup.isFinite else { throw wrong }
            self = .recorded(speedup: speedup)
        case ("ether", 2): self = .ethernet(try Self.bits(parts[1], wrong))
        case ("constant", 2): self = .constant(try Self.bits(parts[1], wrong))
        case (_, 1):
            let bits = try Self.bits(parts[0], wrong, least: 0)
            self = bits == 0 ? .unlimited : .constant(bits)
        default: throw wrong
        }
    }

    private static func bits(
        _ text: Substring,
        _ wrong: LinkSettingError,
        least: Double = 1
    ) throws(LinkSettingError) -> UInt64 {
        let text = text.hasSuffix("bps") ? text.dropLast(3) : text
        guard let value = SettingText.scaled(text, SettingText.decimal), value >= least,
            value <= 1e13
        else { throw wrong }
        return UInt64(value)
    }
}

extension LinkSettings.Delay {
    /// Reads `10ms`, `constant,10ms`, `uniform,1ms,5ms` or `exp,1ms,5ms`.
    public init(_ text: String) throws(LinkSettingError) {
        let wrong = LinkSettingError(
            text,
            "-D",
            "'10ms', 'uniform,1ms,5ms' (least, most) or 'exp,1ms,5ms' (least, average); "
                + "the units are s, ms, us and ns"
        )
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        let isNamed = SettingText.time(parts[0]) == nil
        var times: [UInt64] = []
        for part in parts.dropFirst(isNamed ? 1 : 0) {
            guard let time = SettingText.time(part) else { throw wrong }
            times.append(time)
        }
        switch (isNamed ? parts[0] : "constant", times.count) {
        case ("constant", 1): self = .constant(times[0])
        case ("uniform", 2) where times[0] <= times[1]:
            self = .uniform(least: times[0], most: times[1])
        case ("exp", 2) where times[0] <= times[1]:
            self = .exponential(least: times[0], average: times[1])
        default: throw wrong
        }
    }
}

extension LinkSettings.Loss {
    /// Reads `0.01`, `plr,0.01` or `ber,1e-6`.
    public init(_ text: String) throws(LinkSettingError) {
        let wrong = LinkSettingError(
            text,
            "-L",
            "'0.01' or 'plr,0.01' (that share of all frames), or 'ber,1e-6' (of all bits)"
        )
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        guard let share = SettingText.share(parts[parts.count - 1]) else { throw wrong }
        switch (parts[0], parts.count) {
        case (_, 1), ("plr", 2): self = .frames(share)
        case ("ber", 2): self = .bits(share)
        default: throw wrong
        }
    }
}

extension LinkSettings.Reordering {
    /// Reads `0.1,5ms` or `const,0.1,5ms`.
    public init(_ text: String) throws(LinkSettingError) {
        var parts = text.split(separator: ",", omittingEmptySubsequences: false)
        if parts.count == 3, parts[0] == "const" || parts[0] == "constant" { parts.removeFirst() }
        guard parts.count == 2, let share = SettingText.share(parts[0]),
            let hold = SettingText.time(parts[1])
        else {
            throw LinkSettingError(text, "-R", "'0.1,5ms': a tenth of all frames is held for 5 ms")
        }
        self.init(share: share, hold: hold)
    }
}

extension LinkSettings {
    /// Reads a queue's length, `64K`.
    public static func queue(_ text: String) throws(LinkSettingError) -> Int {
        guard let bytes = SettingText.scaled(text[...], SettingText.binary), bytes >= 1,
            bytes <= 1e12
        else { throw LinkSettingError(text, "-Q", "bytes: '50000', '64K', '1M'") }
        return Int(bytes)
    }
}

/// Numbers with units.
enum SettingText {
    static let decimal: [Character: Double] = ["k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12]
    static let binary: [Character: Double] = ["k": 0x1p10, "m": 0x1p20, "g": 0x1p30]

    /// A number of zero or more with one of the letters, in either case.
    static func scaled(_ text: Substring, _ units: [Character: Double]) -> Double? {
        var text = text
        var unit = 1.0
        if let last = text.last, let factor = units[Character(last.lowercased())] {
            unit = factor
            text = text.dropLast()
        }
        guard let value = number(text) else { return nil }
        return value * unit
    }

    /// Nanoseconds: `5ms`, `5m`, `0`.
    static func time(_ text: Substring) -> UInt64? {
        let digits = text.prefix { !$0.isLetter || $0 == "e" || $0 == "E" }
        let unit: Double
        switch text[digits.endIndex...] {
        case "s": unit = 1e9
        case "ms", "m": unit = 1e6
        case "us", "u": unit = 1e3
        case "ns", "n": unit = 1
        case "" where number(digits) == 0: unit = 1
        default: return nil
        }
        guard let value = number(digits), value * unit <= 3.6e12 else { return nil }
        return UInt64((value * unit).rounded())
    }

    /// A share, from 0 to 1.
    static func share(_ text: Substring) -> Double? {
        guard let value = number(text), value <= 1 else { return nil }
        return value
    }

    private static func number(_ text: Substring) -> Double? {
        guard let first = text.first, first.isNumber || first == ".", let value = Double(text),
            value >= 0, value.isFinite
        else { return nil }
        return value
    }
}
