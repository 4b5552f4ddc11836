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
}

/// How to print.
struct OutputOptions: ParsableArguments {
    @Flag(name: .shortAndLong, help: "Print JSON, with the field names of iproute2.")
    var json = false
}

/// Starts the engine if none runs; what `qemu` runs before it turns into QEMU, so that the engine
/// does not become a child of a guest.
struct Launch: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Start the engine unless it runs.",
        shouldDisplay: false
    )

    @OptionGroup var engine: EngineOptions

    func run() throws { _ = try engine.connectOrStart() }
}
