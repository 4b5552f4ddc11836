// The options that all clients share, and how they reach the engine.

internal import ArgumentParser
internal import Control

/// The version as `--version` prints it.
enum EngineVersionText {
    static let text = EngineVersion.current.text
}

/// Which engine to talk to.
struct EngineOptions: ParsableArguments {
    @Option(
        name: .customLong("runtime-dir"),
        help: ArgumentHelp(
            "Directory of the engine's sockets.",
            discussion: """
                Default: $WIREVALE_RUNTIME_DIR, else /run/wirevale for root, else \
                $XDG_RUNTIME_DIR/wirevale, else /tmp/wirevale-UID.
                """,
            valueName: "dir"
        )
    )
    var runtimeDir: String?

    var directory: RuntimeDirectory { RuntimeDirectory(option: runtimeDir) }

    /// Connects to the running engine; to start one only to find it empty would help nobody.
    func connect() throws -> ControlClient {
        let launcher = EngineLauncher(directory)
        guard let client = try launcher.connectIfRunning() else {
            throw Failure(
                .unavailable,
                "no engine is running at \(directory.controlSocket); 'wirevale serve', "
                    + "'wirevale port add' and 'wirevale qemu' start one"
            )
        }
        return client
    }

    /// Connects to the engine and starts it if need be.
    func connectOrStart() throws -> ControlClient { try EngineLauncher(directory).connect() }

    /// The same for a process that turns into another program: another process starts the engine,
    /// or the program would find itself the parent of an engine that it knows nothing of.
    func connectFromOutside() throws -> ControlClient {
        if let client = try EngineLauncher(directory).connectIfRunning() { return client }
        let words = ["/proc/self/exe", "launch", "--runtime-dir", directory.path]
        guard let run = ProgramRun.run(words, timeout: .seconds(15)) else {
            throw Failure(.unavailable, "cannot run /proc/self/exe to start the engine")
        }
        guard run.status == 0 else {
            let status = run.status.flatMap(ExitStatus.init(rawValue:)) ?? .unavailable
            // The message was made for a terminal; it gets its name and newline again.
            let output = run.output[...]
            let text = output.hasPrefix("wirevale: ") ? output.dropFirst(10).dropLast() : output
            throw Failure(status, text.isEmpty ? "the engine did not start" : String(text))
        }
        return try connect()
    }
}

/// How to print.
struct OutputOptions: ParsableArguments {
    @Flag(name: .shortAndLong, help: "Print JSON, with the field names of iproute2.")
    var json = false
}

/// Starts the engine if none runs; what `qemu` and `shim` run before they turn into other programs,
/// so that the engine does not become a child of those.
struct Launch: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Start the engine unless it runs.",
        shouldDisplay: false
    )

    @OptionGroup var engine: EngineOptions

    func run() throws { _ = try engine.connectOrStart() }
}
