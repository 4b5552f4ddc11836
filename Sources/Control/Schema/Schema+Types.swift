// The types behind the commands: options and arguments first, then results and event data.

extension Schema {
    /// What describes a port or a socket; the unions of QEMU's QAPI schema.
    static let optionTypes: [ObjectType] = [
        ObjectType(
            "Netdev",
            [
                .required("id", .string, "name of the port in later commands"),
                .required("type", .named("NetClientDriver"), "what is behind the port"),
            ],
            tag: "type",
            variants: [
                Variant(value: "netmap", type: "NetdevNetmapOptions"),
                Variant(value: "vhost-user", type: "NetdevVhostUserOptions"),
                Variant(value: "tap", type: "NetdevTapOptions"),
                Variant(value: "bridge", type: "NetdevBridgeOptions"),
                Variant(value: "stream", type: "NetdevStreamOptions"),
                Variant(value: "dgram", type: "NetdevDgramOptions"),
                Variant(value: "socket", type: "NetdevSocketOptions"),
                Variant(value: "user", type: "NetdevUserOptions"),
                Variant(value: "vde", type: "NetdevVdeOptions"),
                Variant(value: "l2tpv3", type: "NetdevL2TPv3Options"),
                Variant(value: "pcap", type: "NetdevPcapOptions"),
                Variant(value: "packet", type: "NetdevPacketOptions"),
                Variant(value: "af-xdp", type: "NetdevAFXDPOptions"),
                Variant(value: "host-stack", type: "NetdevHostStackOptions"),
            ]
        ),
        ObjectType(
            "NetdevNetmapOptions",
            [
                .required("ifname", .string, "VALE port, switch:port, such as vale0:vm1"),
                .optional("devname", .string, "netmap device; only the default /dev/netmap"),
                queues, ephemeral, lossless, losslessTimeout,
                .optional("guest", .string, "plug a NIC into this guest of 'wirevale qemu'"),
                .optional("mac", .string, "the NIC's address; made of ifname if left out"),
                .optional("bus", .string, "the NIC's bus in the guest; a free one if left out"),
            ]
        ),
        ObjectType(
            "NetdevVhostUserOptions",
            [
                .required("chardev", .string, "id of a socket made by chardev-add"),
                .required("ifname", .string, "VALE port, switch:port, such as vale0:vm1"),
                .optional("vhostforce", .boolean, "accepted and without effect, as in QEMU"),
                queues, ephemeral, lossless, losslessTimeout,
            ]
        ),
        hostPort("NetdevTapOptions", tap),
        hostPort(
            "NetdevBridgeOptions",
            [
                .optional("br", .string, "the bridge that a new interface joins, default br0"),
                .optional(
                    "helper",
                    .string,
                    "program that makes the interface, default the engine"
                ),
            ]
        ),
        hostPort(
            "NetdevPcapOptions",
            [
                .optional(
                    "mode",
                    .named("PcapMode"),
                    "send a file's frames (default) or keep frames"
                ),
                .optional("file", .string, "path of the capture file; a sink needs none to count"),
                .optional("rate", .string, "original (default), max, or like 1000pps or 10Mbit"),
                .optional("loop", .integer, "how often all frames go, default 1; 0: for ever"),
                .optional("start", .boolean, "begin at once (default), or with port-set run=on"),
            ]
        ),
        hostPort(
            "NetdevPacketOptions",
            [
                .required("ifname", .string, "the interface"),
                .optional("ring", .boolean, "fewer system calls, up to 1 ms later; default off"),
                .optional("qdisc-bypass", .boolean, "send past the queueing discipline"),
                .optional("promisc", .boolean, "hear frames to all addresses, default on"),
            ]
        ),
        hostPort(
            "NetdevAFXDPOptions",
            [
                .required("ifname", .string, "the interface"),
                .optional(
                    "mode",
                    .named("AFXDPMode"),
                    "where the XDP program runs; native if the driver can, else skb, if left out"
                ),
                .optional("force-copy", .boolean, "no zero-copy, even if the driver can"),
                queues,
                .optional("start-queue", .integer, "the first queue of the interface, default 0"),
                .optional("inhibit", .boolean, "load no XDP program: there is one"),
                .optional("sock-fds", .string, "sockets in its map, 'name:name', from getfd"),
                .optional("map-path", .string, "where its map is pinned"),
            ]
        ),
        hostPort(
            "NetdevHostStackOptions",
            [.required("ifname", .string, "an interface that is an af-xdp port in mode=native")]
        ),
        ObjectType(
            "ChardevBackend",
            [.required("type", .named("ChardevBackendKind"), "kind of the character device")],
            tag: "type",
            variants: [Variant(value: "socket", type: "ChardevSocketWrapper")]
        ),
        ObjectType(
            "ChardevSocketWrapper",
            [.required("data", .named("ChardevSocket"), "options of the socket")]
        ),
        ObjectType(
            "ChardevSocket",
            [
                .required("addr", .named("SocketAddressLegacy"), "where the socket is"),
                .optional("server", .boolean, "listen (the default) instead of connecting"),
                .optional("wait", .boolean, "only false: the engine waits for nobody"),
                .optional("reconnect", .integer, "seconds between attempts to connect, default 1"),
            ]
        ),
        ObjectType(
            "SocketAddressLegacy",
            [.required("type", .named("SocketAddressLegacyType"), "kind of the address")],
            tag: "type",
            variants: [Variant(value: "unix", type: "UnixSocketAddressWrapper")]
        ),
        ObjectType(
            "UnixSocketAddressWrapper",
            [.required("data", .named("UnixSocketAddress"), "the address")]
        ),
        ObjectType(
            "UnixSocketAddress",
            [.required("path", .string, "path of the socket in the file system")]
        ),
    ]

