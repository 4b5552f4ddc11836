// wirevale port set: what can be changed about a port while frames pass.

internal import ArgumentParser
internal import Control

extension PortCommand {
    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change a port while frames pass.",
            discussion: """
                EXAMPLES:
                  wirevale port set vale0:web --vlan 10      an access port of VLAN 10
                  wirevale port set vale0:up --trunks 10,20-30 --native-vlan 1
                  wirevale port set vale0:web --tx-rate 100mbit --storm-limit 1000
                  wirevale port set vale0:web --vlan 0 --tx-rate off
                  wirevale port set vale0:a --lossless       a program's senders wait for it
                  wirevale port set vale0:r --run            a replay goes on, or begins again

                What is not mentioned stays as it is. A guest's port is made lossless when it is
                added: 'port add --lossless', or lossless=on with 'wirevale qemu'.
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
        @OptionGroup(title: "Rules") var policy: PolicyOptions
        @OptionGroup var engine: EngineOptions

        func run() throws {
            var arguments = policy.members
            arguments["lossless"] = lossless.map { .bool($0) }
            arguments["lossless-timeout"] = losslessTimeout.map { .integer($0) }
            arguments["run"] = isRunning.map { .bool($0) }
            guard !arguments.isEmpty else {
                throw ValidationError(
                    "nothing to set; 'wirevale port set --help' lists what can be"
                )
            }
            arguments["name"] = .string(name)
            _ = try engine.connect().execute("port-set", arguments)
        }
    }
}
