// A parser of our own because QMP is its own dialect: integers are not numbers, a member
// may not come twice, strings may have single quotes, and clients match on the wording of errors.

/// What was wrong with a JSON text, in QEMU's words.
public struct JSONSyntaxError: Error, Sendable, Hashable {
    /// The reason, such as `missing : in object pair`.
    public let reason: String
}

/// Parses one complete JSON text.
struct JSONParser {
    private let bytes: ArraySlice<UInt8>
    private var at: Int
    private var depth = 0
    private let maximumDepth: Int

    init(_ bytes: ArraySlice<UInt8>, maximumDepth: Int = 128) {
        self.bytes = bytes
        self.at = bytes.startIndex
        self.maximumDepth = maximumDepth
    }

    /// Parses the text, which must hold one value and nothing else but white space.
    mutating func parse() throws(JSONSyntaxError) -> JSONValue {
        let value = try value()
        skipSpace()
        guard at == bytes.endIndex else { throw error("stray text after the value") }
        return value
    }

    private func error(_ reason: String) -> JSONSyntaxError { JSONSyntaxError(reason: reason) }

    private var current: UInt8? { at < bytes.endIndex ? bytes[at] : nil }

    private mutating func skipSpace() {
        while let byte = current, JSONByte.isSpace(byte) { at += 1 }
    }

    private mutating func value() throws(JSONSyntaxError) -> JSONValue {
        skipSpace()
        guard let byte = current else { throw error("expecting value") }
        switch byte {
        case UInt8(ascii: "{"): return .object(try object())
        case UInt8(ascii: "["): return .array(try array())
        case UInt8(ascii: "\""), UInt8(ascii: "'"): return .string(try string())
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: return try keyword()
        }
    }

    private mutating func enter() throws(JSONSyntaxError) {
        at += 1
        depth += 1
        guard depth <= maximumDepth else { throw error("nesting depth limit exceeded") }
        skipSpace()
    }

    private mutating func leave() {
        at += 1
        depth -= 1
    }

    private mutating func object() throws(JSONSyntaxError) -> JSONObject {
        var object = JSONObject()
        try enter()
        if current == UInt8(ascii: "}") {
            leave()
            return object
        }
        while true {
            skipSpace()
            guard current == UInt8(ascii: "\"") || current == UInt8(ascii: "'") else {
                throw error("key is not a string in object")
            }
            let key = try string()
            skipSpace()
            guard current == UInt8(ascii: ":") else { throw error("missing : in object pair") }
            at += 1
            let value = try value()
            guard object[key] == nil else { throw error("duplicate key") }
            object[key] = value
            skipSpace()
            if current == UInt8(ascii: "}") {
                leave()
                return object
            }
            guard current == UInt8(ascii: ",") else { throw error("expected separator in dict") }
            at += 1
        }
    }

    private mutating func array() throws(JSONSyntaxError) -> [JSONValue] {
        var array: [JSONValue] = []
        try enter()
        if current == UInt8(ascii: "]") {
            leave()
            return array
        }
        while true {
            array.append(try value())
            skipSpace()
            if current == UInt8(ascii: "]") {
                leave()
                return array
            }
            guard current == UInt8(ascii: ",") else { throw error("expected separator in list") }
            at += 1
        }
    }

    private mutating func keyword() throws(JSONSyntaxError) -> JSONValue {
        let word = token { JSONByte.isWord($0) }
        switch word {
        case "true": return .bool(true)
        case "false": return .bool(false)
        case "null": return .null
        case "": throw error("expecting value")
        default: throw error("invalid keyword '\(word)'")
        }
    }

    private mutating func token(while accept: (UInt8) -> Bool) -> String {
        let start = at
        while let byte = current, accept(byte) { at += 1 }
        return String(decoding: bytes[start..<at], as: UTF8.self)
    }