    private static let tap: [Member] = [
        .optional(
            "ifname",
            .string,
            "the interface, new or existing; named by the kernel if left out"
        ),
        .optional("fd", .string, "descriptor of an interface, passed with getfd"),
        .optional("fds", .string, "descriptors of an interface's queues, a:b:c"),
        .optional("script", .string, "only 'no': the engine runs no scripts"),
        .optional("downscript", .string, "only 'no'"),
        .optional("br", .string, "the bridge that the interface joins"),
        .optional(
            "helper",
            .string,
            "program that makes the interface, as qemu-bridge-helper does"
        ),
        .optional("sndbuf", .integer, "accepted and without effect: nothing is buffered"),
        .optional("vnet_hdr", .boolean, "checksums and segmentation may be left open, default on"),
        .optional("vhost", .boolean, "only off: the engine moves the frames"),
        .optional("poll-us", .integer, "accepted and without effect"),
        .optional("netns", .string, "the interface's namespace: a name, a path, or a process id"),
        .optional("persistent", .boolean, "the interface stays when the port goes"),
        .optional("mtu", .integer, "the interface's MTU"),
        queues,
    ]

    /// The options of a kind whose own `ifname`, if any, is not the switch port's.
    static func hostPort(_ name: String, _ members: [Member]) -> ObjectType {
        let port = Member.required("port", .string, "switch port, switch:port, such as vale0:up")
        return ObjectType(name, [port] + members + [ephemeral, lossless, losslessTimeout])
    }

    private static let queues = Member.optional("queues", .integer, "queue pairs, default 1")
    static let ephemeral = Member.optional(
        "ephemeral",
        .boolean,
        "remove the port when this control connection ends"
    )

    static let lossless = Member.optional(
        "lossless",
        .boolean,
        "senders wait while the port is full instead of losing frames"
    )
    static let losslessTimeout = Member.optional(
        "lossless-timeout",
        .integer,
        "milliseconds until a receiver that takes nothing loses frames; 0: never; default 1000"
    )

