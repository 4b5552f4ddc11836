// What an engine must know to come back as it was: a value, its JSON form, and the checks that a file
// from another version, another program or a broken disk has to pass.

import Control
import Wire

/// Everything about an engine that an operator or a guest's launcher asked for.
///
/// What guests and programs bring along when they connect again is not in it.
struct EngineState: Equatable {
    /// A port with its number, which counters and learned addresses refer to.
    struct Port: Equatable {
        var number: UInt16
        var options: NetdevOptions
        var isLinkUp = true
    }

    /// A switch's settings.
    struct Vale: Equatable {
        var name: String
        var options = SwitchOptions()
        var isKept = false
    }

    /// An address that an operator tied to a port.
    struct Station: Equatable {
        var mac: MACAddress
        var vlan: UInt16 = 0
        var port: UInt16
    }

    var chardevs: [ChardevOptions] = []
    var switches: [Vale] = []
    var ports: [Port] = []
    var stations: [Station] = []
    var guests: [GuestOptions] = []
    /// Hubports that hold a port which is in `ports`.
    var hubPorts: [NetdevOptions] = []

    /// Whether there is nothing to come back to.
    var isEmpty: Bool {
        chardevs.isEmpty && ports.isEmpty && guests.isEmpty && !switches.contains { $0.isKept }
    }

    /// Why a text is not a state, as the end of a sentence.
    struct Damage: Error, Equatable, CustomStringConvertible {
        let description: String
    }

    private static let version = 1
}

extension EngineState {
    /// The state as it is stored.
    var json: JSONValue {
        [
            "wirevale-state": .integer(EngineState.version),
            "chardevs": .array(chardevs.map { .object($0.arguments) }),
            "switches": .array(
                switches.map { vale in
                    var object = vale.options.members
                    object["ifname"] = .string(vale.name)
                    if vale.isKept { object["persistent"] = true }
                    return .object(object)
                }
            ),
            "hubports": .array(hubPorts.map { .object($0.arguments) }),
            "ports": .array(
                ports.map {
                    [
                        "number": .integer(Int($0.number)), "link": .bool($0.isLinkUp),
                        "netdev": .object($0.options.arguments),
                    ]
                }
            ),
            "fdb": .array(
                stations.map {
                    [
                        "mac": .string($0.mac.description), "port": .integer(Int($0.port)),
                        "vlan": .integer(Int($0.vlan)),
                    ]
                }
            ),
            "guests": .array(guests.map { .object($0.arguments) }),
        ]
    }

    /// Reads a state that was stored.
    ///
    /// - Throws: `Damage` when the text is not what `json` gives, or contradicts itself.
    init(text: [UInt8]) throws(Damage) {
        let value: JSONValue
        do throws(JSONSyntaxError) {
            value = try JSONValue(parsing: String(decoding: text, as: UTF8.self))
        } catch {
            throw Damage(description: "it is not JSON: \(error.reason)")
        }
        guard let version = value["wirevale-state"]?.integerValue else {
            throw Damage(description: "it is not a state of this program")
        }
        guard version == EngineState.version else {
            throw Damage(
                description: "it has version \(version), and this engine reads version "
                    + "\(EngineState.version)"
            )
        }
        do throws(QMPError) {
            for object in try Self.objects(value, "chardevs") {
                chardevs.append(try ChardevOptions(object))
            }
            for object in try Self.objects(value, "switches") {
                try add(switch: object)
            }
            for object in try Self.objects(value, "ports") { try add(port: object) }
            for object in try Self.objects(value, "fdb") { try add(station: object) }
            for object in try Self.objects(value, "guests") {
                guests.append(try GuestOptions(object))
            }
            // Engines before this one had none.
            if value["hubports"] != nil {
                for object in try Self.objects(value, "hubports") {
                    hubPorts.append(try NetdevOptions(object))
                }
            }
        } catch {
            throw Damage(description: error.description)
        }
    }

    private static func objects(
        _ value: JSONValue,
        _ name: String
    ) throws(QMPError) -> [JSONObject] {
        guard let array = value[name]?.arrayValue else { throw .missing(name) }
        var objects: [JSONObject] = []
        for element in array {
            guard let object = element.objectValue else {
                throw .wrongType(name, expected: "object")
            }
            objects.append(object)
        }
        return objects
    }

    private mutating func add(switch object: JSONObject) throws(QMPError) {
        guard let name = object["ifname"]?.stringValue, object["ageing"]?.integerValue != nil,
            (try? ValePortName.check(switch: name)) != nil
        else { throw .expects("switches", "names and ageing times") }
        switches.append(
            Vale(
                name: name,
                options: try SwitchOptions(object),
                isKept: object["persistent"]?.boolValue ?? false
            )
        )
    }

    private mutating func add(port object: JSONObject) throws(QMPError) {
        guard let number = object["number"]?.integerValue, let link = object["link"]?.boolValue,
            (1..<PortTable.capacity).contains(number), let netdev = object["netdev"]?.objectValue
        else { throw .expects("ports", "numbers, links and netdevs") }
        let options = try NetdevOptions(netdev, fileExists: { _ in true })
        guard
            !ports.contains(where: {
                $0.number == number || $0.options.id == options.id
                    || $0.options.port == options.port
            })
        else { throw QMPError("port \(options.port) is in it twice") }
        ports.append(Port(number: UInt16(number), options: options, isLinkUp: link))
    }

    private mutating func add(station object: JSONObject) throws(QMPError) {
        guard let mac = object["mac"]?.stringValue.flatMap({ MACAddress($0) }), !mac.isMulticast,
            let number = object["port"]?.integerValue,
            let port = ports.first(where: { $0.number == number }),
            let vlan = UInt16(exactly: object["vlan"]?.integerValue ?? 0), vlan < 4095
        else { throw .expects("fdb", "addresses and numbers of ports") }
        stations.append(Station(mac: mac, vlan: vlan, port: port.number))
    }
}
