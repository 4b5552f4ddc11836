// One client's conversation, from its first byte: framing, capability negotiation and the
// schema's checks, without a socket. What comes out is either ready to send or ready to do.

/// The server's side of one control connection.
///
/// The caller sends `greeting` first, feeds what it reads to `receive(_:)`, and acts on the
/// inputs in their order.
public struct QMPSession: Sendable {
    /// What a client's bytes amount to.
    public enum Input: Sendable, Hashable {
        /// A command that exists, with arguments that the schema accepts.
        case request(QMPRequest)
        /// A message that needs no action of the engine; send this back.
        case reply(JSONValue)
    }

    private var framer = QMPFramer()
    private let validator: SchemaValidator

    /// Whether the client has negotiated; events may be sent only then.
    public private(set) var isNegotiated = false

    /// Makes a session for a new connection.
    public init(schema: Schema = .wirevale) { validator = SchemaValidator(schema) }

    /// The message that opens the connection.
    public var greeting: JSONValue { EngineVersion.current.greeting }

    /// Takes bytes as they arrive.
    public mutating func receive(_ bytes: some Sequence<UInt8>) -> [Input] {
        framer.append(bytes).map { result in
            switch result {
            case .success(let message): take(message)
            case .failure(let error): .reply(QMPRequest.reply(error, id: nil))
            }
        }
    }

    private mutating func take(_ message: JSONValue) -> Input {
        do throws(QMPError) {
            let request = try QMPRequest(message)
            if request.command == "qmp_capabilities" {
                try negotiate(request)
                return .reply(request.reply())
            }
            guard isNegotiated else {
                throw QMPError(
                    .commandNotFound,
                    "Expecting capabilities negotiation with 'qmp_capabilities'"
                )
            }
            try validator.validate(command: request.command, arguments: request.arguments)
            return .request(request)
        } catch {
            return .reply(QMPRequest.reply(error, id: message["id"]))
        }
    }

    private mutating func negotiate(_ request: QMPRequest) throws(QMPError) {
        guard !isNegotiated else {
            throw QMPError(
                .commandNotFound,
                "Capabilities negotiation is already complete, command ignored"
            )
        }
        try validator.validate(command: request.command, arguments: request.arguments)
        if let wanted = request.arguments["enable"]?[0]?.stringValue {
            throw QMPError("QMP capability '\(wanted)' is not offered by this engine")
        }
        isNegotiated = true
    }
}