    private mutating func number() throws(JSONSyntaxError) -> JSONValue {
        let text = token { JSONByte.isNumber($0) }
        var rest = text.utf8[...]
        if rest.first == UInt8(ascii: "-") { rest.removeFirst() }
        let whole = rest.prefix { JSONByte.isDigit($0) }
        guard !whole.isEmpty, whole.count == 1 || whole.first != UInt8(ascii: "0") else {
            throw error("invalid number '\(text)'")
        }
        rest = rest[whole.endIndex...]
        if rest.isEmpty, let integer = Int(text) { return .integer(integer) }
        if rest.first == UInt8(ascii: ".") {
            rest.removeFirst()
            let fraction = rest.prefix { JSONByte.isDigit($0) }
            guard !fraction.isEmpty else { throw error("invalid number '\(text)'") }
            rest = rest[fraction.endIndex...]
        }
        // The exponent is left to the conversion, which knows no laxer form than JSON here.
        guard let number = Double(text), number.isFinite else {
            throw error("invalid number '\(text)'")
        }
        return .number(number)
    }

    private mutating func string() throws(JSONSyntaxError) -> String {
        let quote = bytes[at]
        at += 1
        var text: [UInt8] = []
        while let byte = current {
            at += 1
            if byte == quote {
                guard let string = String(validating: text, as: UTF8.self) else {
                    throw error("invalid UTF-8 sequence in string")
                }
                return string
            }
            guard byte >= 0x20 else { throw error("control character in string") }
            guard byte == UInt8(ascii: "\\") else {
                text.append(byte)
                continue
            }
            try escape(into: &text)
        }
        throw error("unterminated string")
    }

    private mutating func escape(into text: inout [UInt8]) throws(JSONSyntaxError) {
        guard let byte = current else { throw error("unterminated string") }
        at += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "\\"), UInt8(ascii: "/"):
            text.append(byte)
        case UInt8(ascii: "b"): text.append(8)
        case UInt8(ascii: "f"): text.append(12)
        case UInt8(ascii: "n"): text.append(10)
        case UInt8(ascii: "r"): text.append(13)
        case UInt8(ascii: "t"): text.append(9)
        case UInt8(ascii: "u"): text.append(contentsOf: String(try scalar()).utf8)
        default: throw error("invalid escape sequence in string")
        }
    }

    private mutating func scalar() throws(JSONSyntaxError) -> Character {
        var code = try fourDigits()
        if (0xD800...0xDBFF).contains(code) {
            guard current == UInt8(ascii: "\\"), at + 1 < bytes.endIndex,
                bytes[at + 1] == UInt8(ascii: "u")
            else { throw error("lone surrogate in string") }
            at += 2
            let low = try fourDigits()
            guard (0xDC00...0xDFFF).contains(low) else { throw error("lone surrogate in string") }
            code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
        }
        // Zero is refused as QEMU refuses it: names and paths end up as C strings.
        guard code != 0, let scalar = Unicode.Scalar(code) else {
            throw error("invalid Unicode character in string")
        }
        return Character(scalar)
    }

    private mutating func fourDigits() throws(JSONSyntaxError) -> UInt32 {
        guard at + 4 <= bytes.endIndex else { throw error("invalid escape sequence in string") }
        var code: UInt32 = 0
        for byte in bytes[at..<at + 4] {
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw error("invalid escape sequence in string")
            }
            code = code << 4 + UInt32(digit)
        }
        at += 4
        return code
    }
}

/// The classes of bytes that the framer and the parser must agree on.
enum JSONByte {
    static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
    }
    static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
    static func isNumber(_ byte: UInt8) -> Bool {
        isDigit(byte) || "+-.eE".utf8.contains(byte)
    }
    static func isWord(_ byte: UInt8) -> Bool {
        !isSpace(byte) && !"{}[],:\"'".utf8.contains(byte)
    }
}

extension JSONValue {
    /// Parses one complete JSON text.
    ///
    /// - Throws: `JSONSyntaxError` with QEMU's wording of what is wrong.
    public init(parsing text: String) throws(JSONSyntaxError) {
        var parser = JSONParser(Array(text.utf8)[...])
        self = try parser.parse()
    }

    init(parsing bytes: [UInt8], maximumDepth: Int) throws(JSONSyntaxError) {
        var parser = JSONParser(bytes[...], maximumDepth: maximumDepth)
        self = try parser.parse()
    }
}
