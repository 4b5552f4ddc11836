// The table of the human monitor's commands and the help that is made of it.

extension MonitorCommand {
    /// A command as help shows it.
    struct Entry: Sendable {
        let name: String
        let arguments: String
        let summary: String

        var line: String {
            "\(name)\(arguments.isEmpty ? "" : " " + arguments) -- \(summary)"
        }
    }

    private static let netdevs = Schema.wirevale.tagValues(of: "Netdev").joined(separator: "|")

    static let table: [Entry] = [
        Entry(name: "help", arguments: "[cmd]", summary: "show the help"),
        Entry(
            name: "info",
            arguments: "[\(Info.allCases.map(\.rawValue).joined(separator: "|"))] [name]",
            summary: "show various information about the engine"
        ),
        Entry(
            name: "netdev_add",
            arguments: "[\(netdevs)],id=str[,prop=value][,...]",
            summary: "add a port to a switch"
        ),
        Entry(name: "netdev_del", arguments: "id", summary: "remove a port"),
        Entry(
            name: "host_net_add",
            arguments: "\(netdevs) [options]",
            summary: "add a port; the older spelling, in which id may be left out"
        ),
        Entry(
            name: "host_net_remove",
            arguments: "id",
            summary: "remove a port; the older spelling"
        ),
        Entry(
            name: "set_link",
            arguments: "name on|off",
            summary: "plug or unplug the cable of a port"
        ),
        Entry(
            name: "chardev-add",
            arguments: "socket,id=str,path=path[,server=on|off][,reconnect=seconds]",
            summary: "add a socket for a vhost-user port"
        ),
        Entry(name: "chardev-remove", arguments: "id", summary: "remove a socket"),
        Entry(
            name: "hostfwd_add",
            arguments: "[id] " + HostForward.form,
            summary: "says how a rule is added to a user port"
        ),
        Entry(
            name: "hostfwd_remove",
            arguments: "[id] " + HostForward.form,
            summary: "says how a rule is removed from a user port"
        ),
        Entry(name: "quit", arguments: "", summary: "stop the engine"),
    ]

    private static let aliases = ["?": "help", "q": "quit"]

    static func entry(_ name: String) -> Entry? {
        table.first { $0.name == aliases[name] ?? name }
    }

    static func help(_ name: String?, _ second: String?) throws(QMPError) -> String {
        guard let name else { return table.map(\.line).joined(separator: "\n") }
        guard let entry = entry(name) else { throw QMPError("unknown command: '\(name)'") }
        switch entry.name {
        case "info": return infoHelp
        case "netdev_add", "host_net_add": return entry.line + "\n" + netdevHelp(type: second)
        default: return entry.line
        }
    }

    static let infoHelp = Info.allCases.map { info in
        switch info {
        case .network: "info network [name] -- show switches and their ports"
        case .fdb: "info fdb [switch] -- show which addresses are behind which port"
        case .workers: "info workers -- show the threads that move frames"
        case .chardev: "info chardev -- show the sockets made by chardev-add"
        case .guests: "info guests -- show the guests that NICs can be plugged into"
        case .usernet: "info usernet -- show the ports that lead to the outside"
        case .version: "info version -- show the version of the engine"
        }
    }.joined(separator: "\n")

    /// The members of each netdev type, or of one, from the schema.
    public static func netdevHelp(type: String?) -> String {
        let schema = Schema.wirevale
        let all = schema.tagValues(of: "Netdev")
        let shown = all.filter { $0 == type }
        return (shown.isEmpty ? all : shown).map { type in
            let members = schema.members(of: "Netdev", tag: type).filter { $0.name != "type" }
            let shown = members.flatMap { lines(of: $0, in: schema) }
            return "\(type) options:\n" + shown.joined(separator: "\n")
        }.joined(separator: "\n")
    }

    /// The line of a member, or those of the members that it has itself.
    private static func lines(of member: Schema.Member, in schema: Schema) -> [String] {
        if case .named(let type) = member.type, let object = schema.objects[type] {
            let inner =
                object.members
                + object.variants.flatMap { variant in
                    schema.members(of: variant.type, tag: nil).map { inner in
                        .optional(inner.name, inner.type, "\(variant.value): \(inner.summary)")
                    }
                }
            return inner.flatMap { inner in
                lines(
                    of: .optional("\(member.name).\(inner.name)", inner.type, inner.summary),
                    in: schema
                )
            }
        }
        let name = "  \(member.name)=<\(member.type.name)>"
        let padding = String(repeating: " ", count: max(1, 24 - name.count))
        return [
            name + padding + "- " + member.summary + (member.isOptional ? " (optional)" : "")
        ]
    }
}
