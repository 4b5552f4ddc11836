// wirevale qemu: a drop-in for qemu-system-*. It has the engine make the ports, then turns
// into QEMU; the control connection goes along, and with it the ports' lives.

internal import ArgumentParser
internal import Control
internal import Glibc

struct Qemu: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run QEMU with its netmap options connected to a VALE switch.",
        discussion: """
            EXAMPLES:
              wirevale qemu -m 512 -netdev netmap,id=n0,ifname=vale0:vm1 \\
                -device virtio-net-pci,netdev=n0,mac=52:54:00:00:00:01 guest.qcow2
              wirevale qemu -m 512 -nic netmap,ifname=vale0:vm1,model=virtio guest.qcow2
              wirevale qemu --print -m 512 -nic netmap,ifname=vale0:vm1,model=virtio
              wirevale qemu --qemu ~/qemu-10/bin/qemu-system-x86_64 ...

            Everything else is QEMU's: write the options that you would give to
            QEMU, in any order, after wirevale's own. Each -netdev, -nic or -net of
            type netmap becomes a port on the switch that its ifname names; the port
            goes when QEMU ends. A virtio NIC shares its memory with the switch; any
            other model (e1000, rtl8139, vmxnet3, ...) gets a stream socket instead.
            """
    )

    @Option(
        help: ArgumentHelp(
            "The program to run; else qemu-system-ARCH of this machine.",
            valueName: "bin"
        )
    )
    var qemu: String?
    @Flag(name: .customLong("print"), help: "Print the command instead of running it.")
    var isPrinting = false
    @OptionGroup var engine: EngineOptions
    @Argument(parsing: .captureForPassthrough, help: "What QEMU is given.")
    var arguments: [String] = []

    func run() throws {
        // QEMU has -h and -help of its own.
        if arguments.first == "--help" { throw CleanExit.helpRequest(self) }
        let words = arguments.first == "--" ? Array(arguments.dropFirst()) : arguments
        let program = qemu ?? QemuProgram.standard
        let draft = try QemuCommandLine(words, host: .init(program: program))
        guard isPrinting || ProgramRun.find(program) != nil else {
            throw Failure(.unavailable, "there is no \(program); \(QemuProgram.hint)")
        }
        guard !draft.ports.isEmpty else { return try start(program, words) }
        let host = QemuCommandLine.Host(
            program: program,
            version: QemuProgram.version(of: program),
            kvmOpens: FileProbe.opens("/dev/kvm")
        )
        let command = try QemuCommandLine(words, host: host)
        for note in command.notes { Terminal.diagnose("note: \(note)") }
        var sockets: [String: String] = [:]
        if isPrinting {
            for port in command.ports { sockets[port.id] = engine.directory.socket(of: port.port) }
            for port in command.ports {
                let path = KeyValueText.escape(engine.directory.socket(of: port.port))
                let kind =
                    command.streams.contains(port.id)
                    ? " --netdev stream,server=on,addr.type=unix,addr.path=\(path)" : ""
                Terminal.diagnose(
                    "note: needs 'wirevale port add \(port.port)\(kind) --may-exist' first"
                )
            }
            let monitor = engine.directory.monitor(ofGuest: command.guestName)
            let groups = command.groups(sockets: sockets, monitor: monitor)
            return print(ShellText.lines([[program]] + groups))
        }
        let client = try engine.connectFromOutside()
        for port in command.ports {
            let isStream = command.streams.contains(port.id)
            let path = engine.directory.socket(of: port.port)
            sockets[port.id] = try PortClaim(port, streamAt: isStream ? path : nil).socket(client)
        }
        let monitor = register(command, client)
        client.keepOpenAcrossExec()
        try withExtendedLifetime(client) {
            let groups = command.groups(sockets: sockets, monitor: monitor)
            try start(program, groups.flatMap { $0 })
        }
    }

    /// Tells the engine where the guest's monitor will be; nil if it cannot know this guest, which
    /// then runs all the same.
    private func register(_ command: QemuCommandLine, _ client: ControlClient) -> String? {
        let directory = engine.directory
        // Two guests of one -name are told apart by their ports, which no two guests share.
        var names = [command.guestName]
        if let port = command.ports.first { names.append("\(port.port)") }
        for name in names {
            let path = directory.monitor(ofGuest: name)
            let guest = GuestOptions(name: name, monitor: path, isEphemeral: true)
            do {
                try RuntimeDirectory.check(socketPath: path)
                _ = try client.execute("guest-add", guest.arguments)
                if name != names[0] {
                    Terminal.diagnose(
                        "note: a guest called '\(names[0])' is running; this one is '\(name)'"
                    )
                }
                return path
            } catch {
                if name != names.last { continue }
                Terminal.diagnose("note: no NICs can be plugged into this guest later: \(error)")
            }
        }
        return nil
    }

    private func start(_ program: String, _ words: [String]) throws {
        if isPrinting { return print(ShellText.lines([[program]] + words.map { [$0] })) }
        fflush(nil)
        let code = unsafe CStringArray.with([program] + words) { argv -> Int32 in
            _ = unsafe execvp(program, argv)
            return errno
        }
        let reason = unsafe strerror(code).map { unsafe String(cString: $0) } ?? "error \(code)"
        throw Failure(.unavailable, "cannot run \(program): \(reason)")
    }
}

