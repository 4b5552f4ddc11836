// wirevale monitor: the engine's human monitor, for those who know QEMU's.

internal import ArgumentParser
internal import Control
internal import Glibc

struct Monitor: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Talk to the engine's monitor, as QEMU's users know it.",
        discussion: """
            EXAMPLES:
              wirevale monitor                  a prompt; 'help' lists commands
              wirevale monitor info network     one command
              wirevale monitor host_net_add netmap,ifname=vale0:vm1
              wirevale monitor < commands       commands from a file or a pipe
              wirevale monitor --events         one JSON object to a line
            """
    )

    @Flag(help: "Print events until interrupted.")
    var events = false
    @OptionGroup var engine: EngineOptions
    @Argument(
        parsing: .captureForPassthrough,
        help: "One command to run; without it, commands are read from standard input."
    )
    var line: [String] = []

    func run() throws {
        let client = try engine.connectOrStart()
        if events { return try printEvents(client) }
        guard line.isEmpty else {
            guard try perform(line.joined(separator: " "), client) else {
                throw ExitCode(ExitStatus.failure.rawValue)
            }
            return
        }
        try converse(client)
    }

    private func converse(_ client: ControlClient) throws {
        let isInteractive = Terminal.isInputInteractive && Terminal.isOutputInteractive
        if isInteractive {
            let version = client.greeting["QMP"]?["version"]?.text("package") ?? "an engine"
            Terminal.output("\(version) monitor - type 'help' for more information\n")
        }
        var isAllRight = true
        while true {
            if isInteractive { Terminal.output("(wirevale) ") }
            guard let line = readLine() else { break }
            isAllRight = try perform(line, client) && isAllRight
        }
        if isInteractive { Terminal.output("\n") }
        // At a prompt the user has seen each error; a script sees only the status.
        if !isInteractive, !isAllRight { throw ExitCode(ExitStatus.failure.rawValue) }
    }

    /// Runs a line and prints its answer; false when the answer is an error.
    private func perform(_ line: String, _ client: ControlClient) throws -> Bool {
        let arguments: JSONObject = ["command-line": .string(line)]
        let answer = try client.execute("human-monitor-command", arguments).stringValue ?? ""
        Terminal.output(answer)
        let marks = ["Error:", "unknown command:"]
        return !marks.contains { answer.hasPrefix($0) } && !answer.contains("extraneous characters")
    }

    private func printEvents(_ client: ControlClient) throws {
        client.onEvent = { Terminal.output($0.json.description + "\n") }
        while true { try client.waitForEvents(until: .now + .seconds(3600)) }
    }
}
