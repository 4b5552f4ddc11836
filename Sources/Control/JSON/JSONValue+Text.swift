// JSON as text: one line for the socket and for scripts, indented for people.

extension JSONValue: CustomStringConvertible {
    /// The value on one line, spaced as QEMU does it.
    public var description: String {
        var text = ""
        write(to: &text, indentation: nil)
        return text
    }

    /// The value with one member or element to a line.
    public var prettyDescription: String {
        var text = ""
        write(to: &text, indentation: 0)
        return text
    }

    /// The value on one line and the newline, as bytes for the socket.
    public var line: [UInt8] { Array((description + "\n").utf8) }

    private func write(to text: inout String, indentation: Int?) {
        switch self {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .integer(let value): text += String(value)
        // JSON has no infinities; nobody computes them here, but a reply must stay parseable.
        case .number(let value): text += value.isFinite ? String(value) : "null"
        case .string(let value): Self.write(value, to: &text)
        case .array(let elements):
            Self.list(elements, "[", "]", to: &text, indentation) { element, text, inner in
                element.write(to: &text, indentation: inner)
            }
        case .object(let object):
            Self.list(Array(object), "{", "}", to: &text, indentation) { member, text, inner in
                Self.write(member.key, to: &text)
                text += ": "
                member.value.write(to: &text, indentation: inner)
            }
        }
    }

    private static func list<Item>(
        _ items: [Item],
        _ open: String,
        _ close: String,
        to text: inout String,
        _ indentation: Int?,
        _ write: (Item, inout String, Int?) -> Void
    ) {
        text += open
        let inner = indentation.map { $0 + 2 }
        for (index, item) in items.enumerated() {
            if index > 0 { text += inner == nil ? ", " : "," }
            if let inner { text += "\n" + String(repeating: " ", count: inner) }
            write(item, &text, inner)
        }
        if let indentation, !items.isEmpty {
            text += "\n" + String(repeating: " ", count: indentation)
        }
        text += close
    }

    private static func write(_ string: String, to text: inout String) {
        text += "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case "\u{0}"..."\u{1f}", "\u{7f}":
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}
