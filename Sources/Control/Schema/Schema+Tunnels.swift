// Ports that lead elsewhere: QEMU's user, vde and l2tpv3, with the members of its schema.

extension Schema {
    private static let strings = TypeReference.array(of: .named("String"))

    static let tunnelTypes: [ObjectType] = [
        // QAPI's own: an element of a list that a command line gives one by one.
        ObjectType("String", [.required("str", .string)]),
        hostPort(
            "NetdevUserOptions",
            [
                .optional("net", .string, "the guest's network, default 10.0.2.0/24"),
                .optional("host", .string, "stands for this host there, default its .2"),
                .optional("dhcpstart", .string, "what DHCP gives out, default its .15"),
                .optional("dns", .string, "name server there, default its .3"),
                .optional("dnssearch", strings, "domains that names are looked up in"),
                .optional("hostfwd", strings, HostForward.form + ": what comes in"),
                .optional("restrict", .boolean, "reach nobody outside, default off"),
                .optional("ipv4", .boolean, "default on, unless ipv6=on is given alone"),
                .optional("ipv6", .boolean, "default on, unless ipv4=on is given alone"),
                .optional("ipv6-prefix", .string, "its IPv6 network; the host's if left out"),
                .optional("ipv6-prefixlen", .integer, "only 64"),
                .optional("ipv6-host", .string, "stands for this host there, default its ::2"),
                .optional("ipv6-dns", .string, "name server there, default its ::3"),
                .optional("mtu", .integer, "what the guest is told, default 1500"),
            ]
                + UserOptions.impossible.map { name, why in
                    let isList = name == "guestfwd"
                    return .optional(name, isList ? strings : .string, "not to be had: " + why)
                }
        ),
        ObjectType(
            "NetdevVdeOptions",
            [
                .required("ifname", .string, "switch port, switch:port, such as vale0:vde"),
                .optional("sock", .string, "directory of the VDE switch, default /var/run/vde.ctl"),
                .optional("port", .integer, "port of the VDE switch; any if left out"),
                .optional("group", .string, "group of the sockets"),
                .optional("mode", .integer, "permissions of the sockets, default 0700"),
                .optional("server", .boolean, "be the VDE switch at sock that clients plug into"),
                ephemeral, lossless, losslessTimeout,
            ]
        ),
        hostPort(
            "NetdevL2TPv3Options",
            [
                .required("src", .string, "our address"),
                .required("dst", .string, "the peer's address"),
                .optional("srcport", .string, "our UDP port"),
                .optional("dstport", .string, "the peer's UDP port"),
                .optional("ipv6", .boolean, "addresses are of IPv6, default off"),
                .optional("udp", .boolean, "over UDP, not over IP, default off"),
                .optional("cookie64", .boolean, "cookies have 64 bits, not 32, default off"),
                .optional("counter", .boolean, "frames are counted in the header, default off"),
                .optional("pincounter", .boolean, "that counter stays 0, default off"),
                .optional("txcookie", .integer, "the cookie that is sent"),
                .optional("rxcookie", .integer, "the cookie that is expected"),
                .required("txsession", .integer, "the session that is sent"),
                .optional("rxsession", .integer, "the session that is expected, default txsession"),
                .optional("offset", .integer, "bytes between header and frame, default 0"),
            ]
        ),
    ]
}
