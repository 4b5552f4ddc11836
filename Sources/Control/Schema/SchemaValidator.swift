// Holds arguments against the schema and says what is wrong in QEMU's own words, with the
// path of the member. Everything after it may take names and types for granted.

/// Checks commands and their arguments.
public struct SchemaValidator: Sendable {
    private typealias Path = [SchemaViolation.Step]

    /// The schema that is checked against.
    public let schema: Schema

    /// Makes a validator.
    public init(_ schema: Schema = .wirevale) { self.schema = schema }

    /// Checks that `command` exists and takes these arguments.
    ///
    /// - Throws: a `QMPError` that names the command or the member that is wrong.
    public func validate(command: String, arguments: JSONObject) throws(QMPError) {
        guard let found = schema.command(command) else { throw .commandNotFound(command) }
        do throws(SchemaViolation) {
            try validate(arguments, as: found.arguments)
        } catch {
            throw error.error
        }
    }

    /// Checks the members of an object.
    ///
    /// - Parameters:
    ///   - object: the object.
    ///   - type: the name of the object type that it should have; nil for one without members.
    /// - Throws: the first thing that does not fit.
    public func validate(_ object: JSONObject, as type: String?) throws(SchemaViolation) {
        try validate(object, as: type, path: [])
    }

    private func validate(
        _ object: JSONObject,
        as type: String?,
        path: Path
    ) throws(SchemaViolation) {
        let description = type.flatMap { schema.objects[$0] }
        var known = try validate(object, description?.members ?? [], path)
        if let description, let tag = description.tag,
            let value = object[tag]?.stringValue
        {
            guard let variant = description.variants.first(where: { $0.value == value }) else {
                throw SchemaViolation(
                    path: path + [.member(tag)],
                    problem: .badValue(value, accepted: description.variants.map(\.value))
                )
            }
            let members = schema.members(of: variant.type, tag: nil)
            known += try validate(object, members, path)
        }
        for key in object.keys where !known.contains(key) {
            throw SchemaViolation(path: path + [.member(key)], problem: .unexpected(known: known))
        }
    }

    private func validate(
        _ object: JSONObject,
        _ members: [Schema.Member],
        _ path: Path
    ) throws(SchemaViolation) -> [String] {
        for member in members {
            let path = path + [.member(member.name)]
            if let value = object[member.name] {
                try validate(value, as: member.type, path)
            } else if !member.isOptional {
                throw SchemaViolation(path: path, problem: .missing)
            }
        }
        return members.map(\.name)
    }

    private func validate(
        _ value: JSONValue,
        as type: Schema.TypeReference,
        _ path: Path
    ) throws(SchemaViolation) {
        let expected: String
        switch (type, value) {
        case (.string, .string), (.integer, .integer), (.boolean, .bool),
            (.number, .integer), (.number, .number):
            return
        case (.array(let element), .array(let values)):
            for (index, value) in values.enumerated() {
                try validate(value, as: element, path + [.element(index)])
            }
            return
        case (.named(let type), _): return try validate(value, asNamed: type, path)
        case (.string, _): expected = "string"
        case (.integer, _): expected = "integer"
        case (.number, _): expected = "number"
        case (.boolean, _): expected = "boolean"
        case (.array, _): expected = "array"
        }
        throw SchemaViolation(path: path, problem: .wrongType(expected: expected))
    }

    private func validate(
        _ value: JSONValue,
        asNamed type: String,
        _ path: Path
    ) throws(SchemaViolation) {
        if let enumeration = schema.enumerations[type] {
            guard let string = value.stringValue else {
                throw SchemaViolation(path: path, problem: .wrongType(expected: "string"))
            }
            guard enumeration.values.contains(string) else {
                let problem = SchemaViolation.Problem.badValue(
                    string,
                    accepted: enumeration.values
                )
                throw SchemaViolation(path: path, problem: problem)
            }
            return
        }
        guard let object = value.objectValue else {
            throw SchemaViolation(path: path, problem: .wrongType(expected: "object"))
        }
        try validate(object, as: type, path: path)
    }
}
