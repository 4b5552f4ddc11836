// QEMU's option text, `netmap,id=n0,ifname=vale0:vm1`: what people type on command lines and
// in the human monitor. Commas inside a value are doubled.

/// A QEMU option text, cut into keys and values.
public struct KeyValueText: Sendable, Hashable {
    /// One part between commas.
    public struct Pair: Sendable, Hashable {
        /// The name before `=`.
        public var key: String
        /// The text after `=`, or nil for a bare word, which QEMU reads as `word=on`.
        public var value: String?

        /// Makes a pair.
        public init(_ key: String, _ value: String?) {
            self.key = key
            self.value = value
        }
    }

    /// The parts in their order; the implied key has been given its name.
    public var pairs: [Pair]

    /// Makes an option text of its parts.
    public init(_ pairs: [Pair]) { self.pairs = pairs }

    /// Cuts a text; a first part without `=` is the value of `implied`.
    public init(_ text: String, implied: String? = nil) {
        pairs = []
        for (index, part) in Self.split(text).enumerated() {
            if let equals = part.firstIndex(of: "=") {
                let value = part[part.index(after: equals)...]
                pairs.append(Pair(String(part[..<equals]), String(value)))
            } else if index == 0, let implied, !part.isEmpty {
                pairs.append(Pair(implied, part))
            } else if !part.isEmpty {
                pairs.append(Pair(part, nil))
            }
        }
    }

    /// Whether the user asked for help instead: `help` or `?` in first place or as a bare word.
    public var asksForHelp: Bool {
        pairs.enumerated().contains { index, pair in
            (index == 0 || pair.value == nil)
                && ["help", "?"].contains(pair.value ?? pair.key)
        }
    }

    /// The value of `key`; of several the last one counts, as in QEMU, and a bare word is `on`.
    public subscript(key: String) -> String? {
        pairs.last { $0.key == key }.map { $0.value ?? "on" }
    }

    /// Removes all parts called `key` and returns the value that counted.
    public mutating func remove(_ key: String) -> String? {
        let value = self[key]
        pairs.removeAll { $0.key == key }
        return value
    }

    /// Adds a part at the end.
    public mutating func append(_ key: String, _ value: String) {
        pairs.append(Pair(key, value))
    }

    /// The text again, commas doubled; the first part goes without its key if it is `implied`.
    public func text(implied: String? = nil) -> String {
        pairs.enumerated().map { index, pair in
            guard let value = pair.value else { return pair.key }
            let escaped = Self.escape(value)
            return index == 0 && pair.key == implied ? escaped : pair.key + "=" + escaped
        }.joined(separator: ",")
    }

    /// A value with its commas doubled.
    public static func escape(_ value: String) -> String {
        value.split(separator: ",", omittingEmptySubsequences: false).joined(separator: ",,")
    }

    /// QEMU's spellings of true and false.
    public static func boolean(_ text: String) -> Bool? {
        switch text {
        case "on", "yes", "true", "y": true
        case "off", "no", "false", "n": false
        default: nil
        }
    }

    /// A number in decimal, in hexadecimal after `0x`, in octal after `0`.
    public static func integer(_ text: String) -> Int? {
        if let hexadecimal = text.lowercased().dropPrefix("0x") {
            // QAPI's numbers have no signs where they need all bits.
            guard !hexadecimal.hasPrefix("-") else { return nil }
            return UInt(hexadecimal, radix: 16).map { Int(bitPattern: $0) }
        }
        if text.count > 1, let octal = text.dropPrefix("0") { return Int(octal, radix: 8) }
        return text.hasPrefix("+") ? nil : Int(text)
    }

    private static func split(_ text: String) -> [String] {
        var parts: [String] = [""]
        var rest = text.unicodeScalars.makeIterator()
        var pending = rest.next()
        while let scalar = pending {
            pending = rest.next()
            if scalar != "," {
                parts[parts.count - 1].unicodeScalars.append(scalar)
            } else if pending == "," {
                parts[parts.count - 1].unicodeScalars.append(",")
                pending = rest.next()
            } else {
                parts.append("")
            }
        }
        return parts
    }
}

extension StringProtocol {
    /// What follows `prefix`, or nil when the text does not start with it.
    func dropPrefix(_ prefix: String) -> SubSequence? {
        hasPrefix(prefix) ? dropFirst(prefix.count) : nil
    }
}

extension SchemaValidator {
    /// Gives the values of an option text the types that the schema wants.
    ///
    /// A dotted key is a member of a member: `addr.type=unix`. The result has been cut and typed; missing
    /// members and unknown variants are left to `validate`.
    ///
    /// - Parameters:
    ///   - text: the options.
    ///   - type: an object of the schema.
    ///   - path: what leads to it, for errors.
    /// - Returns: the object.
    /// - Throws: which key or value is wrong.
    func typed(
        _ text: KeyValueText,
        as type: String,
        path: String = ""
    ) throws(QMPError) -> JSONObject {
        let tag = schema.objects[type]?.tag.flatMap { text[$0] }
        let members = schema.members(of: type, tag: tag)
        var object = JSONObject()
        for pair in text.pairs {
            let name = String(pair.key.prefix { $0 != "." })
            guard let member = members.first(where: { $0.name == name }) else {
                // An unknown variant is the first mistake; its members are then unknown anyway.
                if let tag, !schema.tagValues(of: type).contains(tag) {
                    throw .badValue(path + (schema.objects[type]?.tag ?? "type"), tag)
                }
                throw .invalidKey(path + pair.key)
            }
            if name != pair.key {
                guard case .named(let inner) = member.type, schema.objects[inner] != nil else {
                    throw .invalidKey(path + pair.key)
                }
                guard object[name]?.objectValue == nil else { continue }
                let members = KeyValueText(
                    text.pairs.compactMap { pair in
                        pair.key.dropPrefix(name + ".").map { .init(String($0), pair.value) }
                    }
                )
                object[name] = .object(try typed(members, as: inner, path: path + name + "."))
                continue
            }
            let value = pair.value ?? "on"
            switch member.type {
            case .integer:
                guard let integer = KeyValueText.integer(value) else {
                    throw .expects(path + name, "a whole number, not '\(value)'")
                }
                object[name] = .integer(integer)
            case .boolean:
                guard let boolean = KeyValueText.boolean(value) else {
                    throw .expects(path + name, "'on' or 'off'")
                }
                object[name] = .bool(boolean)
            case .array(of: .named("String")):
                // As QEMU's own parser: a key for each element.
                object[name] = .array(
                    (object[name]?.arrayValue ?? []) + [["str": .string(value)]]
                )
            default:
                object[name] = .string(value)
            }
        }
        return object
    }
}
