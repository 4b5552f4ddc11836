// wirevale port set: what can be changed about a port while frames pass.

internal import ArgumentParser
internal import Control

extension PortCommand {
    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change a netmap program's port while it is open.",
            discussion: """
                EXAMPLES:
                  wirevale port set vale0:a --lossless       its senders wait for it
                  wirevale port set vale0:a --no-lossless    frames that it has no room for are lost

                A guest's port is made lossless when it is added: 'port add --lossless', or
                lossless=on with 'wirevale qemu'.
                """
        )

        @Argument(help: "The port: switch:port, or its id.")
        var name: String
        @Flag(
            inversion: .prefixedNo,
            help: "Have senders wait while the port is full, instead of losing their frames."
        )
        var lossless: Bool
        @Option(
            help: ArgumentHelp(
                "How long they wait for a port that takes nothing; 0 for ever.",
                valueName: "ms"
            )
        )
        var losslessTimeout: Int?
        @OptionGroup var engine: EngineOptions

        func run() throws {
            var arguments: JSONObject = ["name": .string(name), "lossless": .bool(lossless)]
            if let losslessTimeout { arguments["lossless-timeout"] = .integer(losslessTimeout) }
            _ = try engine.connect().execute("port-set", arguments)
        }
    }
}
