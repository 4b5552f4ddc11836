// Rates and sizes as tc(8) writes them: 10mbit, 1.5gbit, 64kb.

/// Numbers with tc's units.
public enum TrafficUnits {
    /// Bits a second of a text like `10mbit`; nil if it is none.
    ///
    /// A bare number counts bits; units in `bps` count bytes. `k`, `m`, `g`, `t` are powers of 1000, with an
    /// `i` of 1024.
    public static func rate(_ text: String) -> UInt64? {
        guard let (number, unit) = split(text) else { return nil }
        let isBytes = unit.hasSuffix("bps")
        guard isBytes || unit.hasSuffix("bit") || unit.isEmpty else { return nil }
        guard let factor = factor(unit.dropLast(unit.isEmpty ? 0 : 3), kilo: 1000) else {
            return nil
        }
        return whole(number * factor * (isBytes ? 8 : 1))
    }

    /// Bytes of a text like `64kb`; nil if it is none.
    ///
    /// As in tc, `k`, `m` and `g` are powers of 1024, with or without a `b`; units in `bit` count bits.
    public static func size(_ text: String) -> UInt64? {
        guard let (number, unit) = split(text) else { return nil }
        if unit.hasSuffix("bit") {
            return factor(unit.dropLast(3), kilo: 1024).flatMap { whole(number * $0 / 8) }
        }
        let prefix = unit.hasSuffix("b") ? unit.dropLast() : unit[...]
        return factor(prefix, kilo: 1024).flatMap { whole(number * $0) }
    }

    /// A rate in the largest unit that divides it.
    public static func text(rate: UInt64) -> String {
        for (unit, factor) in [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1000)] {
            let factor = UInt64(factor)
            if rate >= factor, rate % factor == 0 { return "\(rate / factor)\(unit)" }
        }
        return "\(rate)bit"
    }

    /// A size in the largest unit that divides it.
    public static func text(size: UInt64) -> String {
        for (unit, shift) in [("mb", UInt64(20)), ("kb", 10)] where size >= 1 << shift {
            if size & (1 << shift - 1) == 0 { return "\(size >> shift)\(unit)" }
        }
        return "\(size)b"
    }

    private static func split(_ text: String) -> (Double, String)? {
        let digits = text.prefix { ("0"..."9").contains($0) || $0 == "." }
        guard let number = Double(digits), digits.first != "." else { return nil }
        return (number, text.dropFirst(digits.count).lowercased())
    }

    private static func factor(_ prefix: some StringProtocol, kilo: Double) -> Double? {
        var kilo = kilo
        var letter = prefix[...]
        if letter.count == 2, letter.last == "i" {
            kilo = 1024
            letter = letter.dropLast()
        }
        switch letter {
        case "": return 1
        case "k": return kilo
        case "m": return kilo * kilo
        case "g": return kilo * kilo * kilo
        case "t": return kilo * kilo * kilo * kilo
        default: return nil
        }
    }

    private static func whole(_ value: Double) -> UInt64? {
        value < 1e18 ? UInt64(value.rounded()) : nil
    }
}
