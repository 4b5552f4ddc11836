// A capture file as a port: replayed, or written.

/// The options of a `pcap` port.
public struct PcapOptions: BackendOptions {
    /// The name of the kind.
    public static let type = "pcap"

    /// What the port does.
    public enum Mode: Sendable, Hashable {
        /// It sends the frames of a file.
        case replay(String, Replay)
        /// It takes every frame, and writes it to a file if there is one.
        case sink(String?)
    }

    /// How a file is replayed.
    public struct Replay: Sendable, Hashable {
        /// When frames go.
        public let rate: Rate
        /// How often all of them go; 0 for ever.
        public let loop: Int
        /// Whether it begins at once.
        public let starts: Bool
    }

    /// When the frames of a replay go.
    public enum Rate: Sendable, Hashable, CustomStringConvertible {
        /// As far apart as they were.
        case original
        /// As fast as they can be forwarded.
        case maximum
        /// As many frames a second.
        case packets(UInt64)
        /// As many bits a second.
        case bits(UInt64)

        /// Reads `original`, `max`, `1000pps`, `20kpps`, `10Mbit`.
        public init?(_ text: String) {
            if text == "original" {
                self = .original
                return
            }
            if text == "max" {
                self = .maximum
                return
            }
            let digits = text.prefix { ("0"..."9").contains($0) }
            var unit = text.dropFirst(digits.count)
            guard let number = UInt64(digits), number > 0, let first = unit.first else {
                return nil
            }
            let factors: [Character: UInt64] = [
                "k": 1000, "K": 1000, "M": 1_000_000, "G": 1_000_000_000,
            ]
            let factor = factors[first] ?? 1
            if factor != 1 { unit.removeFirst() }
            let (value, overflows) = number.multipliedReportingOverflow(by: factor)
            // Beyond it, times between frames are shorter than a nanosecond.
            guard !overflows, value <= 1_000_000_000_000 else { return nil }
            switch unit {
            case "pps": self = .packets(value)
            case "bit", "bit/s", "bps": self = .bits(value)
            default: return nil
            }
        }

        /// As it is written.
        public var description: String {
            switch self {
            case .original: "original"
            case .maximum: "max"
            case .packets(let rate): "\(rate)pps"
            case .bits(let rate): "\(rate)bit"
            }
        }
    }

    /// What the port does.
    public let mode: Mode

    init(_ arguments: JSONObject) throws(QMPError) {
        let file = arguments["file"]?.stringValue
        if let file, !file.hasPrefix("/") {
            throw .expects("file", "a path that begins with '/', not '\(file)'")
        }
        guard arguments["lossless"]?.boolValue != true else {
            throw QMPError(
                "Parameter 'lossless' is unexpected: nobody waits for a file; replay to a lossless "
                    + "port and the replay waits for that"
            )
        }
        if arguments["mode"]?.stringValue == "sink" {
            for name in ["rate", "loop", "start"] where arguments[name] != nil {
                throw QMPError("Parameter '\(name)' is for mode=replay")
            }
            mode = .sink(file)
            return
        }
        guard let file else { throw .missing("file") }
        let text = arguments["rate"]?.stringValue ?? "original"
        guard let rate = Rate(text) else {
            throw .expects(
                "rate",
                "'original', 'max', frames a second like '1000pps' or '20kpps', or bits a second "
                    + "like '10Mbit'; not '\(text)'"
            )
        }
        let loop = arguments["loop"]?.integerValue ?? 1
        guard (0...1_000_000_000).contains(loop) else {
            throw .expects("loop", "a number of passes, 0 for ever; not \(loop)")
        }
        mode = .replay(
            file,
            Replay(rate: rate, loop: loop, starts: arguments["start"]?.boolValue ?? true)
        )
    }

    /// Whether the next engine makes the port again: a file is replayed, or written, once.
    public var isRestorable: Bool { false }

    /// The arguments that are not at their defaults.
    public var members: JSONObject {
        var object = JSONObject()
        switch mode {
        case .replay(let file, let replay):
            object["file"] = .string(file)
            if replay.rate != .original { object["rate"] = .string("\(replay.rate)") }
            if replay.loop != 1 { object["loop"] = .integer(replay.loop) }
            if !replay.starts { object["start"] = false }
        case .sink(let file):
            object["mode"] = "sink"
            if let file { object["file"] = .string(file) }
        }
        return object
    }
}
