// QEMU's `-netdev user`: the guest reaches the outside as the engine's user does. passt does it; what
// passt cannot do is refused here, by the name of the member.

/// The options of a `user` port.
public struct UserOptions: BackendOptions {
    /// The name of the kind.
    public static let type = "user"
    /// The IPv4 network; nil without IPv4.
    public let network: UserNetwork?
    /// The IPv6 network, if it is not the host's.
    public let network6: UserNetwork6?
    /// Whether there may be IPv6.
    public let hasIPv6: Bool
    /// Whether the guest is to reach nobody.
    public let isRestricted: Bool
    /// What comes in.
    public let forwards: [HostForward]
    /// Domains that names are looked up in.
    public let searchList: [String]
    /// The longest payload of a frame, as the guest is told.
    public let mtu: Int
    private let given: JSONObject

    /// What passt has nothing like, and what to do instead.
    static let impossible = [
        ("hostname", "passt gives no name to guests; set it in the guest"),
        ("domainname", "passt gives no domain to guests; use dnssearch"),
        ("tftp", "passt has no TFTP server"),
        ("bootfile", "passt has no TFTP server to boot from"),
        ("tftp-server-name", "passt has no TFTP server to name"),
        ("smb", "passt runs no Samba; the host's own is at the address 'host'"),
        ("smbserver", "passt runs no Samba; the host's own is at the address 'host'"),
        ("guestfwd", "passt forwards to servers only; those of the host are at the address 'host'"),
    ]

    init(_ arguments: JSONObject) throws(QMPError) {
        for (name, why) in Self.impossible where arguments[name] != nil {
            throw QMPError("Parameter '\(name)' cannot be had: \(why)")
        }
        let (ipv4, ipv6) = try Self.families(arguments)
        network = ipv4 ? try UserNetwork(arguments) : nil
        hasIPv6 = ipv6
        network6 = ipv6 ? try UserNetwork6(arguments) : nil
        isRestricted = arguments["restrict"]?.boolValue ?? false
        var rules: [HostForward] = []
        for element in arguments["hostfwd"]?.arrayValue ?? [] {
            rules.append(try HostForward(element["str"]?.stringValue ?? ""))
        }
        forwards = rules
        for rule in forwards {
            guard let address = rule.guestAddress, address != network?.guest else { continue }
            throw .expects(
                "hostfwd",
                "the guest's address to be left out or \(network?.guest ?? "IPv4"), which passt "
                    + "forwards to; not '\(rule)'"
            )
        }
        guard !isRestricted || forwards.isEmpty else {
            throw QMPError(
                "Parameter 'restrict' cannot be had with 'hostfwd': passt cannot tell who began; "
                    + "leave one of them out"
            )
        }
        var list: [String] = []
        for element in arguments["dnssearch"]?.arrayValue ?? [] {
            let domain = element["str"]?.stringValue ?? ""
            guard !domain.isEmpty, !domain.contains(where: \.isWhitespace) else {
                throw .expects("dnssearch", "domains, not '\(domain)'")
            }
            list.append(domain)
        }
        searchList = list
        mtu = arguments["mtu"]?.integerValue ?? 1500
        guard (1280...65520).contains(mtu) else {
            throw .expects("mtu", "a number from 1280 to 65520, not \(mtu)")
        }
        given = arguments.keeping(Self.kept)
    }

    /// One family that is asked for leaves out the other, as in QEMU.
    private static func families(
        _ arguments: JSONObject
    ) throws(QMPError) -> (ipv4: Bool, ipv6: Bool) {
        let ipv4 = arguments["ipv4"]?.boolValue
        let ipv6 = arguments["ipv6"]?.boolValue
        let result = (ipv4: ipv4 ?? (ipv6 != true), ipv6: ipv6 ?? (ipv4 != true))
        guard result.ipv4 || result.ipv6 else {
            throw QMPError("Parameters 'ipv4' and 'ipv6' are both off; leave one of them on")
        }
        let wrong = result.ipv4 ? UserNetwork6.members : UserNetwork.members + ["hostfwd"]
        if !(result.ipv4 && result.ipv6), let name = wrong.first(where: { arguments[$0] != nil }) {
            throw QMPError(
                "Parameter '\(name)' says nothing without \(result.ipv4 ? "IPv6" : "IPv4"); "
                    + "leave it out, or give both ipv4=on and ipv6=on"
            )
        }
        return result
    }

    private static let kept = Set(
        UserNetwork.members + UserNetwork6.members
            + ["restrict", "ipv4", "ipv6", "hostfwd", "dnssearch", "mtu"]
    )

    /// The arguments that were given.
    public var members: JSONObject { given }
}
