// wirevale fdb: which address is behind which port, in the manner of iproute2's `bridge fdb`.

internal import ArgumentParser
internal import Control

struct Fdb: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show and change forwarding tables.",
        discussion: """
            EXAMPLES:
              wirevale fdb                      all addresses
              wirevale fdb show vale0 --json    as 'bridge -j fdb' prints them
              wirevale fdb add 52:54:00:00:00:01 vale0:vm1
                                                never aged, never moved
              wirevale fdb del 52:54:00:00:00:01 vale0
              wirevale fdb flush vale0          forget what was learned
            """,
        subcommands: [Show.self, Add.self, Del.self, Flush.self],
        defaultSubcommand: Show.self
    )

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show addresses (the default).")

        @Argument(help: "Only this switch, such as vale0.")
        var name: String?
        @OptionGroup var output: OutputOptions
        @OptionGroup var engine: EngineOptions

        func run() throws {
            let arguments: JSONObject = name.map { ["switch": .string($0)] } ?? [:]
            let entries =
                try engine.connect().execute("query-fdb", arguments).arrayValue ?? []
            if output.json {
                let shaped = entries.map { entry -> JSONValue in
                    var object = entry.objectValue ?? [:]
                    object["flags"] = object["flags"] ?? []
                    return .object(object)
                }
                return print(JSONValue.array(shaped).prettyDescription)
            }
            var table = TextTable([
                ("ADDRESS", .left), ("PORT", .left), ("SWITCH", .left), ("VLAN", .right),
                ("STATE", .left), ("AGE", .right),
            ])
            for entry in entries {
                table.add([
                    entry.text("mac"), entry.text("ifname"), entry.text("master"),
                    entry.text("vlan"), entry.text("state"), entry["age"].map { "\($0)s" } ?? "",
                ])
            }
            Terminal.output(table.text())
        }
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Tie an address to a port.")

        @Argument(help: "The address, such as 52:54:00:00:00:01.")
        var mac: String
        @Argument(help: "The port, such as vale0:vm1.")
        var port: String
        @Option(help: "The VLAN in which it is there; none if left out.")
        var vlan: Int?
        @OptionGroup var engine: EngineOptions

        func run() throws {
            let port = try ValePortName(port)
            var arguments: JSONObject = ["mac": .string(mac), "ifname": .string(port.description)]
            arguments["vlan"] = vlan.map { .integer($0) }
            _ = try engine.connect().execute("fdb-add", arguments)
        }
    }

    struct Del: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Forget an address.")

        @Argument(help: "The address, such as 52:54:00:00:00:01.")
        var mac: String
        @Argument(help: "The switch, such as vale0.")
        var name: String
        @Option(help: "The VLAN in which it is there; none if left out.")
        var vlan: Int?
        @OptionGroup var engine: EngineOptions

        func run() throws {
            try ValePortName.check(switch: name)
            var arguments: JSONObject = ["mac": .string(mac), "switch": .string(name)]
            arguments["vlan"] = vlan.map { .integer($0) }
            _ = try engine.connect().execute("fdb-del", arguments)
        }
    }

    struct Flush: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Forget learned addresses.")

        @Argument(help: "The switch, such as vale0.")
        var name: String
        @Option(help: "Only what was learned on this port, such as vale0:vm1.")
        var port: String?
        @OptionGroup var engine: EngineOptions

        func run() throws {
            try ValePortName.check(switch: name)
            var arguments: JSONObject = ["switch": .string(name)]
            arguments["ifname"] = try port.map { .string(try ValePortName($0).description) }
            _ = try engine.connect().execute("fdb-flush", arguments)
        }
    }
}
