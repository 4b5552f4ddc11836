// A capture that lasts as long as its command, or is left to the engine.

internal import ArgumentParser
internal import Control
internal import Glibc
internal import Synchronization

extension Capture {
    struct Run: ParsableCommand {
        enum Direction: String, ExpressibleByArgument, CaseIterable {
            case `in`, out, `inout`
        }

        enum Format: String, ExpressibleByArgument, CaseIterable { case pcap, pcapng }

        static let configuration = CommandConfiguration(
            commandName: "run",
            abstract: "Capture (the default)."
        )

        @Argument(help: "The port, switch:port or its id; or a switch, for all its ports.")
        var name: String
        @Option(
            name: .customShort("w"),
            help: ArgumentHelp("The file; '-' is a pipe.", valueName: "file")
        )
        var file = "-"
        @Option(
            name: .customShort("s"),
            help: ArgumentHelp("Bytes of a frame that are kept.", valueName: "snaplen")
        )
        var snapLength: Int?
        @Option(
            name: .customShort("c"),
            help: ArgumentHelp("End after so many frames.", valueName: "count")
        )
        var count: Int?
        @Option(
            name: .customShort("C"),
            help: ArgumentHelp("Begin another file after so many million bytes.", valueName: "MB")
        )
        var megabytes: Int?
        @Option(
            name: .customShort("G"),
            help: ArgumentHelp(
                "Begin another file after so many seconds; strftime names it.",
                valueName: "seconds"
            )
        )
        var seconds: Int?
        @Option(
            name: .customShort("W"),
            help: ArgumentHelp(
                "With -C, so many files in turn; with -G, end after so many.",
                valueName: "count"
            )
        )
        var files: Int?
        @Option(
            name: .customShort("Q"),
            help: ArgumentHelp(
                "Only frames from the port (in), or to it (out).",
                valueName: "direction"
            )
        )
        var direction = Direction.inout
        @Option(
            name: .customShort("B"),
            help: ArgumentHelp("Memory for frames that are not written yet.", valueName: "KiB")
        )
        var kibibytes: Int?
        @Option(help: "pcapng, or pcap, which has no directions and no reasons of drops.")
        var format: Format?
        @Option(help: "Name of the capture; made of the port's if left out.")
        var id: String?
        @Flag(help: "Leave the capture to the engine, and return at once.")
        var detach = false
        @OptionGroup var engine: EngineOptions
        @Argument(help: "Which frames, in tcpdump's language.")
        var filter: [String] = []

        func validate() throws {
            if file == "-", megabytes ?? seconds ?? files != nil {
                throw ValidationError("-C, -G and -W need a file: -w FILE")
            }
            if file == "-", detach { throw ValidationError("--detach needs a file: -w FILE") }
        }

        func run() throws {
            if file == "-", Terminal.isOutputInteractive {
                throw Failure(
                    .usage,
                    "captures are no text: give a file with -w, or a pipe: | tcpdump -n -r -"
                )
            }
            let client = try engine.connect()
            let identifier = id ?? defaultIdentifier
            if file != "-" {
                try add(client, identifier, path: absolute(file))
                if detach { return print(identifier) }
                return try wait(client, identifier)
            }
            try stream(client, identifier)
        }

        private var defaultIdentifier: String {
            let name = String(name.map { $0 == ":" ? "-" : $0 })
            return detach ? name : "\(name)-\(getpid())"
        }

        private func absolute(_ path: String) -> String {
            guard !path.hasPrefix("/"), let here = unsafe getcwd(nil, 0) else { return path }
            defer { unsafe free(here) }
            return unsafe String(cString: here) + "/" + path
        }

        private func add(_ client: ControlClient, _ identifier: String, path: String) throws {
            var arguments: JSONObject = [
                "id": .string(identifier), "name": .string(name), "file": .string(path),
                "direction": .string(direction.rawValue), "ephemeral": .bool(!detach),
            ]
            arguments["format"] = format.map { .string($0.rawValue) }
            if !filter.isEmpty { arguments["filter"] = .string(filter.joined(separator: " ")) }
            let numbers = [
                ("snaplen", snapLength), ("count", count),
                ("file-size", megabytes.map { $0 * 1_000_000 }), ("rotate-seconds", seconds),
                ("files", files), ("buffer", kibibytes.map { $0 * 1024 }),
            ]
            for (name, value) in numbers { arguments[name] = value.map { .integer($0) } }
            do throws(QMPError) {
                _ = try DumpOptions(arguments)
            } catch {
                throw Failure(.usage, error.description)
            }
            // A name in the filter may have to be looked up.
            _ = try client.execute("dump-add", arguments, timeout: .seconds(60))
        }

