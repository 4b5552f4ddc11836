// A file's tree, section by section. A mistake costs what it is in, not the rest, so that all mistakes are
// told at once.

/// What one file wants, and what is wrong with it.
public struct ConfigurationFile: Sendable {
    /// The file, as the operator named it.
    public let path: String
    /// What it wants; not to be used if there are errors.
    public internal(set) var configuration = Configuration()
    /// What is wrong, in the order of the file.
    public internal(set) var errors: [ConfigurationError] = []

    /// Reads a text.
    public init(_ text: [UInt8], path: String) {
        self.path = path
        do throws(ConfigurationError) {
            guard let root = try YAMLReader.read(text, file: path) else { return }
            var reader = ConfigurationReader()
            reader.read(root)
            configuration = reader.configuration
            errors = reader.errors.sorted {
                ($0.position?.line ?? 0, $0.position?.column ?? 0)
                    < ($1.position?.line ?? 0, $1.position?.column ?? 0)
            }
        } catch {
            errors = [error]
        }
    }

    /// Says that a file cannot be read.
    init(path: String, error: String) {
        self.path = path
        errors = [ConfigurationError(file: path, error)]
    }
}

struct ConfigurationReader {
    var configuration = Configuration()
    var errors: [ConfigurationError] = []
    let validator = SchemaValidator(ConfigurationFormat.schema)

    mutating func fail(_ position: SourcePosition, _ message: String) {
        errors.append(ConfigurationError(position, message))
    }

    mutating func read(_ root: YAMLNode) {
        let isContainerlab = root["topology"] != nil
        for section in mapping(root, "the file") {
            let value = section.value
            switch section.key {
            case "switches":
                for entry in mapping(value, "'switches'") { readSwitch(entry) }
            case "chardevs":
                for entry in mapping(value, "'chardevs'") { readChardev(entry) }
            case "topology": readTopology(value)
            case let name
            where isContainerlab && ConfigurationFormat.containerlabSections.contains(name):
                continue
            case let name:
                let known = ConfigurationFormat.sections
                fail(
                    section.position,
                    SchemaViolation.unknown(name, of: "a configuration", known: known)
                )
            }
        }
        // What a mapping does not keep apart: ids of ports, addresses of a switch.
        var names = ConfigurationNames()
        errors += names.add(configuration)
    }

    /// The entries of what should be a mapping, or nothing.
    mutating func mapping(_ node: YAMLNode, _ name: String) -> [YAMLNode.Entry] {
        if case .mapping(let entries) = node.content { return entries }
        if !node.isNull { fail(node.position, "\(name) takes a mapping, not \(node.kind)") }
        return []
    }

    // MARK: Switches

    private mutating func readSwitch(_ entry: YAMLNode.Entry) {
        do throws(ValePortName.NameError) {
            try ValePortName.check(switch: entry.key)
        } catch {
            return fail(entry.position, error.description)
        }
        var settings: [YAMLNode.Entry] = []
        for member in mapping(entry.value, "a switch") {
            switch member.key {
            case "ports":
                for port in mapping(member.value, "'ports'") { readPort(port, on: entry.key) }
            case "fdb": readStations(member.value, on: entry.key)
            default: settings.append(member)
            }
        }
        let node = YAMLNode(content: .mapping(settings), position: entry.position)
        let object = node.object(as: ConfigurationFormat.vale, in: validator.schema)
        guard check(object, as: ConfigurationFormat.vale, node, "a switch", and: ["ports", "fdb"])
        else { return }
        configuration.switches.append(
            Configuration.Vale(name: entry.key, settings: object, origin: entry.position)
        )
    }

    private mutating func readPort(_ entry: YAMLNode.Entry, on master: String) {
        let name: ValePortName
        do throws(ValePortName.NameError) {
            name = try ValePortName("\(master):\(entry.key)")
        } catch {
            return fail(entry.position, error.description)
        }
        guard entry.value.isNull || !mapping(entry.value, "a port").isEmpty || entry.value.isMapping
        else { return }
        // What is missing is missing at the port, wherever its first member stands.
        let node = YAMLNode(content: .mapping(entry.value.entries), position: entry.position)
        var object = node.object(
            as: ConfigurationFormat.port,
            defaultTag: ConfigurationFormat.defaultType,
            in: validator.schema
        )
        let type = object["type"]?.stringValue ?? ConfigurationFormat.defaultType
        if object["type"] == nil { object["type"] = .string(type) }
        for member in ConfigurationFormat.placeMembers(ofType: type) {
            guard let given = node[member] else { continue }
            return fail(
                given.position,
                "leave '\(member)' out: the place in the file says that this is \(name)"
            )
        }
        if ConfigurationFormat.placeMembers(ofType: type).contains("hubid"),
            !ValePortName.isHub(master)
        {
            return fail(
                node["type"]?.value.position ?? entry.position,
                "a hubport is a port of a hub, such as hub0, and '\(master)' is none"
            )
        }
        if let given = node["ephemeral"] {
            return fail(given.position, "leave 'ephemeral' out: what is in a file stays")
        }
        guard check(object, as: ConfigurationFormat.port, node, "a \(type) port") else { return }
        add(object, name, node, type)
    }

