// The human monitor: QEMU's lines, from one table that also gives the help. A line is turned
// into the command of the machine protocol that does the work, so there is one way to do it.

/// A line of the human monitor.
public enum MonitorCommand: Sendable, Hashable {
    /// `help [command]`; the text is ready.
    case help(String)
    /// `info WHAT [name]`.
    case info(Info, String?)
    /// `netdev_add` or `host_net_add`.
    case netdevAdd(NetdevOptions)
    /// `netdev_del` or `host_net_remove`.
    case netdevDel(String)
    /// `set_link`.
    case setLink(String, up: Bool)
    /// `chardev-add`.
    case chardevAdd(ChardevOptions)
    /// `chardev-remove`.
    case chardevRemove(String)
    /// `object_add filter-dump`; the arguments of `object-add`.
    case objectAdd(JSONObject)
    /// `object_del`.
    case objectDel(String)
    /// `quit`.
    case quit
    /// An empty line.
    case nothing

    /// What `info` shows.
    public enum Info: String, Sendable, Hashable, CaseIterable {
        /// Ports, grouped by switch.
        case network
        /// Forwarding tables.
        case fdb
        /// Threads that move frames.
        case workers
        /// Sockets made by chardev-add.
        case chardev
        /// Captures that are being written.
        case dumps
        /// Guests that NICs can be plugged into.
        case guests
        /// Ports that lead to the outside.
        case usernet
        /// The engine's version.
        case version
    }

    /// Why a line cannot be done; the description is what the monitor prints.
    public struct LineError: Error, Sendable, Hashable, CustomStringConvertible {
        /// The text, without the last newline.
        public let description: String
    }

    /// Reads a line.
    ///
    /// - Throws: `LineError` with the text that QEMU's monitor would print.
    public init(
        _ line: String,
        fileExists: (String) -> Bool = FileProbe.exists
    ) throws(LineError) {
        var words = MonitorWords(line)
        guard let name = words.next() else {
            self = .nothing
            return
        }
        guard let entry = Self.entry(name) else {
            throw LineError(description: "unknown command: '\(name)'\nTry \"help\"")
        }
        do throws(QMPError) {
            self = try Self.read(entry.name, &words, fileExists)
        } catch {
            throw LineError(
                description: "Error: \(error.description)\n"
                    + "Try \"help \(entry.name)\" for more information"
            )
        }
        if let extra = words.next() {
            throw LineError(
                description: "\(entry.name): extraneous characters at the end of line: '\(extra)'\n"
                    + "Try \"help \(entry.name)\" for more information"
            )
        }
    }

    private static func read(
        _ name: String,
        _ words: inout MonitorWords,
        _ fileExists: (String) -> Bool
    ) throws(QMPError) -> MonitorCommand {
        switch name {
        case "help": return .help(try help(words.next(), words.next()))
        case "info": return try info(&words)
        case "netdev_add":
            guard let text = words.next() else { throw .missing("type") }
            return try netdevAdd(text, fileExists)
        case "host_net_add":
            guard let type = words.next() else { throw .missing("type") }
            // 2013's monitor put a blank after the type; both forms are in the wild.
            return try hostNetAdd(([type] + words.rest()).joined(separator: ","), fileExists)
        case "netdev_del":
            guard let id = words.next() else { throw .missing("id") }
            return .netdevDel(id)
        case "host_net_remove":
            guard let first = words.next() else { throw .missing("id") }
            // `host_net_remove VLAN ID` of old: the number says nothing here.
            guard KeyValueText.integer(first) != nil, let id = words.next() else {
                return .netdevDel(first)
            }
            return .netdevDel(id)
        case "set_link":
            guard let name = words.next() else { throw .missing("name") }
            guard let up = words.next().flatMap(KeyValueText.boolean) else {
                throw .expects("up", "'on' or 'off'")
            }
            return .setLink(name, up: up)
        case "chardev-add":
            guard let text = words.next() else { throw .missing("backend") }
            if KeyValueText(text).asksForHelp {
                return .help("Available chardev backend types:\n  socket")
            }
            return .chardevAdd(try ChardevOptions(text: text))
        case "chardev-remove":
            guard let id = words.next() else { throw .missing("id") }
            return .chardevRemove(id)
        case "hostfwd_add", "hostfwd_remove": throw try hostForward(&words)
        case "object_add":
            guard let text = words.next() else { throw .missing("qom-type") }
            let object = try SchemaValidator()
                .typed(KeyValueText(text, implied: "qom-type"), as: "ObjectOptions")
            _ = try DumpOptions(object: object)
            return .objectAdd(object)
        case "object_del":
            guard let id = words.next() else { throw .missing("id") }
            return .objectDel(id)
        default: return .quit
        }
    }

