// A configuration as a file that people go on with: a port to a line, and what is left out is said.

extension Configuration {
    /// The configuration as a file has it, in the form of JSON, which is YAML, too.
    public var json: JSONValue {
        var sockets = JSONObject()
        for chardev in chardevs {
            let options = chardev.options
            var object: JSONObject = [
                "path": .string(options.path), "server": .bool(options.isServer),
            ]
            if !options.isServer { object["reconnect"] = .integer(options.reconnect) }
            sockets[options.id] = .object(object)
        }
        var masters = JSONObject()
        for vale in switches { masters[vale.name] = .object(vale.settings) }
        for port in ports where masters[port.name.master] == nil { masters[port.name.master] = [:] }
        for name in masters.keys {
            var members = masters[name]?.objectValue ?? [:]
            let ports = ports.filter { $0.name.master == name }
            let stations = stations.filter { $0.port.master == name }
            if !ports.isEmpty {
                members["ports"] = .object(
                    JSONObject(ports.map { ($0.name.port, .object($0.file)) })
                )
            }
            if !stations.isEmpty {
                members["fdb"] = .array(
                    stations.map { station in
                        var object: JSONObject = ["mac": .string(station.mac)]
                        if station.vlan != 0 { object["vlan"] = .integer(station.vlan) }
                        object["port"] = .string(station.port.port)
                        return .object(object)
                    }
                )
            }
            masters[name] = .object(members)
        }
        return sockets.isEmpty
            ? ["switches": .object(masters)]
            : ["chardevs": .object(sockets), "switches": .object(masters)]
    }

    /// The configuration as YAML.
    ///
    /// - Parameter leftOut: ports that are not in it, for a comment.
    /// - Returns: the text of a file.
    public func yaml(leftOut: [ValePortName] = []) -> String {
        var text = ""
        for name in leftOut {
            text += "# left out, because it goes with a program, a connection or a guest: \(name)\n"
        }
        for (section, value) in json.objectValue ?? [:] {
            text += section + ":" + YAMLText.block(value, depth: section == "switches" ? 3 : 1, 1)
        }
        return text
    }
}

extension Configuration.Port {
    /// What a file says of the port: without what its place says.
    fileprivate var file: JSONObject {
        let type = netdev["type"]?.stringValue ?? ConfigurationFormat.defaultType
        let others = ConfigurationFormat.placeMembers(ofType: type) + ["ephemeral"]
        var object: JSONObject = ["type": .string(type)]
        for (member, value) in netdev where !others.contains(member) {
            if member == "id", value == .string(name.identifier) { continue }
            object[member] = value
        }
        object["link"] = isLinkUp.map { .bool($0) }
        return object
    }
}

/// Values as YAML.
enum YAMLText {
    /// A value; mappings and lists in braces and brackets.
    static func flow(_ value: JSONValue) -> String {
        switch value {
        case .object(let object):
            "{" + object.map { scalar($0.key) + ": " + flow($0.value) }.joined(separator: ", ")
                + "}"
        case .array(let elements): "[" + elements.map(flow).joined(separator: ", ") + "]"
        case .string(let text): scalar(text)
        default: value.description
        }
    }

    /// What stands behind the colon of a name: so many levels of a mapping or list in lines of their own, what
    /// is deeper on one line.
    static func block(_ value: JSONValue, depth: Int, _ indentation: Int) -> String {
        let margin = String(repeating: "  ", count: indentation)
        switch value {
        case .object(let object) where depth > 0 && !object.isEmpty:
            return object.reduce(into: "\n") { text, member in
                text += margin + scalar(member.key) + ":"
                text += block(member.value, depth: depth - 1, indentation + 1)
            }
        case .array(let elements) where depth > 0 && !elements.isEmpty:
            return elements.reduce(into: "\n") { $0 += margin + "- " + flow($1) + "\n" }
        default: return " " + flow(value) + "\n"
        }
    }

    /// A text, in quotes if it could be taken for anything else.
    static func scalar(_ text: String) -> String {
        let isPlain = text.unicodeScalars.allSatisfy { scalar in
            scalar.isASCII
                && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar)
                    || "-._/+@".unicodeScalars.contains(scalar))
        }
        let isWord =
            text.unicodeScalars.first.map {
                $0.properties.isAlphabetic || $0 == "/" || $0 == "_"
            } ?? false
        let isTaken =
            KeyValueText.boolean(text.lowercased()) != nil || text.lowercased() == "null"
        return isPlain && isWord && !isTaken ? text : JSONValue.string(text).description
    }
}
