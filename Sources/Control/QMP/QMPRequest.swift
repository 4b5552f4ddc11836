// Requests and what goes back: replies, errors, events, the greeting. Plain data to bytes.

/// A command that a client sent.
public struct QMPRequest: Sendable, Hashable {
    /// The command's name.
    public let command: String
    /// Its arguments; empty when the client sent none.
    public let arguments: JSONObject
    /// What the client wants back with the reply, if anything.
    public let id: JSONValue?

    /// Makes a request.
    public init(_ command: String, _ arguments: JSONObject = [:], id: JSONValue? = nil) {
        self.command = command
        self.arguments = arguments
        self.id = id
    }

    /// Reads a request from a message.
    public init(_ message: JSONValue) throws(QMPError) {
        guard case .object(let members) = message else {
            throw QMPError("QMP input must be a JSON object")
        }
        for key in members.keys where !["execute", "arguments", "id"].contains(key) {
            throw QMPError("QMP input member '\(key)' is unexpected")
        }
        guard let execute = members["execute"] else {
            throw QMPError("QMP input lacks member 'execute'")
        }
        guard case .string(let name) = execute else {
            throw QMPError("QMP input member 'execute' must be a string")
        }
        switch members["arguments"] {
        case nil: arguments = [:]
        case .object(let object): arguments = object
        default: throw QMPError("QMP input member 'arguments' must be an object")
        }
        command = name
        id = members["id"]
    }

    /// The request as a client sends it.
    public var json: JSONValue {
        var message: JSONObject = ["execute": .string(command)]
        if !arguments.isEmpty { message["arguments"] = .object(arguments) }
        message["id"] = id
        return .object(message)
    }

    /// The reply that carries a result.
    public func reply(_ result: JSONValue = .object([:])) -> JSONValue {
        var message: JSONObject = ["return": result]
        message["id"] = id
        return .object(message)
    }

    /// The reply that carries an error.
    public func reply(_ error: QMPError) -> JSONValue { Self.reply(error, id: id) }

    /// The reply to a message that was no request; the id is echoed where it could be read.
    static func reply(_ error: QMPError, id: JSONValue?) -> JSONValue {
        var message: JSONObject = ["error": error.json]
        message["id"] = id
        return .object(message)
    }
}

/// Something that happened without being asked for.
public struct QMPEvent: Sendable, Hashable {
    /// The event's name, in capitals.
    public let name: String
    /// What is known about it.
    public let data: JSONObject
    /// Microseconds since 1970.
    public let microseconds: Int

    /// Makes an event.
    public init(_ name: String, _ data: JSONObject = [:], microseconds: Int) {
        self.name = name
        self.data = data
        self.microseconds = microseconds
    }

    /// Reads an event from a message; nil when the message is something else.
    public init?(_ message: JSONValue) {
        guard let name = message["event"]?.stringValue else { return nil }
        self.name = name
        data = message["data"]?.objectValue ?? [:]
        let time = message["timestamp"]
        microseconds =
            (time?["seconds"]?.integerValue ?? 0) &* 1_000_000
            &+ (time?["microseconds"]?.integerValue ?? 0)
    }

    /// The event as the engine sends it.
    public var json: JSONValue {
        var message: JSONObject = [
            "timestamp": [
                "seconds": .integer(microseconds / 1_000_000),
                "microseconds": .integer(microseconds % 1_000_000),
            ],
            "event": .string(name),
        ]
        if !data.isEmpty { message["data"] = .object(data) }
        return .object(message)
    }
}

/// The version of the engine, as the greeting and `query-version` give it.
public struct EngineVersion: Sendable, Hashable {
    /// The version of this build.
    public static let current = EngineVersion(major: 0, minor: 1, micro: 0)

    /// The first number.
    public let major: Int
    /// The second number.
    public let minor: Int
    /// The third number.
    public let micro: Int

    /// `0.1.0`.
    public var text: String { "\(major).\(minor).\(micro)" }

    /// The version in the form that QMP clients expect, QEMU's own member names included.
    public var json: JSONValue {
        [
            "qemu": [
                "major": .integer(major), "minor": .integer(minor), "micro": .integer(micro),
            ],
            "package": .string("wirevale-\(text)"),
        ]
    }

    /// The first message on every connection.
    public var greeting: JSONValue { ["QMP": ["version": json, "capabilities": []]] }
}
