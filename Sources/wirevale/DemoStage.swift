// Where the demo plays: a private runtime directory, an engine, guests, a clock, and Ctrl-C. All of
// it is gone when the stage is cleared, whatever happened on it.

internal import CNetmap
internal import Control
internal import Glibc

/// The demo's surroundings.
final class DemoStage {
    /// Thrown wherever the demo waits when a signal asks it to end.
    struct Interrupted: Error {
        let signal: Int32
    }

    let runtime: RuntimeDirectory
    let guests: [DemoGuest]
    private(set) var engine: ControlClient?
    private var enginePID: pid_t = 0
    private let signals: Int32
    private let began = ContinuousClock.now
    private let isTerminal = isatty(1) == 1

    init(guests count: Int) throws {
        signals = unsafe nm_signalfd([SIGINT, SIGTERM, SIGHUP], 3)
        let folder = Self.temporaryFolder
        var template = Array("\(folder)/wirevale-demo-XXXXXX".utf8CString)
        guard let path = unsafe mkdtemp(&template) else {
            let description = "cannot make a directory in \(folder): error \(errno)"
            throw DemoGuest.Failure(description: description)
        }
        let directory = unsafe String(cString: path)
        runtime = RuntimeDirectory(path: directory)
        guests = (1...count).map { DemoGuest(number: $0, directory: directory) }
    }

    /// TMPDIR, unless it is too long for the paths of sockets below it.
    private static var temporaryFolder: String {
        guard let named = unsafe getenv("TMPDIR") else { return "/tmp" }
        let folder = unsafe String(cString: named)
        return folder.hasPrefix("/") && folder.utf8.count <= 60 ? folder : "/tmp"
    }

    /// Starts an engine of the demo's own: another one on this machine is left alone.
    func startEngine() throws {
        engine = try EngineLauncher(runtime).connect()
        enginePID = pid_t(DemoChild.contents(of: runtime.pidFile).prefix { $0.isNumber }) ?? 0
    }

    /// Ends guests and engine and removes the directory.
    func clear() {
        for guest in guests { guest.end() }
        _ = try? engine?.execute("quit")
        engine = nil
        if enginePID > 0 {
            // It was asked to; then it is told to.
            for _ in 0..<100 where kill(enginePID, 0) == 0 {
                waitpid(enginePID, nil, WNOHANG)
                usleep(20_000)
            }
            if kill(enginePID, 0) == 0 {
                kill(enginePID, SIGKILL)
                waitpid(enginePID, nil, 0)
            }
        }
        DemoChild.removeTree(runtime.path)
        erase()
    }

    // MARK: - Waiting

    /// Listens to all guests until `question` has an answer.
    ///
    /// - Throws: `Interrupted`, or `Failure` when a guest dies or time is up.
    func wait<Answer>(
        _ seconds: Double,
        for what: String,
        _ question: () throws -> Answer?
    ) throws -> Answer {
        let deadline = ContinuousClock.now + .seconds(seconds)
        while true {
            if let answer = try question() { return answer }
            if let gone = guests.first(where: { $0.isSilent && $0.console >= 0 }) {
                throw DemoGuest.Failure(description: "\(gone.name) ended early:\n\(gone.lastWords)")
            }
            if enginePID > 0, waitpid(enginePID, nil, WNOHANG) == enginePID {
                enginePID = 0
                let log = DemoChild.tail(of: runtime.log, lines: 8)
                throw DemoGuest.Failure(description: "the switch engine ended early:\n\(log)")
            }
            guard ContinuousClock.now < deadline else {
                throw DemoGuest.Failure(description: "\(what) took longer than \(Int(seconds)) s")
            }
            try listen()
            tick(what)
        }
    }

    /// Lets time pass.
    func rest(_ seconds: Double, _ what: String) throws {
        let end = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < end {
            try listen()
            tick(what)
        }
    }

    /// Waits until a signal asks for the end.
    func waitForSignal() throws {
        fflush(nil)
        while true { try listen() }
    }

    /// Has a guest run a command that must succeed; returns what it printed.
    func run(_ command: String, on guest: DemoGuest, seconds: Int, _ what: String) throws -> String
    {
        let call = guest.send(command, seconds: seconds)
        let answer = try wait(Double(seconds) + 10, for: what) {
            guest.take(upTo: "@end \(call) ")
        }
        let said = answer.before.split(separator: "\n")
            .drop { !$0.hasPrefix("@begin \(call)") }.dropFirst().joined(separator: "\n")
        guard answer.line == "@end \(call) 0" else {
            throw DemoGuest.Failure(
                description: "\(what) failed on \(guest.name):\n\(said)"
            )
        }
        return said
    }

    private func listen() throws {
        let open = guests.filter { $0.console >= 0 && !$0.isSilent }
        var descriptors = open.map { pollfd(fd: $0.console, events: Int16(POLLIN), revents: 0) }
        descriptors.append(pollfd(fd: signals, events: Int16(POLLIN), revents: 0))
        unsafe poll(&descriptors, nfds_t(descriptors.count), 100)
        if descriptors.removeLast().revents != 0 {
            throw Interrupted(signal: nm_signalfd_read(signals))
        }
        for (guest, descriptor) in zip(open, descriptors) where descriptor.revents != 0 {
            guest.listen()
        }
    }

    // MARK: - Measuring

    /// Processor time that the engine has used so far.
    func engineSeconds() -> Double {
        var clock = clockid_t()
        var time = timespec()
        guard enginePID > 0, unsafe clock_getcpuclockid(enginePID, &clock) == 0,
            unsafe clock_gettime(clock, &time) == 0
        else { return .nan }
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// Asks the engine.
    func ask(_ query: String) throws -> [JSONValue] {
        try engine?.execute(query).arrayValue ?? []
    }

    // MARK: - Telling

    /// A line of the story, with the time since the demo began.
    func tell(_ line: String) {
        erase()
        print(
            "  [\(DemoReport.padded(DemoReport.number(elapsed, digits: 1), to: 5, right: true)) s] \(line)"
        )
        fflush(nil)
    }

    /// Seconds since the demo began.
    var elapsed: Double {
        let parts = (ContinuousClock.now - began).components
        return Double(parts.seconds) + Double(parts.attoseconds) / 1e18
    }

    /// Shows on a terminal that something is going on; elsewhere nothing is printed.
    private func tick(_ what: String) {
        guard isTerminal else { return }
        let wheel = ["|", "/", "-", "\\"][Int(elapsed * 8) % 4]
        print("\r\u{1b}[K  \(wheel) \(what)", terminator: "")
        fflush(nil)
    }

    private func erase() {
        if isTerminal { print("\r\u{1b}[K", terminator: "") }
    }
}
