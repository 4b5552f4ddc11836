// What an engine has, as its queries tell it.

/// The part of an engine that configuration files can describe.
public struct RunningState: Sendable {
    /// A port.
    public struct Port: Sendable {
        /// Its id.
        public let id: String
        /// The arguments of `netdev_add` that it was made with; nil if that did not make it.
        public let netdev: JSONObject?
        /// Whether it goes with whoever made it or with a guest, or needs what somebody passed.
        public let isBorrowed: Bool
        /// Whether its cable is plugged.
        public let isLinkUp: Bool
    }

    /// Ports on switches, by name.
    public private(set) var ports: [ValePortName: Port] = [:]
    /// The settings of switches, by name.
    public private(set) var switches: [String: JSONObject] = [:]
    /// Switches that stay without ports.
    public private(set) var persistent: Set<String> = []
    /// Sockets by id.
    public private(set) var chardevs: [String: ChardevOptions] = [:]
    /// Static addresses by switch, and by address and VLAN.
    public private(set) var stations: [String: [String: Configuration.Station]] = [:]

    /// What an engine has that has nothing.
    public init() {}

    /// The commands whose answers `init` takes.
    public static let queries = ["query-ports", "query-switches", "query-chardev", "query-fdb"]

    /// Takes the answers to `queries`, in their order.
    public init(_ answers: [JSONValue]) {
        func entries(_ index: Int) -> [JSONValue] {
            answers.indices.contains(index) ? answers[index].arrayValue ?? [] : []
        }
        for entry in entries(0) {
            guard let name = Self.port(entry["ifname"]), entry["master"] != nil else { continue }
            let netdev = entry["netdev"]?.objectValue
            let options = netdev.flatMap { try? NetdevOptions($0, fileExists: { _ in true }) }
            ports[name] = Port(
                id: entry["id"]?.stringValue ?? "",
                netdev: netdev,
                isBorrowed: entry["ephemeral"] == true || entry["guest"] != nil
                    || entry["hubport"] != nil
                    || options?.backend.options.isRestorable == false,
                isLinkUp: entry["link"]?.boolValue ?? true
            )
        }
        let settings = Schema.wirevale.members(of: "switch-set-arg", tag: nil).map(\.name)
        for entry in entries(1) {
            var object = JSONObject()
            for name in settings where name != "switch" {
                object[name] = entry[name] ?? entry["fdb"]?[name]
            }
            let name = entry["ifname"]?.stringValue ?? ""
            switches[name] = object
            if entry["persistent"] == true { persistent.insert(name) }
        }
        for entry in entries(2) {
            let arguments: JSONObject = [
                "id": entry["label"] ?? "", "backend": entry["backend"] ?? .null,
            ]
            guard let options = try? ChardevOptions(arguments) else { continue }
            chardevs[options.id] = options
        }
        for entry in entries(3) where entry["state"] == "static" {
            guard let port = Self.port(entry["ifname"]), let mac = entry["mac"]?.stringValue else {
                continue
            }
            let station = Configuration.Station(
                mac: mac.lowercased(),
                vlan: entry["vlan"]?.integerValue ?? 0,
                port: port,
                origin: nil
            )
            stations[port.master, default: [:]][station.key] = station
        }
    }

    private static func port(_ value: JSONValue?) -> ValePortName? {
        value?.stringValue.flatMap { try? ValePortName($0) }
    }
}

extension Configuration {
    /// The configuration that describes what an engine has.
    ///
    /// Ports that go with a program, a connection or a guest are not in it; `leftOut` has their names.
    public init(_ state: RunningState, leftOut: inout [ValePortName]) {
        let sorted = state.ports.sorted { "\($0.key)" < "\($1.key)" }
        var kept: Set<ValePortName> = []
        for (name, port) in sorted {
            guard let netdev = port.netdev, !port.isBorrowed else {
                leftOut.append(name)
                continue
            }
            kept.insert(name)
            ports.append(
                Port(
                    name: name,
                    netdev: netdev,
                    isLinkUp: port.isLinkUp ? nil : false,
                    origin: nil
                )
            )
        }
        let masters = Set(kept.map(\.master))
        for (name, settings) in state.switches.sorted(by: { $0.key < $1.key }) {
            // One that came with a port and was never told anything comes with the port again.
            let isPlain = settings == ConfigurationFormat.defaults(ofSwitch: name)
            guard state.persistent.contains(name) || masters.contains(name) && !isPlain else {
                continue
            }
            let members = (try? SwitchOptions(settings).members) ?? settings
            switches.append(Vale(name: name, settings: members, origin: nil))
        }
        for (_, options) in state.chardevs.sorted(by: { $0.key < $1.key }) {
            chardevs.append(Chardev(options: options, origin: nil))
        }
        for (_, table) in state.stations.sorted(by: { $0.key < $1.key }) {
            stations += table.sorted { $0.key < $1.key }.map(\.value).filter {
                kept.contains($0.port)
            }
        }
    }
}