    private mutating func add(
        _ object: JSONObject,
        _ name: ValePortName,
        _ node: YAMLNode,
        _ type: String
    ) {
        var netdev: JSONObject = ["id": object["id"] ?? .string(name.identifier)]
        for (member, value) in object where member != "link" { netdev[member] = value }
        for (member, value) in ConfigurationFormat.place(of: name, ofType: type) {
            netdev[member] = value
        }
        do throws(QMPError) {
            let options = try NetdevOptions(netdev)
            guard options.backend.options.isRestorable else {
                fail(
                    (node["fd"] ?? node["fds"])?.position ?? node.position,
                    "a file has no descriptors to pass; name what they are of, as with ifname"
                )
                return
            }
            configuration.ports.append(
                Configuration.Port(
                    name: name,
                    netdev: options.arguments,
                    isLinkUp: object["link"]?.boolValue,
                    origin: node.position
                )
            )
        } catch {
            fail(node.position(of: error), error.description)
        }
    }

    private mutating func readStations(_ list: YAMLNode, on master: String) {
        guard case .sequence(let elements) = list.content else {
            if !list.isNull {
                fail(list.position, "'fdb' takes a list, such as - {mac: ..., port: vm1}")
            }
            return
        }
        for node in elements {
            guard node.isMapping else {
                fail(node.position, "an address is written {mac: ..., port: ...}, not \(node.kind)")
                continue
            }
            let type = ConfigurationFormat.station
            let object = node.object(as: type, in: validator.schema)
            guard check(object, as: type, node, "an address") else { continue }
            let mac = object["mac"]?.stringValue ?? ""
            guard PlugOptions.isStation(mac) else {
                fail(
                    node["mac"]?.value.position ?? node.position,
                    "'\(mac)' is not the address of one station, like 52:54:00:12:34:56"
                )
                continue
            }
            do throws(ValePortName.NameError) {
                let port = try ValePortName("\(master):\(object["port"]?.stringValue ?? "")")
                configuration.stations.append(
                    Configuration.Station(
                        mac: mac.lowercased(),
                        vlan: object["vlan"]?.integerValue ?? 0,
                        port: port,
                        origin: node.position
                    )
                )
            } catch {
                fail(node["port"]?.value.position ?? node.position, error.description)
            }
        }
    }

    // MARK: Sockets

    private mutating func readChardev(_ entry: YAMLNode.Entry) {
        guard entry.value.isMapping else {
            fail(entry.position, "a chardev needs at least 'path', as in {path: /run/vm1.sock}")
            return
        }
        let node = YAMLNode(content: entry.value.content, position: entry.position)
        let type = ConfigurationFormat.chardev
        var data = node.object(as: type, in: validator.schema)
        guard check(data, as: type, node, "a chardev") else { return }
        data["addr"] = ["type": "unix", "data": ["path": data["path"] ?? ""]]
        data["path"] = nil
        do throws(QMPError) {
            let options = try ChardevOptions([
                "id": .string(entry.key), "backend": ["type": "socket", "data": .object(data)],
            ])
            configuration.chardevs.append(
                Configuration.Chardev(options: options, origin: entry.position)
            )
        } catch {
            fail(node.position(of: error), error.description)
        }
    }

    // MARK: Checks

    /// Checks an object; what is wrong is noted at its place.
    private mutating func check(
        _ object: JSONObject,
        as type: String,
        _ node: YAMLNode,
        _ owner: String,
        and others: [String] = []
    ) -> Bool {
        do throws(SchemaViolation) {
            try validator.validate(object, as: type)
            return true
        } catch {
            var violation = error
            if case .unexpected(let known) = error.problem, error.path.count == 1 {
                violation = SchemaViolation(
                    path: error.path,
                    problem: .unexpected(known: known + others)
                )
            }
            fail(node.position(of: error), violation.advice(for: owner))
            return false
        }
    }
}

extension YAMLNode {
    var isMapping: Bool { if case .mapping = content { true } else { false } }

    /// The place of the first member that an error names in quotation marks, as all wordings do.
    func position(of error: QMPError) -> SourcePosition {
        let words = error.description.split(separator: "'", omittingEmptySubsequences: false)
        for (index, word) in words.enumerated() where index % 2 == 1 {
            let last = word.split(separator: ".").last.map(String.init) ?? ""
            if let entry = self[last] { return entry.value.position }
        }
        return position
    }
}
