// What may stand in a configuration file, derived from what may be said to the engine: a port has the
// arguments of netdev_add, a switch those of switch-set. A kind of port that the schema gets is here at once.

/// The description of configuration files.
enum ConfigurationFormat {
    /// The names of the object types in `schema`.
    static let port = "ConfigurationPort"
    static let vale = "ConfigurationSwitch"
    static let chardev = "ConfigurationChardev"
    static let station = "ConfigurationStation"

    /// What a port is of which nothing else is said.
    static let defaultType = "netmap"

    /// The names on the outermost level.
    static let sections = ["switches", "chardevs", "topology"]
    /// Names that containerlab's files have beside `topology`, which are not for us.
    static let containerlabSections = ["name", "prefix", "mgmt", "settings", "debug"]

    /// The members of `netdev_add` that say which switch port it is, for one type of port.
    static func placeMembers(ofType type: String) -> [String] {
        let members = Schema.wirevale.members(of: "Netdev", tag: type).map(\.name)
        if members.contains("port") { return ["port"] }
        // A hubport is called like its id.
        return members.contains("hubid") ? ["hubid", "id"] : ["ifname"]
    }

    /// Those members for a place in a file.
    static func place(of name: ValePortName, ofType type: String) -> JSONObject {
        let members = placeMembers(ofType: type)
        guard members.contains("hubid") else { return [members[0]: .string(name.description)] }
        let hub = Int(name.master.dropPrefix("hub") ?? "").map { JSONValue.integer($0) }
        return ["hubid": hub ?? .string(name.master), "id": .string(name.port)]
    }

    /// The settings of a switch that nobody has set.
    static func defaults(ofSwitch name: String) -> JSONObject {
        let options = ValePortName.isHub(name) ? SwitchOptions.hub : SwitchOptions()
        return [
            "mode": .string(options.mode.rawValue), "ageing": .integer(options.ageing),
            "group-forward": .bool(options.forwardsGroups),
        ]
    }

    /// The types of the values in a file, beside those of the engine that they use.
    static let schema: Schema = {
        let engine = Schema.wirevale
        let netdev = engine.objects["Netdev"]
        // Of the file alone, or given by the place in the file.
        let variants = (netdev?.variants ?? []).map { variant in
            // A port that is moved onto a hub would have two places.
            let others = placeMembers(ofType: variant.value) + ["ephemeral", "netdev"]
            let members = engine.members(of: variant.type, tag: nil).filter {
                !others.contains($0.name)
            }
            return Schema.ObjectType("Configuration" + variant.type, members)
        }
        let common = (netdev?.members ?? []).filter { $0.name != "id" && $0.name != "ephemeral" }
        let portType = Schema.ObjectType(
            port,
            [
                .optional(
                    "id",
                    .string,
                    "name of the port in commands; made of its name if left out"
                )
            ] + common.map { .optional($0.name, $0.type, $0.summary) } + [
                .optional(
                    "link",
                    .boolean,
                    "whether the cable is plugged; left as it is if left out"
                )
            ],
            tag: netdev?.tag,
            variants: (netdev?.variants ?? []).map {
                Schema.Variant(value: $0.value, type: "Configuration" + $0.type)
            }
        )
        let settings = engine.members(of: "switch-set-arg", tag: nil).filter { $0.name != "switch" }
        let socket = engine.members(of: "ChardevSocket", tag: nil).filter {
            $0.name != "addr" && $0.name != "wait"
        }
        let files: [Schema.ObjectType] = [
            portType,
            Schema.ObjectType(vale, settings),
            Schema.ObjectType(chardev, engine.members(of: "UnixSocketAddress", tag: nil) + socket),
            Schema.ObjectType(
                station,
                engine.members(of: "fdb-add-arg", tag: nil).map {
                    $0.name == "ifname"
                        ? .required("port", .string, "name of the port on this switch") : $0
                }
            ),
        ]
        return Schema(
            commands: [],
            events: [],
            objects: files + variants + engine.objects.values,
            enumerations: Array(engine.enumerations.values)
        )
    }()
}

extension SchemaViolation {
    /// What a person is told who wrote it into a file.
    ///
    /// - Parameter owner: what the members belong to, such as `a netmap port`.
    /// - Returns: a sentence.
    func advice(for owner: String) -> String {
        switch problem {
        case .missing: return "\(owner) needs '\(name)'"
        case .unexpected(let known):
            guard case .member(let last) = path.last else { return error.description }
            return Self.unknown(last, of: path.count == 1 ? owner : "this", known: known)
        case .wrongType(let expected):
            let words = [
                "boolean": "on or off", "integer": "a whole number", "string": "text",
                "array": "a list", "object": "a mapping", "number": "a number",
            ]
            return "'\(name)' takes \(words[expected] ?? expected)"
        case .badValue(let value, let accepted):
            return "'\(name)' cannot be '\(value)'; " + Self.hint(value, accepted)
        }
    }

    /// The sentence about a name that nobody knows.
    static func unknown(_ name: String, of owner: String, known: [String]) -> String {
        "\(owner) has no '\(name)'; " + hint(name, known)
    }

    private static func hint(_ word: String, _ known: [String]) -> String {
        let near = known.map { (word: $0, distance: distance($0, word)) }
            .filter { $0.distance <= max(1, word.count / 3) }
            .min { $0.distance < $1.distance }
        if let near { return "did you mean '\(near.word)'?" }
        return known.isEmpty
            ? "it has nothing" : "possible are " + known.sorted().joined(separator: ", ")
    }

    /// How many letters have to be changed, added or left out.
    private static func distance(_ left: String, _ right: String) -> Int {
        let right = Array(right.unicodeScalars.prefix(64))
        var row = Array(0...right.count)
        for (index, letter) in left.unicodeScalars.prefix(64).enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for column in right.indices {
                let replaced = diagonal + (right[column] == letter ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = min(replaced, min(diagonal, row[column]) + 1)
            }
        }
        return row[right.count]
    }
}
