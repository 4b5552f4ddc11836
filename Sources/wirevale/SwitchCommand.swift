// wirevale switch: what ports meet on.

internal import ArgumentParser
internal import Control

struct SwitchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "switch",
        abstract: "Show switches and change their settings.",
        discussion: """
            EXAMPLES:
              wirevale switch list
              wirevale switch set vale0 --ageing 60     forget after a minute
              wirevale switch set vale0 --ageing 0      never forget addresses

            A switch appears with its first port and goes with its last one.
            """,
        subcommands: [List.self, Set.self],
        defaultSubcommand: List.self
    )

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show switches (the default).")

        @OptionGroup var output: OutputOptions
        @OptionGroup var engine: EngineOptions

        func run() throws {
            let result = try engine.connect().execute("query-switches")
            guard !output.json else { return print(result.prettyDescription) }
            var table = TextTable([
                ("SWITCH", .left), ("PORTS", .right), ("ADDRESSES", .right), ("ROOM", .right),
                ("AGEING", .right), ("MOVES", .right), ("FLOODS", .right),
            ])
            for entry in result.arrayValue ?? [] {
                let fdb = entry["fdb"] ?? [:]
                table.add([
                    entry.text("ifname"), entry.text("ports"), fdb.text("entries"),
                    fdb.text("size"), fdb["ageing"] == 0 ? "never" : fdb.text("ageing") + "s",
                    fdb.text("moves"), fdb.text("floods"),
                ])
            }
            Terminal.output(table.text())
        }
    }

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Change settings of a switch.")

        @Argument(help: "The switch, such as vale0.")
        var name: String
        @Option(help: "Seconds until a learned address is forgotten; 0: never.")
        var ageing: Int?
        @OptionGroup var engine: EngineOptions

        func validate() throws {
            if ageing == nil { throw ValidationError("nothing to set; give --ageing SECONDS") }
            if let ageing, ageing < 0 { throw ValidationError("--ageing is 0 or more seconds") }
        }

        func run() throws {
            try ValePortName.check(switch: name)
            var arguments: JSONObject = ["switch": .string(name)]
            arguments["ageing"] = ageing.map { .integer($0) }
            _ = try engine.connect().execute("switch-set", arguments)
        }
    }
}
