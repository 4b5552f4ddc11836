// The members about what ports and switches may do, and the commands for switches.

extension Schema {
    /// Members of `netdev_add`, `port-set` and `query-ports`.
    static let policy: [Member] = [
        .optional("vlan", .integer, "access port: the VLAN of its untagged frames; 0: none"),
        .optional("trunks", .string, "trunk: its VLANs, such as 10,20-30; all (the default)"),
        .optional("native-vlan", .integer, "trunk: the VLAN of its untagged frames; 0: none"),
        .optional("isolated", .boolean, "it reaches only ports that are not isolated"),
        .optional("mac-limit", .integer, "how many addresses may be learned at it; 0: any number"),
        .optional(
            "source-check",
            .string,
            "addresses that it may send from, with commas; first: the first one; off"
        ),
        .optional(
            "storm-limit",
            .integer,
            "frames a second that it may send to all, 0: any number"
        ),
        .optional("rx-rate", .string, "what it may send, such as 10mbit; off"),
        .optional("rx-burst", .string, "how much of that at once, such as 64kb"),
        .optional("tx-rate", .string, "what it gets at most, such as 10mbit; off"),
        .optional("tx-burst", .string, "how much of that at once, such as 64kb"),
    ]

    /// Members of `switch-add` and `switch-set`.
    static let switchMembers: [Member] = [
        .required("switch", .string, "the switch, such as vale0"),
        .optional("mode", .named("SwitchMode"), "learning (the default), wire or hub"),
        .optional("ageing", .integer, "seconds until an address is forgotten; 0: never"),
        .optional(
            "group-forward",
            .boolean,
            "forward frames to 01:80:c2:00:00:00 to 0f as VALE does (the default), or drop them"
        ),
    ]

    static let policyTypes: [ObjectType] = [
        ObjectType("switch-add-arg", switchMembers),
        ObjectType("switch-set-arg", switchMembers),
        ObjectType("switch-del-arg", [.required("switch", .string, "the switch, such as vale0")]),
    ]

    static let policyCommands: [Command] = [
        Command(
            name: "switch-add",
            summary: "Make a switch that stays without ports, until switch-del",
            arguments: "switch-add-arg",
            returns: nil
        ),
        Command(
            name: "switch-del",
            summary: "Remove a switch without ports",
            arguments: "switch-del-arg",
            returns: nil
        ),
        Command(
            name: "switch-set",
            summary: "Change settings of a switch while frames pass",
            arguments: "switch-set-arg",
            returns: nil
        ),
    ]
}
