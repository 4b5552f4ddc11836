// YAML as a tree in which everything knows its place. A scalar keeps its text: what type it has is for
// the schema to say, so that `id: on` is a name and `mac: 52:54:00:12:34:56` is not a number.

/// A value of a YAML document.
public struct YAMLNode: Sendable {
    /// What it is.
    public enum Content: Sendable {
        /// Text; plain if it stands without quotes.
        case scalar(String, isPlain: Bool)
        /// Several values.
        case sequence([YAMLNode])
        /// Values by name, in the order in which they were written.
        case mapping([Entry])
    }

    /// A name and its value.
    public struct Entry: Sendable {
        /// The name.
        public let key: String
        /// Where the name stands.
        public let position: SourcePosition
        /// The value.
        public let value: YAMLNode
    }

    /// What it is.
    public let content: Content
    /// Where it begins.
    public let position: SourcePosition

    /// The entries of a mapping; none of anything else.
    public var entries: [Entry] {
        if case .mapping(let entries) = content { entries } else { [] }
    }

    /// The entry of that name, if this is a mapping that has it.
    public subscript(key: String) -> Entry? { entries.first { $0.key == key } }

    /// Whether nothing was written, or `null`.
    public var isNull: Bool {
        guard case .scalar(let text, true) = content else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(text)
    }

    /// The text of a scalar.
    public var text: String? {
        if case .scalar(let text, _) = content, !isNull { text } else { nil }
    }

    /// What it is, for messages.
    public var kind: String {
        switch content {
        case .scalar(let text, _): isNull ? "nothing" : "'\(text)'"
        case .sequence: "a list"
        case .mapping: "a mapping"
        }
    }
}

extension YAMLNode {
    /// The value in the form that the schema checks.
    ///
    /// A scalar gets the type that is wanted, if its text has that form; what does not fit stays as it is, for
    /// the check to find.
    func value(as type: Schema.TypeReference?, in schema: Schema = .wirevale) -> JSONValue {
        switch content {
        case .scalar(let text, let isPlain):
            if isNull { return .null }
            guard isPlain else { return .string(text) }
            return Self.scalar(text, as: type)
        case .sequence(let elements):
            let element: Schema.TypeReference? =
                if case .array(let element) = type { element } else { nil }
            return .array(elements.map { $0.value(as: element, in: schema) })
        case .mapping:
            let name: String? = if case .named(let name) = type { name } else { nil }
            return .object(object(as: name, in: schema))
        }
    }

    /// The mapping as an object whose members have the types of an object type.
    func object(
        as type: String?,
        defaultTag: String? = nil,
        in schema: Schema = .wirevale
    ) -> JSONObject {
        let tag =
            type.flatMap { schema.objects[$0]?.tag }.flatMap { self[$0]?.value.text }
            ?? defaultTag
        let members = type.map { schema.members(of: $0, tag: tag) } ?? []
        return JSONObject(
            entries.map { entry in
                let member = members.first { $0.name == entry.key }
                return (entry.key, entry.value.value(as: member?.type, in: schema))
            }
        )
    }

    private static func scalar(_ text: String, as type: Schema.TypeReference?) -> JSONValue {
        switch type {
        case .integer: KeyValueText.integer(text).map { .integer($0) } ?? .string(text)
        case .number:
            KeyValueText.integer(text).map { .integer($0) }
                ?? Double(text).flatMap { $0.isFinite ? .number($0) : nil } ?? .string(text)
        case .boolean: KeyValueText.boolean(text.lowercased()).map { .bool($0) } ?? .string(text)
        default: .string(text)
        }
    }

    /// The place that a path of the schema leads to: the member's name, or what should have it.
    func position(of violation: SchemaViolation) -> SourcePosition {
        var node = self
        var position = position
        for (index, step) in violation.path.enumerated() {
            let isLast = index + 1 == violation.path.count
            switch step {
            case .member(let name):
                guard let entry = node[name] else { return position }
                position = isLast && violation.isAboutName ? entry.position : entry.value.position
                node = entry.value
            case .element(let index):
                guard case .sequence(let elements) = node.content, elements.indices.contains(index)
                else { return position }
                position = elements[index].position
                node = elements[index]
            }
        }
        return position
    }
}

extension SchemaViolation {
    fileprivate var isAboutName: Bool {
        if case .unexpected = problem { true } else { false }
    }
}
