// Holds arguments against the schema and says what is wrong in QEMU's own words, with the
// path of the member. Everything after it may take names and types for granted.

/// Checks commands and their arguments.
public struct SchemaValidator: Sendable {
    /// The schema that is checked against.
    public let schema: Schema

    /// Makes a validator.
    public init(_ schema: Schema = .wirevale) { self.schema = schema }

    /// Checks that `command` exists and takes these arguments.
    ///
    /// - Throws: a `QMPError` that names the command or the member that is wrong.
    public func validate(command: String, arguments: JSONObject) throws(QMPError) {
        guard let found = schema.command(command) else { throw .commandNotFound(command) }
        try validate(arguments, as: found.arguments, path: "")
    }

    /// Checks the members of an object that `path` leads to.
    func validate(
        _ object: JSONObject,
        as type: String?,
        path: String
    ) throws(QMPError) {
        let description = type.flatMap { schema.objects[$0] }
        var known = try validate(object, description?.members ?? [], path)
        if let description, let tag = description.tag,
            let value = object[tag]?.stringValue
        {
            guard let variant = description.variants.first(where: { $0.value == value }) else {
                throw .badValue(path + tag, value)
            }
            let members = schema.members(of: variant.type, tag: nil)
            known.formUnion(try validate(object, members, path))
        }
        for key in object.keys where !known.contains(key) { throw .unexpected(path + key) }
    }

    private func validate(
        _ object: JSONObject,
        _ members: [Schema.Member],
        _ path: String
    ) throws(QMPError) -> Set<String> {
        for member in members {
            if let value = object[member.name] {
                try validate(value, as: member.type, name: path + member.name)
            } else if !member.isOptional {
                throw .missing(path + member.name)
            }
        }
        return Set(members.map(\.name))
    }

    private func validate(
        _ value: JSONValue,
        as type: Schema.TypeReference,
        name: String
    ) throws(QMPError) {
        switch (type, value) {
        case (.string, .string), (.integer, .integer), (.boolean, .bool),
            (.number, .integer), (.number, .number):
            return
        case (.array(let element), .array(let values)):
            for (index, value) in values.enumerated() {
                try validate(value, as: element, name: "\(name)[\(index)]")
            }
        case (.named(let type), _):
            try validate(value, asNamed: type, name: name)
        case (.string, _): throw .wrongType(name, expected: "string")
        case (.integer, _): throw .wrongType(name, expected: "integer")
        case (.number, _): throw .wrongType(name, expected: "number")
        case (.boolean, _): throw .wrongType(name, expected: "boolean")
        case (.array, _): throw .wrongType(name, expected: "array")
        }
    }

    private func validate(
        _ value: JSONValue,
        asNamed type: String,
        name: String
    ) throws(QMPError) {
        if let enumeration = schema.enumerations[type] {
            guard let string = value.stringValue else {
                throw .wrongType(name, expected: "string")
            }
            guard enumeration.values.contains(string) else { throw .badValue(name, string) }
            return
        }
        guard let object = value.objectValue else { throw .wrongType(name, expected: "object") }
        try validate(object, as: type, path: name + ".")
    }
}
