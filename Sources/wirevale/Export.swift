// wirevale export: the other way round, a file of what the engine has.

internal import ArgumentParser
internal import Control

struct Export: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print a configuration file that describes what the engine has.",
        discussion: """
            EXAMPLES:
              wirevale export > lab.yaml
              wirevale export --json | jq .

            Ports that go with a program, a connection or a guest are left out; comments name them.
            """
    )

    @OptionGroup var output: OutputOptions
    @OptionGroup var engine: EngineOptions

    func run() throws {
        var leftOut: [ValePortName] = []
        let configuration = Configuration(try engine.connect().runningState(), leftOut: &leftOut)
        guard output.json else { return Terminal.output(configuration.yaml(leftOut: leftOut)) }
        print(configuration.json.prettyDescription)
    }
}

extension ControlClient {
    /// What the engine has, as far as files can describe it.
    func runningState() throws -> RunningState {
        RunningState(try RunningState.queries.map { try execute($0) })
    }
}
