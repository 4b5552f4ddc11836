// wirevale switch: what ports meet on.

internal import ArgumentParser
internal import Control

struct SwitchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "switch",
        abstract: "Show, make and change switches.",
        discussion: """
            EXAMPLES:
              wirevale switch list
              wirevale switch set vale0 --ageing 60     forget after a minute
              wirevale switch set vale0 --ageing 0      never forget addresses
              wirevale switch add vale7 --mode wire     joins two ports, and is nothing else

            A switch appears with its first port and goes with its last one; one that was made with
            'switch add' stays until 'switch del'.
            """,
        subcommands: [List.self, Add.self, Del.self, Set.self],
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
                ("SWITCH", .left), ("MODE", .left), ("PORTS", .right), ("ADDRESSES", .right),
                ("ROOM", .right),
                ("AGEING", .right), ("MOVES", .right), ("FLOODS", .right),
            ])
            for entry in result.arrayValue ?? [] {
                let fdb = entry["fdb"] ?? [:]
                table.add([
                    entry.text("ifname"), entry.text("mode"), entry.text("ports"),
                    fdb.text("entries"),
                    fdb.text("size"), fdb["ageing"] == 0 ? "never" : fdb.text("ageing") + "s",
                    fdb.text("moves"), fdb.text("floods"),
                ])
            }
            Terminal.output(table.text())
        }
    }
}
