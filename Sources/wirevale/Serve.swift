// `wirevale serve`: runs the engine in the foreground.

public import ArgumentParser
import Control
public import Engine
import Glibc
import Logging

struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the engine: switches, ports and the threads that move frames.",
        discussion: """
            EXAMPLES
              wirevale serve                        one worker, until SIGTERM
              wirevale serve --workers 2 --cpus 2,3 two workers, pinned
              wirevale serve --log-format json      one JSON object per log line
              wirevale serve --config lab.yaml      with the switches and ports of a file

            Needs no privileges. Other commands start an engine by themselves when none runs.

            Configuration files are read at the start and again at SIGHUP ('systemctl reload'). An engine in \
            its default directory reads /etc/wirevale/*.yaml if it is root's, else ~/.config/wirevale/*.yaml. \
            What is wrong in a file is logged with its line, and the file is left out.
            """
    )

    @OptionGroup var engine: EngineOptions

    @Option(help: "How many threads move frames.")
    var workers = 1

    @Option(help: "Processors to pin workers to, in turn, for example 2,3.")
    var cpus: String?

    @Option(help: "Microseconds that a worker without work polls before it sleeps.")
    var pollUs = 30

    @Option(help: "How log lines look: text or json.")
    var logFormat = LogFormat.text

    @Option(help: "What is logged: trace, debug, info, notice, warning, error or critical.")
    var logLevel = "info"

    @Option(help: ArgumentHelp("Configuration: a file, or a directory of them.", valueName: "path"))
    var config: [String] = []

    @Flag(help: "Read no configuration files.")
    var noConfig = false

    @Flag(help: "Leave when the last port has been gone for a few seconds.")
    var onDemand = false

    func validate() throws {
        if noConfig, !config.isEmpty {
            throw ValidationError("--config and --no-config exclude each other")
        }
        guard (1...63).contains(workers) else {
            throw ValidationError("--workers takes a number from 1 to 63, not \(workers)")
        }
        guard (0...1_000_000).contains(pollUs) else {
            throw ValidationError("--poll-us takes a number from 0 to 1000000, not \(pollUs)")
        }
        guard Logger.Level(rawValue: logLevel) != nil else {
            throw ValidationError(
                "--log-level does not know '\(logLevel)'; write "
                    + Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
            )
        }
        _ = try processors()
    }

    /// The numbers in `--cpus`, each of which must exist.
    private func processors() throws -> [Int] {
        guard let cpus else { return [] }
        let online = sysconf(Int32(_SC_NPROCESSORS_CONF))
        return try cpus.split(separator: ",", omittingEmptySubsequences: false).map { word in
            guard let cpu = Int(word), cpu >= 0, cpu < online else {
                throw ValidationError(
                    "--cpus: '\(word)' is not a processor; this machine has 0 to \(online - 1)"
                )
            }
            return cpu
        }
    }

    func run() throws {
        let format = logFormat
        LoggingSystem.bootstrap { _ in EngineLogHandler(format: format) }
        var logger = Logger(label: "wirevale")
        logger.logLevel = Logger.Level(rawValue: logLevel) ?? .info
        var configuration = Engine.Configuration(runtime: engine.directory)
        configuration.workers = workers
        configuration.cpus = try processors()
        configuration.spinMicroseconds = pollUs
        configuration.isOnDemand = onDemand
        configuration.files = config
        if config.isEmpty, !noConfig {
            configuration.files =
                ConfigurationFiles.defaultPath(for: engine.directory).map { [$0] } ?? []
            configuration.mayFilesBeMissing = true
        }
        do throws(Engine.StartError) {
            try Engine(configuration, logger: logger).run()
        } catch {
            switch error.kind {
            case .alreadyRunning: throw Failure(.tryAgain, error.description)
            case .cannotCreate: throw Failure(.cannotCreate, error.description)
            case .permission: throw Failure(.noPermission, error.description)
            }
        }
    }
}

extension LogFormat: ExpressibleByArgument {}
