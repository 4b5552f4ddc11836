// The types of what queries return. Names are iproute2's where it has the thing, so that jq
// filters carry over; rx is what a switch received from the port.

extension Schema {
    static let resultTypes: [ObjectType] = [
        ObjectType(
            "VersionInfo",
            [.required("qemu", .named("VersionTriple")), .required("package", .string)]
        ),
        ObjectType(
            "VersionTriple",
            [
                .required("major", .integer), .required("minor", .integer),
                .required("micro", .integer),
            ]
        ),
        ObjectType("CommandInfo", [.required("name", .string)]),
        // Described as far as it describes itself; QEMU's own schema says no more of use.
        ObjectType(
            "SchemaInfo",
            [.required("name", .string), .required("meta-type", .string)]
        ),
        ObjectType(
            "PortInfo",
            [
                .required("id", .string, "name given by netdev_add"),
                .required("ifname", .string, "switch:port, or what a program called it"),
                .optional("master", .string, "the switch, if it is on one"),
                .required("type", .string, "netdev_add's, or interface, pipe, monitor, null"),
                .optional("netdev", .named("Netdev"), "the arguments of netdev_add that made it"),
                .optional("socket", .string, "path of the vhost-user or vde socket"),
                .optional("role", .named("PortRole"), "who listens: server means the engine"),
                .required("operstate", .named("OperState")),
                .required("link", .boolean, "what set_link said last"),
                .required("connected", .boolean, "whether a peer is connected"),
                .required("mtu", .integer),
                .required("queues", .integer),
                .required("ephemeral", .boolean),
                .required("lossless", .boolean, "whether senders wait while the port is full"),
                .optional("lossless-timeout", .integer, "milliseconds; 0: for ever"),
                .optional("stalled", .boolean, "lossless, but takes nothing, so it loses frames"),
                .optional("waits-for", .string, "the full lossless port that its frames wait for"),
                .optional("guest", .string, "the guest that its NIC was plugged into"),
                .optional("features", .array(of: .string), "what the front-end negotiated"),
                .optional("virtio-net-header", .integer, "bytes before a program's frames"),
                .optional("memory", .integer, "id of the memory that a program's port is in"),
                .optional("rings", .array(of: .named("RingInfo")), "those of a program's port"),
                .optional("interface", .string, "of this host, that a port is, or is on"),
                .optional("xdp", .string, "where its program runs, and whether frames are copied"),
                .optional("warnings", .array(of: .string), "what is not as it should be"),
                .optional("peer", .string, "who is at the other end of a connection or tunnel"),
                .optional("clients", .integer, "that have plugged into a vde port"),
                .optional("process", .integer, "the passt of a user port"),
                .optional("restarts", .integer, "how often that has ended by itself"),
                .optional("guest-address", .string, "what a user port gives out by DHCP"),
                .optional("host-address", .string, "where guests find this host"),
                .optional("dns-address", .string, "where guests find a name server"),
                .optional("hostfwd", .array(of: .string), "what comes in by a user port"),
                .optional("reason", .string, "why the port is down"),
                .optional("progress", .string, "of a replay: how far it is"),
                .required("stats64", .named("PortStats")),
                .required("drops", .named("PortDrops"), "dropped frames by reason"),
                .optional("hubport", .string, "the hubport that holds it on the hub"),
                .optional("source", .string, "the first source, of a port that takes the first"),
            ] + policy
        ),
        ObjectType(
            "RingInfo",
            [
                .required("direction", .string, "tx or rx, as the program has it"),
                .required("ring", .integer), .required("slots", .integer),
                .required("descriptors", .integer, "how many have it bound"),
                .required("rejected", .integer, "syncs with impossible indices"),
                .optional("last-rejection", .string, "which index, and what it had to be"),
                .required("drops", .integer, "of a monitor: frames it was too slow for"),
                .optional("packets", .integer, "of a pipe: frames sent"),
                .optional("bytes", .integer),
            ]
        ),
        ObjectType(
            "PortStats",
            [.required("rx", .named("RxStats")), .required("tx", .named("TxStats"))]
        ),
        ObjectType(
            "RxStats",
            [
                .required("packets", .integer), .required("bytes", .integer),
                .required("errors", .integer), .required("dropped", .integer),
                .required("offloaded", .integer), .required("multicast", .integer),
            ]
        ),
        ObjectType(
            "TxStats",
            [
                .required("packets", .integer), .required("bytes", .integer),
                .required("errors", .integer), .required("dropped", .integer),
                .required("offloaded", .integer),
            ]
        ),
        ObjectType(
            "PortDrops",
            [.required("rx", .named("DropReasons")), .required("tx", .named("DropReasons"))]
        ),
        // One counter to a reason; an open set, because data planes grow reasons.
        ObjectType("DropReasons", []),
        ObjectType(
            "ChardevInfo",
            [
                .required("label", .string), .required("filename", .string),
                .required("backend", .named("ChardevBackend"), "as chardev-add was given it"),
                .required("frontend-open", .boolean, "whether a port uses it"),
            ]
        ),
        ObjectType(
            "GuestInfo",
            [
                .required("name", .string), .required("qmp", .string, "its QEMU's monitor"),
                .required("ephemeral", .boolean),
                .required("ports", .array(of: .string), "whose NICs the engine plugged in"),
                .required("busy", .boolean, "whether a NIC is being plugged or unplugged"),
            ]
        ),
        ObjectType(
            "SwitchInfo",
            [
                .required("ifname", .string), .required("ports", .integer),
                .required("mode", .named("SwitchMode")),
                .required("group-forward", .boolean, "whether reserved group addresses pass"),
                .required("persistent", .boolean, "whether it stays without ports"),
                .required("fdb", .named("FdbInfo")),
            ]
        ),
        ObjectType(
            "FdbInfo",
            [
                .required("entries", .integer), .required("size", .integer),
                .required("ageing", .integer, "seconds; 0: never"),
                .required("moves", .integer), .required("evictions", .integer),
                .required("floods", .integer),
            ]
        ),
        ObjectType(
            "FdbEntry",
            [
                .required("mac", .string), .required("ifname", .string),
                .required("master", .string), .required("state", .named("FdbState")),
                .optional("vlan", .integer, "the VLAN in which it was seen, if in one"),
                .optional("age", .integer, "seconds since the address was last seen"),
            ]
        ),
        ObjectType(
            "WorkerInfo",
            [
                .required("id", .integer),
                .optional("cpu", .integer, "the CPU that it is pinned to"),
                .required("tid", .integer), .required("ports", .integer),
                .required("turns", .integer), .required("frames", .integer),
                .required("sleeps", .integer), .required("cpu-time", .number, "seconds"),
                .required("queues", .array(of: .named("WorkerQueue")), "what it serves"),
            ]
        ),
        ObjectType(
            "WorkerQueue",
            [
                .required("ifname", .string), .required("queue", .integer),
                .required("frames", .integer, "that came from the queue"),
                .required("pinned", .boolean, "whether worker-move put it there to stay"),
            ]
        ),
    ]
}
