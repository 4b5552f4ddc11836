// What a dump of a port or a switch is to be: `dump-add`, or QEMU's `object-add filter-dump`.

/// A capture of the frames of a port, or of all ports of a switch, to a file.
public struct DumpOptions: Sendable, Hashable {
    /// Formats of capture files.
    public enum Format: String, Sendable, Hashable, CaseIterable {
        /// The classic one.
        case pcap
        /// Blocks and options.
        case pcapng
    }

    /// The dump's id.
    public let id: String
    /// A port, by its id or its ifname, or a switch.
    public let name: String
    /// The file, or FIFO.
    public let file: String
    /// Its format.
    public let format: Format
    /// The most bytes of a frame that are kept.
    public let snapLength: Int
    /// Whether frames from the ports are taken.
    public let takesInbound: Bool
    /// Whether frames to the ports are taken.
    public let takesOutbound: Bool
    /// Which frames, in tcpdump's language; nil for all.
    public let filter: String?
    /// After how many frames it ends.
    public let count: Int?
    /// After how many bytes another file begins.
    public let fileSize: Int?
    /// After how many seconds another file begins.
    public let seconds: Int?
    /// How many files there are.
    public let files: Int?
    /// Bytes of memory for frames that are not written yet.
    public let buffer: Int
    /// Whether the dump ends with the control connection that made it.
    public let isEphemeral: Bool

    /// The most bytes of a frame that make sense.
    public static let maximumSnapLength = 262_144

    /// Takes the arguments of `dump-add`.
    public init(_ arguments: JSONObject) throws(QMPError) {
        try SchemaValidator().validate(command: "dump-add", arguments: arguments)
        id = try NetdevOptions.identifier(arguments["id"]?.stringValue ?? "", "id")
        name = arguments["name"]?.stringValue ?? ""
        file = try Self.path(arguments["file"]?.stringValue ?? "")
        format =
            arguments["format"]?.stringValue.flatMap(Format.init(rawValue:))
            ?? (file.hasSuffix(".pcap") ? .pcap : .pcapng)
        snapLength = try Self.snapLength(arguments, "snaplen")
        let direction = arguments["direction"]?.stringValue ?? "inout"
        takesInbound = direction != "out"
        takesOutbound = direction != "in"
        filter = arguments["filter"]?.stringValue.flatMap { $0.isEmpty ? nil : $0 }
        count = try Self.positive(arguments, "count")
        fileSize = try Self.positive(arguments, "file-size")
        seconds = try Self.positive(arguments, "rotate-seconds")
        files = try Self.positive(arguments, "files")
        if files != nil, fileSize == nil, seconds == nil {
            throw QMPError(
                "Parameter 'files' says nothing without 'file-size' or 'rotate-seconds'"
            )
        }
        buffer = try Self.positive(arguments, "buffer") ?? 8 << 20
        guard (1 << 18...1 << 30).contains(buffer) else {
            throw .expects("buffer", "bytes from \(1 << 18) to \(1 << 30), not \(buffer)")
        }
        isEphemeral = arguments["ephemeral"]?.boolValue ?? false
    }

    /// Takes the arguments of `object-add` for a `filter-dump`, as QEMU has them.
    public init(object arguments: JSONObject) throws(QMPError) {
        try SchemaValidator().validate(command: "object-add", arguments: arguments)
        let maximum = try Self.snapLength(arguments, "maxlen")
        var made: JSONObject = [
            "id": arguments["id"] ?? "", "name": arguments["netdev"] ?? "",
            "file": arguments["file"] ?? "", "format": "pcap", "snaplen": .integer(maximum),
        ]
        // QEMU's rx is what is sent to the netdev, tx what the netdev's guest sends.
        switch arguments["queue"]?.stringValue {
        case "rx": made["direction"] = "out"
        case "tx": made["direction"] = "in"
        default: break
        }
        guard arguments["status"]?.stringValue ?? "on" == "on" else {
            throw .expects("status", "'on': a dump is there, or it is not")
        }
        try self.init(made)
    }

    private static func path(_ text: String) throws(QMPError) -> String {
        guard text.hasPrefix("/") else {
            throw .expects(
                "file",
                "a path that begins with '/', because the engine is in no directory of yours; "
                    + "not '\(text)'"
            )
        }
        return text
    }

    private static func snapLength(
        _ arguments: JSONObject,
        _ name: String
    ) throws(QMPError) -> Int {
        let length = arguments[name]?.integerValue ?? (name == "maxlen" ? 65_536 : 0)
        guard (0...maximumSnapLength).contains(length) else {
            throw .expects(name, "bytes up to \(maximumSnapLength), not \(length)")
        }
        return length == 0 ? maximumSnapLength : length
    }

    private static func positive(_ arguments: JSONObject, _ name: String) throws(QMPError) -> Int? {
        guard let value = arguments[name]?.integerValue else { return nil }
        guard value > 0 else { throw .expects(name, "a number above 0, not \(value)") }
        return value
    }
}