/// Getting a port for a guest, one that is there already if it is free.
struct PortClaim {
    private let options: NetdevOptions

    /// Wants a port.
    ///
    /// - Parameters:
    ///   - options: what the guest's command line says.
    ///   - path: where a `stream` port is to listen; nil for a vhost-user one.
    init(_ options: NetdevOptions, streamAt path: String? = nil) {
        // Guests name their netdevs alike; on the engine the port's own name keeps them apart.
        self.options = NetdevOptions(
            id: options.port.identifier,
            port: options.port,
            isEphemeral: options.isEphemeral,
            lossless: options.lossless,
            backend: path.map { .stream(StreamOptions(StreamPlan(.unix($0), isServer: true))) }
                ?? .netmap(NetmapOptions(queues: options.queues))
        )
    }

    /// Has the engine make the port and returns the path of its socket.
    func socket(_ client: ControlClient) throws -> String {
        // A guest that was just stopped may not have been noticed yet.
        let deadline = ContinuousClock.now + .seconds(1)
        while true {
            do {
                _ = try client.execute("netdev_add", options.arguments)
            } catch let error as QMPError where error.class == .genericError {
                guard let found = try client.port(options.port.description) else {
                    throw Failure(.cannotCreate, "\(options.port): \(error.description)")
                }
                let isFree = found["connected"] != true && found["ephemeral"] != true
                if !isFree, ContinuousClock.now < deadline {
                    usleep(50_000)
                    continue
                }
                try check(found, isFree: isFree)
            }
            guard let socket = try client.port(options.port.description)?["socket"]?.stringValue
            else { throw Failure(.cannotCreate, "\(options.port): the engine gave no socket") }
            return socket
        }
    }

    private func check(_ found: JSONValue, isFree: Bool) throws {
        guard isFree else {
            throw Failure(
                .cannotCreate,
                "\(options.port) is in use by another guest; take another port name, or see "
                    + "'wirevale port stat \(options.port)'"
            )
        }
        if let objection = options.objection(to: found) {
            throw Failure(.cannotCreate, "\(options.port) \(objection)")
        }
    }
}

/// The QEMU of this machine.
enum QemuProgram {
    /// The program for guests of the machine's own architecture.
    static var standard: String {
        var system = utsname()
        guard unsafe uname(&system) == 0 else { return "qemu-system-x86_64" }
        // SAFETY: the kernel ends the text with a zero within the field.
        let machine = unsafe withUnsafeBytes(of: &system.machine) {
            unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        return "qemu-system-\(machine)"
    }

    /// How to get one.
    static let hint = "install QEMU ('apt-get install qemu-system-x86') or give --qemu"

    /// The version that the program says it is.
    static func version(of program: String) -> QemuVersion? {
        ProgramRun.run([program, "--version"]).flatMap { QemuVersion(output: $0.output) }
    }
}
