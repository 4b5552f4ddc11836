// The types behind QEMU's socket netdevs.

extension Schema {
    /// Options and addresses of `stream`, `dgram` and `socket`.
    static let socketTypes: [ObjectType] = [
        hostPort(
            "NetdevStreamOptions",
            [
                .required("addr", .named("SocketAddress"), "where to listen, or to connect to"),
                .optional("server", .boolean, "listen instead of connecting, default off"),
                .optional("reconnect", .integer, "seconds between attempts to connect, default 1"),
                .optional("reconnect-ms", .integer, "the same in milliseconds; 0: one attempt"),
            ]
        ),
        hostPort(
            "NetdevDgramOptions",
            [
                .optional("local", .named("SocketAddress"), "where datagrams come to"),
                .optional("remote", .named("SocketAddress"), "where they go; or a group"),
            ]
        ),
        hostPort(
            "NetdevSocketOptions",
            [
                .optional("fd", .string, "a descriptor that getfd brought"),
                .optional("listen", .string, "[host]:port to listen on"),
                .optional("connect", .string, "host:port to connect to"),
                .optional("mcast", .string, "address:port of a multicast group"),
                .optional("localaddr", .string, "mcast: the interface's address; udp: host:port"),
                .optional("udp", .string, "host:port to send datagrams to"),
            ]
        ),
        ObjectType(
            "SocketAddress",
            [.required("type", .named("SocketAddressType"), "kind of the address")],
            tag: "type",
            variants: [
                Variant(value: "inet", type: "InetSocketAddress"),
                Variant(value: "unix", type: "UnixSocketAddress"),
                Variant(value: "fd", type: "FdSocketAddress"),
            ]
        ),
        ObjectType(
            "InetSocketAddress",
            [
                .required("host", .string, "name or address; empty: all of this host's"),
                .required("port", .string, "port number"),
                .optional("numeric", .boolean, "the host is an address; ask no name server"),
                .optional("keep-alive", .boolean, "probe idle connections, default off"),
                .optional("ipv4", .boolean, "whether to use IPv4"),
                .optional("ipv6", .boolean, "whether to use IPv6"),
            ]
        ),
        ObjectType(
            "FdSocketAddress",
            [.required("str", .string, "name of a descriptor that getfd brought")]
        ),
    ]
}
