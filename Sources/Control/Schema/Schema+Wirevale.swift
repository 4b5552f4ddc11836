// What can be said to the engine: commands and events. Names and members are QEMU's wherever
// QEMU has the thing, because its users and their scripts know them.

extension Schema {
    /// The schema of Wirevale's control socket.
    public static let wirevale = Schema(
        commands: sessionCommands + portCommands + dumpCommands + guestCommands + switchCommands
            + policyCommands,
        events: allEvents,
        objects: optionTypes + socketTypes + tunnelTypes + argumentTypes + dumpTypes + resultTypes
            + eventTypes + policyTypes,
        enumerations: allEnumerations + dumpEnumerations
    )

    private static let sessionCommands: [Command] = [
        Command(
            name: "qmp_capabilities",
            summary: "Finish the negotiation that opens a connection",
            arguments: "qmp_capabilities-arg",
            returns: nil
        ),
        Command(
            name: "query-version",
            summary: "The version of the engine",
            arguments: nil,
            returns: .named("VersionInfo")
        ),
        Command(
            name: "query-commands",
            summary: "The names of all commands",
            arguments: nil,
            returns: .array(of: .named("CommandInfo"))
        ),
        Command(
            name: "query-qmp-schema",
            summary: "This description, in QEMU's SchemaInfo form",
            arguments: nil,
            returns: .array(of: .named("SchemaInfo"))
        ),
        Command(
            name: "human-monitor-command",
            summary: "Run a line of the human monitor and return what it prints",
            arguments: "human-monitor-command-arg",
            returns: .string
        ),
        Command(name: "quit", summary: "Stop the engine", arguments: nil, returns: nil),
    ]

    private static let portCommands: [Command] = [
        Command(
            name: "netdev_add",
            summary: "Add a port; its switch appears with its first port",
            arguments: "Netdev",
            returns: nil
        ),
        Command(
            name: "getfd",
            summary: "Take the descriptor that comes with this message, for netdev_add to name",
            arguments: "getfd-arg",
            returns: nil
        ),
        Command(
            name: "closefd",
            summary: "Close a descriptor that getfd took and nothing uses",
            arguments: "getfd-arg",
            returns: nil
        ),
        Command(
            name: "netdev_del",
            summary: "Remove a port; its switch goes with its last port",
            arguments: "netdev_del-arg",
            returns: nil
        ),
        Command(
            name: "set_link",
            summary: "Plug or unplug a port's cable",
            arguments: "set_link-arg",
            returns: nil
        ),
        Command(
            name: "port-set",
            summary: "Change a port while frames pass",
            arguments: "port-set-arg",
            returns: nil
        ),
        Command(
            name: "query-ports",
            summary: "Ports with their state, counters and reasons of drops",
            arguments: "query-ports-arg",
            returns: .array(of: .named("PortInfo"))
        ),
        Command(
            name: "chardev-add",
            summary: "Add a socket for a vhost-user port to use",
            arguments: "chardev-add-arg",
            returns: nil
        ),
        Command(
            name: "chardev-remove",
            summary: "Remove a socket that no port uses",
            arguments: "chardev-remove-arg",
            returns: nil
        ),
        Command(
            name: "query-chardev",
            summary: "The sockets made by chardev-add",
            arguments: nil,
            returns: .array(of: .named("ChardevInfo"))
        ),
    ]

    private static let guestCommands: [Command] = [
        Command(
            name: "guest-add",
            summary: "Make a guest known, so that netdev_add can plug NICs into it",
            arguments: "guest-add-arg",
            returns: nil
        ),
        Command(
            name: "guest-del",
            summary: "Forget a guest, and remove the ports that were plugged into it",
            arguments: "guest-del-arg",
            returns: nil
        ),
        Command(
            name: "query-guests",
            summary: "The guests that NICs can be plugged into",
            arguments: nil,
            returns: .array(of: .named("GuestInfo"))
        ),
    ]

    private static let switchCommands: [Command] = [
        Command(
            name: "query-switches",
            summary: "Switches with the state of their forwarding tables",
            arguments: nil,
            returns: .array(of: .named("SwitchInfo"))
        ),
        Command(
            name: "query-fdb",
            summary: "Addresses that switches have learned or were told",
            arguments: "query-fdb-arg",
            returns: .array(of: .named("FdbEntry"))
        ),
        Command(
            name: "fdb-add",
            summary: "Tie an address to a port; it is never aged or moved",
            arguments: "fdb-add-arg",
            returns: nil
        ),
        Command(
            name: "fdb-del",
            summary: "Forget an address",
            arguments: "fdb-del-arg",
            returns: nil
        ),
        Command(
            name: "fdb-flush",
            summary: "Forget all learned addresses of a switch, or of one of its ports",
            arguments: "fdb-flush-arg",
            returns: nil
        ),
        Command(
            name: "query-workers",
            summary: "The threads that move frames",
            arguments: nil,
            returns: .array(of: .named("WorkerInfo"))
        ),
        Command(
            name: "worker-move",
            summary:
                "Have another thread serve a port's queues, without losing or reordering frames",
            arguments: "worker-move-arg",
            returns: nil
        ),
    ]

    private static let allEvents: [Event] = [
        Event(
            name: "NETDEV_VHOST_USER_CONNECTED",
            summary: "A guest or program has connected to a port",
            data: "NETDEV_VHOST_USER_CONNECTED-data"
        ),
        Event(
            name: "NETDEV_VHOST_USER_DISCONNECTED",
            summary: "A guest or program has left a port",
            data: "NETDEV_VHOST_USER_DISCONNECTED-data"
        ),
        Event(
            name: "NETDEV_STREAM_CONNECTED",
            summary: "A peer has connected to a stream port, or was connected to",
            data: "NETDEV_STREAM_CONNECTED-data"
        ),
        Event(
            name: "NETDEV_STREAM_DISCONNECTED",
            summary: "The peer of a stream port has gone",
            data: "NETDEV_STREAM_DISCONNECTED-data"
        ),
        Event(
            name: "NETDEV_ERROR",
            summary: "A port was stopped because its peer broke the rules",
            data: "NETDEV_ERROR-data"
        ),
    ]

    private static let allEnumerations: [Enumeration] = [
        Enumeration(name: "QMPCapability", values: ["oob"]),
        Enumeration(
            name: "NetClientDriver",
            values: [
                "netmap", "vhost-user", "tap", "bridge", "stream", "dgram", "socket", "user", "vde",
                "l2tpv3", "pcap", "packet", "af-xdp", "hubport", "host-stack",
            ]
        ),
        Enumeration(name: "AFXDPMode", values: ["native", "skb"]),
        Enumeration(name: "ChardevBackendKind", values: ["socket"]),
        Enumeration(name: "SocketAddressType", values: ["inet", "unix", "fd"]),
        Enumeration(name: "SocketAddressLegacyType", values: ["unix"]),
        Enumeration(name: "SwitchMode", values: SwitchOptions.Mode.allCases.map(\.rawValue)),
        Enumeration(name: "PortRole", values: ["server", "client"]),
        Enumeration(name: "OperState", values: ["UP", "DOWN", "LOWERLAYERDOWN"]),
        Enumeration(name: "FdbState", values: ["reachable", "static"]),
    ]
}
