// The description of configuration files for editors, made from the same types that the reader checks.

/// The JSON Schema of configuration files.
public enum ConfigurationSchema {
    /// The schema, in draft 2020-12.
    public static var json: JSONValue {
        let schema = ConfigurationFormat.schema
        var definitions = JSONObject()
        for name in used(in: schema) { definitions[name] = definition(name, schema) }
        return [
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Wirevale configuration",
            "description":
                "Files of /etc/wirevale and of 'wirevale apply'. Files of containerlab are taken, too: their links become wires.",
            "type": "object",
            "properties": [
                "switches": map(
                    "Switches by name, such as vale0",
                    of: ref(ConfigurationFormat.vale),
                    names: "^(vale[A-Za-z0-9_]{0,11}|hub[0-9]{1,8})$"
                ),
                "chardevs": map(
                    "Sockets of vhost-user ports, by id",
                    of: ref(ConfigurationFormat.chardev),
                    names: "^[A-Za-z][-A-Za-z0-9._]*$"
                ),
                "topology": [
                    "description": "containerlab's: each of its links becomes a wire",
                    "type": ["object", "null"],
                ],
            ],
            "if": ["required": ["topology"]],
            "then": [
                "properties": .object(
                    JSONObject(ConfigurationFormat.containerlabSections.map { ($0, true) })
                )
            ],
            "unevaluatedProperties": false,
            "$defs": .object(definitions),
        ]
    }

    /// The schema as the file in the source tree has it.
    public static var text: String { json.prettyDescription + "\n" }

    private static let roots = [
        ConfigurationFormat.vale, ConfigurationFormat.port, ConfigurationFormat.chardev,
        ConfigurationFormat.station,
    ]

    private static func used(in schema: Schema) -> [String] {
        var names: [String] = []
        func note(_ name: String) {
            guard !names.contains(name) else { return }
            names.append(name)
            let object = schema.objects[name]
            for variant in object?.variants ?? [] {
                for member in schema.members(of: variant.type, tag: nil) { note(member.type) }
            }
            for member in object?.members ?? [] { note(member.type) }
        }
        func note(_ type: Schema.TypeReference) {
            switch type {
            case .array(let element): note(element)
            case .named(let name): note(name)
            default: break
            }
        }
        for root in roots { note(root) }
        return names
    }

    private static func definition(_ name: String, _ schema: Schema) -> JSONValue {
        if let enumeration = schema.enumerations[name] {
            return ["enum": .array(enumeration.values.map { .string($0) })]
        }
        guard let object = schema.objects[name] else { return true }
        var members = properties(object.members)
        if name == ConfigurationFormat.vale {
            members["ports"] = map(
                "Ports by name, such as vm1",
                of: ref(ConfigurationFormat.port),
                names: "^[-A-Za-z0-9_.]{1,15}$"
            )
            members["fdb"] = [
                "description": "Addresses that are tied to a port",
                "type": ["array", "null"], "items": ref(ConfigurationFormat.station),
            ]
        }
        let isNullable = name == ConfigurationFormat.vale || name == ConfigurationFormat.port
        var result: JSONObject = [
            "type": isNullable ? ["object", "null"] : "object", "properties": .object(members),
        ]
        require(object.members, &result)
        if let tag = object.tag {
            let cases = object.variants.map { variant in
                choice(tag, variant, schema, isDefault: isDefault(variant, of: name))
            }
            result["allOf"] = .array(cases)
            result["unevaluatedProperties"] = false
        } else {
            result["additionalProperties"] = false
        }
        return .object(result)
    }

    private static func isDefault(_ variant: Schema.Variant, of name: String) -> Bool {
        name == ConfigurationFormat.port && variant.value == ConfigurationFormat.defaultType
    }

    /// The members that one value of a tag brings along.
    private static func choice(
        _ tag: String,
        _ variant: Schema.Variant,
        _ schema: Schema,
        isDefault: Bool
    ) -> JSONValue {
        var condition: JSONObject = ["properties": [tag: ["const": .string(variant.value)]]]
        // Without the tag the condition holds; that is right for the default alone.
        if !isDefault { condition["required"] = [.string(tag)] }
        let members = schema.members(of: variant.type, tag: nil)
        var consequence: JSONObject = ["properties": .object(properties(members))]
        require(members, &consequence)
        return ["if": .object(condition), "then": .object(consequence)]
    }

    private static func require(_ members: [Schema.Member], _ object: inout JSONObject) {
        let names = members.filter { !$0.isOptional }.map { JSONValue.string($0.name) }
        if !names.isEmpty { object["required"] = .array(names) }
    }

    private static func properties(_ members: [Schema.Member]) -> JSONObject {
        JSONObject(
            members.map { member in
                var description = type(member.type)
                if !member.summary.isEmpty { description["description"] = .string(member.summary) }
                return (member.name, .object(description))
            }
        )
    }

    private static func type(_ type: Schema.TypeReference) -> JSONObject {
        switch type {
        case .string: ["type": "string"]
        case .integer: ["type": "integer"]
        case .number: ["type": "number"]
        case .boolean: ["type": "boolean"]
        case .array(let element): ["type": "array", "items": .object(self.type(element))]
        case .named(let name): ref(name).objectValue ?? [:]
        }
    }

    private static func ref(_ name: String) -> JSONValue { ["$ref": "#/$defs/\(name)"] }

    private static func map(_ summary: String, of value: JSONValue, names: String) -> JSONValue {
        [
            "description": .string(summary), "type": ["object", "null"],
            "propertyNames": ["pattern": .string(names)], "additionalProperties": value,
        ]
    }
}
