// The options of `port add` and `port set` about what a port may do.

internal import ArgumentParser
internal import Control

struct PolicyOptions: ParsableArguments {
    @Option(help: "Access port: the VLAN of its untagged frames; 0 for none.")
    var vlan: Int?
    @Option(
        help: ArgumentHelp("Trunk: its VLANs, such as 10,20-30, or all.", valueName: "list")
    )
    var trunks: String?
    @Option(help: "Trunk: the VLAN of its untagged frames; 0 for none.")
    var nativeVlan: Int?
    @Flag(inversion: .prefixedNo, help: "Reach only ports that are not isolated.")
    var isolated: Bool?
    @Option(help: "How many addresses may be learned at it; 0 for any number.")
    var macLimit: Int?
    @Option(
        help: ArgumentHelp(
            "Addresses that it may send from, with commas between them; 'first' for the first one that "
                + "it sends from; 'off'.",
            valueName: "macs"
        )
    )
    var sourceCheck: String?
    @Option(
        help: ArgumentHelp(
            "Frames a second that it may send to all; 0 for any number.",
            valueName: "frames"
        )
    )
    var stormLimit: Int?
    @Option(help: ArgumentHelp("What it may send, such as 10mbit; 'off'.", valueName: "rate"))
    var rxRate: String?
    @Option(help: ArgumentHelp("How much of that at once, such as 64kb.", valueName: "size"))
    var rxBurst: String?
    @Option(help: ArgumentHelp("What it gets, such as 10mbit; 'off'.", valueName: "rate"))
    var txRate: String?
    @Option(help: ArgumentHelp("How much of that at once, such as 64kb.", valueName: "size"))
    var txBurst: String?

    /// The members of `netdev_add` and `port-set`.
    var members: JSONObject {
        var object = JSONObject()
        let numbers = [
            ("vlan", vlan), ("native-vlan", nativeVlan), ("mac-limit", macLimit),
            ("storm-limit", stormLimit),
        ]
        for (name, value) in numbers { if let value { object[name] = .integer(value) } }
        let texts = [
            ("trunks", trunks), ("source-check", sourceCheck), ("rx-rate", rxRate),
            ("rx-burst", rxBurst), ("tx-rate", txRate), ("tx-burst", txBurst),
        ]
        for (name, value) in texts { if let value { object[name] = .string(value) } }
        if let isolated { object["isolated"] = .bool(isolated) }
        return object
    }
}

extension JSONValue {
    /// What a port of `query-ports` was told, as `vlan 10, isolated`; empty if nothing.
    var policyText: String {
        PortPolicy.names.compactMap { name in
            guard let value = self[name] else { return nil }
            return value == true ? name : "\(name) \(text(name))"
        }.joined(separator: ", ")
    }
}
