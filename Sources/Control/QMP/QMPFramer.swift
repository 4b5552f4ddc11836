// Finds where one JSON value ends and the next begins in a stream of bytes. QMP is a stream
// of values, not of lines: a newline is neither required nor forbidden inside one.

/// Cuts a stream of bytes into JSON values.
///
/// A value that is complete but wrong costs only itself. Where the end of a value cannot be
/// known any more (a bracket that closes another one, a broken string, a value that is too large)
/// the framer reports the error and goes on after the next newline.
public struct QMPFramer: Sendable {
    /// How deep brackets may nest.
    public let maximumDepth: Int
    /// How many bytes one value may have.
    public let maximumSize: Int

    private enum State: Sendable {
        case between
        case nested
        case string(quote: UInt8, escaped: Bool)
        case word
        case discarding
    }

    private var state = State.between
    private var open: [UInt8] = []
    private var text: [UInt8] = []

    /// Makes a framer at the start of a stream.
    public init(maximumDepth: Int = 128, maximumSize: Int = 1 << 20) {
        self.maximumDepth = maximumDepth
        self.maximumSize = maximumSize
    }

    /// Whether a value has begun and not ended.
    public var isInsideValue: Bool {
        if case .between = state { return false }
        return true
    }

    /// Takes bytes in whatever pieces they arrive; returns the values that are complete now.
    public mutating func append(
        _ bytes: some Sequence<UInt8>
    ) -> [Result<JSONValue, QMPError>] {
        var results: [Result<JSONValue, QMPError>] = []
        for byte in bytes { take(byte, &results) }
        return results
    }

    private mutating func take(_ byte: UInt8, _ results: inout [Result<JSONValue, QMPError>]) {
        switch state {
        case .discarding:
            if byte == UInt8(ascii: "\n") { state = .between }
            return
        case .word where !JSONByte.isWord(byte):
            finish(&results)
            return take(byte, &results)
        case .between where JSONByte.isSpace(byte):
            return
        default:
            break
        }
        guard text.count < maximumSize else {
            return fail("token size limit exceeded", at: byte, &results)
        }
        text.append(byte)
        switch state {
        case .string(let quote, let escaped):
            takeString(byte, quote: quote, escaped: escaped, &results)
        case .word, .discarding:
            break
        case .between, .nested:
            takeStructure(byte, &results)
        }
    }

    private mutating func takeString(
        _ byte: UInt8,
        quote: UInt8,
        escaped: Bool,
        _ results: inout [Result<JSONValue, QMPError>]
    ) {
        if byte < 0x20 {
            fail("control character in string", at: byte, &results)
        } else if escaped || byte != quote {
            state = .string(quote: quote, escaped: !escaped && byte == UInt8(ascii: "\\"))
        } else if open.isEmpty {
            finish(&results)
        } else {
            state = .nested
        }
    }

    private mutating func takeStructure(
        _ byte: UInt8,
        _ results: inout [Result<JSONValue, QMPError>]
    ) {
        switch byte {
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            // In ASCII each closing bracket is its opening one plus 2.
            open.append(byte + 2)
            state = .nested
            if open.count > maximumDepth {
                fail("nesting depth limit exceeded", at: byte, &results)
            }
        case UInt8(ascii: "}"), UInt8(ascii: "]"):
            guard open.popLast() == byte else {
                return fail("stray '\(Unicode.Scalar(byte))'", at: byte, &results)
            }
            if open.isEmpty { finish(&results) }
        case UInt8(ascii: "\""), UInt8(ascii: "'"):
            state = .string(quote: byte, escaped: false)
        default:
            guard open.isEmpty else { return }
            guard JSONByte.isWord(byte) else {
                return fail("stray '\(Unicode.Scalar(byte))'", at: byte, &results)
            }
            state = .word
        }
    }

    /// Parses what has been gathered; its end is known, so an error in it costs nothing else.
    private mutating func finish(_ results: inout [Result<JSONValue, QMPError>]) {
        let isWord = if case .word = state { true } else { false }
        do {
            results.append(.success(try JSONValue(parsing: text, maximumDepth: maximumDepth)))
            state = .between
        } catch {
            results.append(.failure(.syntax(error)))
            // A line of prose would otherwise give one error per word.
            state = isWord ? .discarding : .between
        }
        reset()
    }

    private mutating func fail(
        _ reason: String,
        at byte: UInt8,
        _ results: inout [Result<JSONValue, QMPError>]
    ) {
        results.append(.failure(.syntax(JSONSyntaxError(reason: reason))))
        state = byte == UInt8(ascii: "\n") ? .between : .discarding
        reset()
    }

    private mutating func reset() {
        open.removeAll(keepingCapacity: true)
        // One large value must not pin its size for the life of the connection.
        text.removeAll(keepingCapacity: text.count <= 4096)
    }
}
