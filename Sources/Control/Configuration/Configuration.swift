// What configuration files ask for, checked as far as that can be done without an engine.

/// Switches, ports, sockets and addresses that somebody wants to be there.
public struct Configuration: Sendable {
    /// What a file says of a switch.
    public struct Vale: Sendable {
        /// Its name, such as `vale0`.
        public let name: String
        /// The arguments of `switch-set`; what is not in them is left as it is.
        public var settings: JSONObject
        /// Where it stands.
        public let origin: SourcePosition?
    }

    /// A port.
    public struct Port: Sendable {
        /// Its switch and name.
        public let name: ValePortName
        /// The arguments of `netdev_add`, without those that say what is so anyway.
        public let netdev: JSONObject
        /// Whether its cable is plugged; nil leaves that as it is.
        public let isLinkUp: Bool?
        /// Where it stands.
        public let origin: SourcePosition?
    }

    /// A socket that `vhost-user` ports use.
    public struct Chardev: Sendable {
        /// What `chardev-add` takes.
        public let options: ChardevOptions
        /// Where it stands.
        public let origin: SourcePosition?
    }

    /// An address that is tied to a port.
    public struct Station: Sendable {
        /// The address, in lower case.
        public let mac: String
        /// The VLAN in which it is there; 0 for none.
        public let vlan: Int
        /// The port.
        public let port: ValePortName
        /// Where it stands.
        public let origin: SourcePosition?
    }

    /// The switches.
    public var switches: [Vale] = []
    /// The ports.
    public var ports: [Port] = []
    /// The sockets.
    public var chardevs: [Chardev] = []
    /// The static addresses.
    public var stations: [Station] = []

    /// Nothing at all.
    public init() {}

    /// Adds what another file wants.
    ///
    /// - Parameter other: what it wants; of a switch, files may say different things.
    /// - Returns: contradictions, with which nothing is done.
    mutating func merge(_ other: Configuration) -> [ConfigurationError] {
        var names = ConfigurationNames()
        _ = names.add(self)
        var errors = names.add(other)
        var merged = self
        for vale in other.switches {
            guard let index = merged.switches.firstIndex(where: { $0.name == vale.name }) else {
                merged.switches.append(vale)
                continue
            }
            for (name, value) in vale.settings {
                let old = merged.switches[index].settings[name]
                if let old, old != value, let origin = vale.origin {
                    let first = merged.switches[index].origin?.description ?? "another file"
                    errors.append(
                        ConfigurationError(origin, "\(vale.name) has another '\(name)' in \(first)")
                    )
                }
                merged.switches[index].settings[name] = value
            }
        }
        guard errors.isEmpty else { return errors }
        merged.ports += other.ports
        merged.chardevs += other.chardevs
        merged.stations += other.stations
        self = merged
        return []
    }
}

extension Configuration.Station {
    /// The address and its VLAN, of which a switch has one.
    public var key: String { Self.key(mac, vlan) }

    static func key(_ mac: String, _ vlan: Int) -> String {
        vlan == 0 ? mac : "\(mac) vlan \(vlan)"
    }
}

/// Names that only one thing may have, and who has them.
struct ConfigurationNames {
    private var owners: [String: SourcePosition?] = [:]

    /// Takes the names of all that is in a configuration; what is wrong comes back.
    mutating func add(_ configuration: Configuration) -> [ConfigurationError] {
        var errors: [ConfigurationError] = []
        func take(_ name: String, _ origin: SourcePosition?) {
            guard let first = owners.updateValue(origin, forKey: name), let origin else { return }
            let place = first?.description ?? "another file"
            errors.append(ConfigurationError(origin, "\(name) is also in \(place)"))
        }
        for port in configuration.ports {
            take("port \(port.name)", port.origin)
            take("the id '\(port.netdev["id"]?.stringValue ?? "")'", port.origin)
            if let chardev = port.netdev["chardev"]?.stringValue {
                take("a port on chardev '\(chardev)'", port.origin)
            }
        }
        for chardev in configuration.chardevs {
            take("chardev '\(chardev.options.id)'", chardev.origin)
            take("a chardev on \(chardev.options.path)", chardev.origin)
        }
        for station in configuration.stations {
            take("\(station.key) of \(station.port.master)", station.origin)
        }
        return errors
    }
}
