// query-commands and query-qmp-schema: the schema in the form that QEMU gives its own, with
// readable type names instead of numbers.

extension Schema {
    /// The answer to `query-commands`.
    public var commandList: JSONValue {
        .array(commands.map { ["name": .string($0.name)] })
    }

    /// The answer to `query-qmp-schema`: an array of SchemaInfo.
    public var introspection: JSONValue {
        var entries: [JSONValue] = []
        var arrays: [String: TypeReference] = [:]
        for command in commands {
            note(command.returns, &arrays)
            entries.append([
                "name": .string(command.name),
                "meta-type": "command",
                "arg-type": .string(command.arguments ?? Self.emptyType),
                "ret-type": .string(command.returns?.name ?? Self.emptyType),
                "allow-oob": false,
            ])
        }
        for event in events {
            entries.append([
                "name": .string(event.name),
                "meta-type": "event",
                "arg-type": .string(event.data),
            ])
        }
        entries.append(["name": .string(Self.emptyType), "meta-type": "object", "members": []])
        for object in objects.values.sorted(by: { $0.name < $1.name }) {
            for member in object.members { note(member.type, &arrays) }
            entries.append(describe(object))
        }
        for enumeration in enumerations.values.sorted(by: { $0.name < $1.name }) {
            entries.append([
                "name": .string(enumeration.name),
                "meta-type": "enum",
                "members": .array(enumeration.values.map { ["name": .string($0)] }),
                "values": .array(enumeration.values.map { .string($0) }),
            ])
        }
        for (name, element) in arrays.sorted(by: { $0.key < $1.key }) {
            entries.append([
                "name": .string(name),
                "meta-type": "array",
                "element-type": .string(element.name),
            ])
        }
        for (name, jsonType) in Self.builtins {
            entries.append([
                "name": .string(name),
                "meta-type": "builtin",
                "json-type": .string(jsonType),
            ])
        }
        return .array(entries)
    }

    private static let emptyType = "Empty"
    private static let builtins = [
        ("str", "string"), ("int", "int"), ("number", "number"), ("bool", "boolean"),
    ]

    private func describe(_ object: ObjectType) -> JSONValue {
        var entry: JSONObject = [
            "name": .string(object.name),
            "meta-type": "object",
            "members": .array(
                object.members.map { member in
                    var info: JSONObject = [
                        "name": .string(member.name), "type": .string(member.type.name),
                    ]
                    if member.isOptional { info["default"] = .null }
                    return .object(info)
                }
            ),
        ]
        if let tag = object.tag {
            entry["tag"] = .string(tag)
            entry["variants"] = .array(
                object.variants.map { ["case": .string($0.value), "type": .string($0.type)] }
            )
        }
        return .object(entry)
    }

    private func note(_ type: TypeReference?, _ arrays: inout [String: TypeReference]) {
        guard case .array(let element) = type, let type else { return }
        arrays[type.name] = element
        note(element, &arrays)
    }
}

extension Schema.TypeReference {
    /// The type's name in the introspection.
    public var name: String {
        switch self {
        case .string: "str"
        case .integer: "int"
        case .number: "number"
        case .boolean: "bool"
        case .array(let element): "[\(element.name)]"
        case .named(let name): name
        }
    }
}