        /// Waits for the end of a capture, or for a signal to end it.
        private func wait(_ client: ControlClient, _ identifier: String) throws {
            CaptureSignals.watch()
            while !CaptureSignals.hasCome {
                usleep(100_000)
                let dumps = try client.execute("query-dumps").arrayValue ?? []
                guard let dump = dumps.first(where: { $0.text("id") == identifier }) else { return }
                if dump["state"] == "ended" { break }
            }
            try finish(client, identifier)
        }

        private func finish(_ client: ControlClient, _ identifier: String) throws {
            let dump = try client.execute("dump-del", ["id": .string(identifier)])
            CaptureReport.print(dump)
            if dump["failed"] == true { throw ExitCode(ExitStatus.failure.rawValue) }
        }

        /// Has the engine write to a FIFO and passes on what comes.
        private func stream(_ client: ControlClient, _ identifier: String) throws {
            let path = "\(engine.directory.path)/capture-\(getpid()).fifo"
            guard unsafe mkfifo(path, 0o600) == 0 else {
                let reason = unsafe String(cString: strerror(errno))
                throw Failure(.cannotCreate, "cannot make '\(path)': \(reason)")
            }
            // Without O_NONBLOCK we would wait for the engine, and it for us.
            let fifo = unsafe open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
            do {
                defer { unsafe unlink(path) }
                try add(client, identifier, path: path)
            }
            signal(SIGPIPE, SIG_IGN)
            CaptureSignals.watch()
            var isAsked = false
            var buffer = [UInt8](repeating: 0, count: 1 << 16)
            while true {
                if CaptureSignals.hasCome, !isAsked {
                    isAsked = true
                    // What was captured so far comes before the end of the FIFO.
                    _ = try client.execute("dump-stop", ["id": .string(identifier)])
                }
                var waiters = [
                    pollfd(fd: fifo, events: Int16(POLLIN), revents: 0),
                    pollfd(fd: 1, events: 0, revents: 0),
                ]
                _ = unsafe poll(&waiters, 2, 200)
                // Who read our output has gone.
                if waiters[1].revents & Int16(POLLERR) != 0 { break }
                guard waiters[0].revents != 0 else { continue }
                // SAFETY: the buffer is alive during the call and its size is passed with it.
                let count = unsafe buffer.withUnsafeMutableBytes {
                    unsafe read(fifo, $0.baseAddress, $0.count)
                }
                if count < 0, errno == EAGAIN || errno == EINTR { continue }
                guard count > 0, CaptureSignals.write(buffer[..<count]) else { break }
            }
            // The engine need not wait for us to take the rest.
            close(fifo)
            try finish(client, identifier)
        }
    }
}

/// Signals that end a capture, and its output.
enum CaptureSignals {
    private static let count = Atomic(0)

    static var hasCome: Bool { count.load(ordering: .relaxed) > 0 }

    /// Notes signals instead of dying of them; a second one kills.
    static func watch() {
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal(number) { number in
                CaptureSignals.count.add(1, ordering: .relaxed)
                signal(number, SIG_DFL)
            }
        }
    }

    /// Writes all of it to standard output; false if nobody reads that any more.
    static func write(_ bytes: ArraySlice<UInt8>) -> Bool {
        var rest = bytes
        while !rest.isEmpty {
            // SAFETY: the bytes are alive during the call and their count is passed with them.
            let n = unsafe rest.withUnsafeBytes { unsafe Glibc.write(1, $0.baseAddress, $0.count) }
            if n < 0, errno == EINTR || errno == EAGAIN { continue }
            guard n > 0 else { return false }
            rest = rest.dropFirst(n)
        }
        return true
    }
}
