// wirevale port set: what can be changed about a port while frames pass.

internal import ArgumentParser
internal import Control

extension PortCommand {
    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change a port of a netmap program, or a replay, while frames pass.",
            discussion: """
                EXAMPLES:
                  wirevale port set vale0:a --lossless       its senders wait for it
                  wirevale port set vale0:a --no-lossless    frames that it has no room for are lost
                  wirevale port set vale0:r --run            a replay goes on, or begins again

                A guest's port is made lossless when it is added: 'port add --lossless', or
                lossless=on with 'wirevale qemu'.
                """
        )

        @Argument(help: "The port: switch:port, or its id.")
        var name: String
        @Flag(
            name: .customLong("run"),
            inversion: .prefixedNo,
            help: "Go on with a replay, or begin again at its end; or stop it."
        )
        var isRunning: Bool?
        @Flag(
            inversion: .prefixedNo,
            help: "Have senders wait while the port is full, instead of losing their frames."
        )
        var lossless: Bool?
        @Option(
            help: ArgumentHelp(
                "How long they wait for a port that takes nothing; 0 for ever.",
                valueName: "ms"
            )
        )
        var losslessTimeout: Int?
        @OptionGroup var engine: EngineOptions

        func validate() throws {
            if isRunning == nil, lossless == nil {
                throw ValidationError("nothing to set; give --lossless, --run or their opposites")
            }
        }

        func run() throws {
            var arguments: JSONObject = ["name": .string(name)]
            arguments["lossless"] = lossless.map { .bool($0) }
            arguments["run"] = isRunning.map { .bool($0) }
            if let losslessTimeout { arguments["lossless-timeout"] = .integer(losslessTimeout) }
            _ = try engine.connect().execute("port-set", arguments)
        }
    }
}