    static let argumentTypes: [ObjectType] = [
        ObjectType(
            "qmp_capabilities-arg",
            [.optional("enable", .array(of: .named("QMPCapability")), "capabilities to enable")]
        ),
        ObjectType(
            "human-monitor-command-arg",
            [.required("command-line", .string, "the line, as help shows it")]
        ),
        ObjectType("getfd-arg", [.required("fdname", .string, "name of the descriptor")]),
        ObjectType("netdev_del-arg", [.required("id", .string, "id of the port")]),
        ObjectType(
            "set_link-arg",
            [
                .required("name", .string, "id of the port, or its ifname"),
                .required("up", .boolean, "whether the cable is plugged"),
            ]
        ),
        ObjectType(
            "port-set-arg",
            [
                .required("name", .string, "id of the port, or its ifname"),
                .optional("lossless", .boolean, "whether senders wait while the port is full"),
                .optional("lossless-timeout", .integer, "milliseconds; 0: for ever"),
                .optional(
                    "run",
                    .boolean,
                    "go on with a replay, or begin again at its end; or stop"
                ),
            ]
        ),
        ObjectType(
            "query-ports-arg",
            [.optional("name", .string, "only this port: its id or its ifname")]
        ),
        ObjectType(
            "chardev-add-arg",
            [
                .required("id", .string, "name of the socket for netdev_add"),
                .required("backend", .named("ChardevBackend"), "what it is"),
            ]
        ),
        ObjectType("chardev-remove-arg", [.required("id", .string, "id of the socket")]),
        ObjectType(
            "guest-add-arg",
            [
                .required("name", .string, "name of the guest for netdev_add"),
                .required("qmp", .string, "path of a QMP socket of its QEMU, for the engine alone"),
                .optional("ephemeral", .boolean, "forget it when this control connection ends"),
            ]
        ),
        ObjectType("guest-del-arg", [.required("name", .string, "name of the guest")]),
        ObjectType(
            "switch-set-arg",
            [
                .required("switch", .string, "the switch, such as vale0"),
                .optional("ageing", .integer, "seconds until an address is forgotten; 0: never"),
            ]
        ),
        ObjectType("query-fdb-arg", [.optional("switch", .string, "only this switch")]),
        ObjectType(
            "fdb-add-arg",
            [
                .required("mac", .string, "the address"),
                .required("ifname", .string, "the port, such as vale0:vm1"),
            ]
        ),
        ObjectType(
            "fdb-del-arg",
            [
                .required("mac", .string, "the address"),
                .required("switch", .string, "the switch, such as vale0"),
            ]
        ),
        ObjectType(
            "fdb-flush-arg",
            [
                .required("switch", .string, "the switch, such as vale0"),
                .optional("ifname", .string, "only what was learned on this port"),
            ]
        ),
        ObjectType(
            "worker-move-arg",
            [
                .required("name", .string, "id of the port, or its ifname"),
                .optional("queue", .integer, "only this queue pair"),
                .required("worker", .integer, "the worker that serves it from now on"),
                .optional("pinned", .boolean, "keep it there when ports come and go (default)"),
            ]
        ),
    ]

    static let eventTypes: [ObjectType] = [
        ObjectType(
            "NETDEV_VHOST_USER_CONNECTED-data",
            [.required("netdev-id", .string), .required("chardev-id", .string)]
        ),
        ObjectType(
            "NETDEV_VHOST_USER_DISCONNECTED-data",
            [.required("netdev-id", .string)]
        ),
        ObjectType(
            "NETDEV_STREAM_CONNECTED-data",
            [
                .required("netdev-id", .string),
                .required("addr", .named("SocketAddress"), "where the peer is, or was found"),
            ]
        ),
        ObjectType("NETDEV_STREAM_DISCONNECTED-data", [.required("netdev-id", .string)]),
        ObjectType(
            "NETDEV_ERROR-data",
            [.required("netdev-id", .string), .required("reason", .string)]
        ),
    ]
}