    /// Why a rule cannot be added or removed; a rule that is none, first.
    private static func hostForward(_ words: inout MonitorWords) throws(QMPError) -> QMPError {
        // QEMU's forms: [netdev_id] rule.
        let given = words.rest()
        guard let text = given.last, given.count <= 2 else { throw .missing("hostfwd") }
        let rule = try HostForward(text)
        return QMPError(
            "passt takes its rules when it starts: remove the port with 'netdev_del \(given.count == 2 ? given[0] : "ID")' "
                + "and add it again with all that it is to have, such as hostfwd=\(rule)"
        )
    }

    private static func netdevAdd(
        _ text: String,
        _ fileExists: (String) -> Bool
    ) throws(QMPError) -> MonitorCommand {
        if text.first != "{", KeyValueText(text, implied: "type").asksForHelp {
            return .help(netdevHelp(type: KeyValueText(text, implied: "type")["type"]))
        }
        return .netdevAdd(try NetdevOptions(text: text, fileExists: fileExists))
    }

    private static func hostNetAdd(
        _ text: String,
        _ fileExists: (String) -> Bool
    ) throws(QMPError) -> MonitorCommand {
        var options = KeyValueText(text, implied: "type")
        if options.asksForHelp { return try netdevAdd(text, fileExists) }
        if options["vlan"] != nil {
            throw QMPError(
                "Parameter 'vlan' is unexpected: ports meet on the switch that ifname or port names; "
                    + "leave vlan out"
            )
        }
        if options["id"] == nil {
            let name = options.remove("name")
            // Without an id the port's own name serves; it is unique on one switch.
            let member = NetdevOptions.portMember(of: options["type"] ?? "")
            let port = options[member].flatMap { try? ValePortName($0) }
            options.append("id", name ?? port?.identifier ?? "net0")
        }
        return try netdevAdd(options.text(implied: "type"), fileExists)
    }

    private static func info(_ words: inout MonitorWords) throws(QMPError) -> MonitorCommand {
        guard let name = words.next() else { return .help(infoHelp) }
        guard let info = Info(rawValue: name) else {
            throw QMPError("unknown command: 'info \(name)'; there are\n\(infoHelp)")
        }
        let subject = info == .network || info == .fdb ? words.next() : nil
        return .info(info, subject)
    }

    /// The request that does the work; nil when there is only text to print.
    public var request: QMPRequest? {
        switch self {
        case .help, .nothing: nil
        case .info(.network, let name):
            QMPRequest("query-ports", name.map { ["name": .string($0)] } ?? [:])
        case .info(.fdb, let name):
            QMPRequest("query-fdb", name.map { ["switch": .string($0)] } ?? [:])
        case .info(.workers, _): QMPRequest("query-workers")
        case .info(.chardev, _): QMPRequest("query-chardev")
        case .info(.dumps, _): QMPRequest("query-dumps")
        case .info(.guests, _): QMPRequest("query-guests")
        case .info(.usernet, _): QMPRequest("query-ports")
        case .info(.version, _): QMPRequest("query-version")
        case .netdevAdd(let options): QMPRequest("netdev_add", options.arguments)
        case .netdevDel(let id): QMPRequest("netdev_del", ["id": .string(id)])
        case .setLink(let name, let up):
            QMPRequest("set_link", ["name": .string(name), "up": .bool(up)])
        case .chardevAdd(let options): QMPRequest("chardev-add", options.arguments)
        case .chardevRemove(let id): QMPRequest("chardev-remove", ["id": .string(id)])
        case .objectAdd(let arguments): QMPRequest("object-add", arguments)
        case .objectDel(let id): QMPRequest("object-del", ["id": .string(id)])
        case .quit: QMPRequest("quit")
        }
    }

    /// What the monitor prints for the result of `request`.
    public func text(for result: JSONValue) -> String {
        switch self {
        case .help(let text): text + "\n"
        case .info(let info, _): MonitorReport.text(info, result)
        default: ""
        }
    }
}

/// Words of a line: blanks separate, double quotes and backslashes protect.
struct MonitorWords {
    private var characters: Substring

    init(_ line: String) { characters = line[...] }

    mutating func next() -> String? {
        characters = characters.drop { $0.isWhitespace }
        guard !characters.isEmpty else { return nil }
        var word = ""
        var isQuoted = false
        while let character = characters.first, isQuoted || !character.isWhitespace {
            characters.removeFirst()
            if character == "\"" {
                isQuoted.toggle()
            } else if character == "\\", isQuoted, let protected = characters.popFirst() {
                word.append(protected)
            } else {
                word.append(character)
            }
        }
        return word
    }

    mutating func rest() -> [String] {
        var words: [String] = []
        while let word = next() { words.append(word) }
        return words
    }
}
