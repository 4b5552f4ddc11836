// The drop-in: a QEMU command line with `-netdev netmap` in it becomes one that an unmodified
// QEMU runs. Pure: what the host can do comes in, ports to make and arguments come out.

/// A QEMU command line whose netmap options have been understood.
///
/// Make it of the arguments, have the engine make `ports`, then ask for `groups(sockets:)`.
/// Without any netmap option the arguments come out as they went in.
public struct QemuCommandLine: Sendable {
    /// What the translation must know of the machine.
    public struct Host: Sendable, Hashable {
        /// The QEMU program; its name says which accelerator is the default.
        public let program: String
        /// QEMU's version, if it could be found out.
        public let version: QemuVersion?
        /// Whether `/dev/kvm` can be opened; it decides where the user left a choice.
        public let kvmOpens: Bool

        /// Describes a host.
        public init(program: String, version: QemuVersion? = nil, kvmOpens: Bool = false) {
            self.program = program
            self.version = version
            self.kvmOpens = kvmOpens
        }
    }

    /// Why a command line cannot be translated.
    public struct TranslationError: Error, Sendable, Hashable, CustomStringConvertible {
        /// What is wrong with which option, and what to write instead.
        public let description: String
    }

    /// The ports that the guest needs.
    public internal(set) var ports: [NetdevOptions] = []
    /// What the user should know about the translation; lines for standard error.
    public internal(set) var notes: [String] = []

    /// The ids of those whose NIC is no virtio one: they are to be `stream` ports that listen.
    public internal(set) var streams: Set<String> = []

    /// What the new command line is made of.
    enum Piece: Sendable, Hashable {
        case words([String])
        case netdev(NetdevOptions)
    }

    var pieces: [Piece] = []
    let arguments: QemuArguments
    let host: Host
    let machine: QemuMachine

    /// Understands a command line, without the program's name.
    ///
    /// - Throws: `TranslationError` for a netmap option that is wrong, a NIC that cannot be
    ///   connected so, or memory that cannot be shared.
    public init(
        _ words: [String],
        host: Host,
        fileExists: (String) -> Bool = FileProbe.exists
    ) throws(TranslationError) {
        self.host = host
        arguments = QemuArguments(words)
        machine = QemuMachine(arguments, host)
        var network = QemuNetwork(arguments, machine)
        try network.translate(fileExists)
        ports = network.ports
        notes = network.notes
        guard !ports.isEmpty else {
            pieces = arguments.items.map { .words($0.words) }
            return
        }
        streams = network.streams
        if !streams.isEmpty, let version = host.version, version < QemuVersion(7, 2) {
            throw TranslationError(
                description: "QEMU \(version) connects only virtio NICs to a switch; for others it "
                    + "has to be 7.2 or newer"
            )
        }
        // Of a NIC that QEMU moves frames for, nobody else needs the memory.
        let memory = streams.count == ports.count ? nil : try QemuMemory(arguments)
        notes += memory?.notes ?? []
        place(memory, network)
        if machine.needsRootPorts {
            notes.append(
                "two pcie-root-ports added: a q35 machine takes NICs while it runs in such ports "
                    + "only ('wirevale port add --guest')"
            )
        }
    }

    /// What the guest is called: its `-name`, else its first port.
    public var guestName: String {
        let given = arguments.texts("name", implied: "guest").compactMap { $0["guest"] }.last
        return given ?? ports.first.map { "\($0.port)" } ?? ""
    }

    /// Puts what was made where the first netmap option stood, the rest where it was.
    private mutating func place(_ memory: QemuMemory?, _ network: QemuNetwork) {
        var added = memory?.added ?? []
        for (index, item) in arguments.items.enumerated() {
            if let replacement = network.replacements[index] {
                pieces += added.map { .words($0.words) }
                added = []
                pieces += replacement
            } else if memory?.dropped.contains(index) != true {
                pieces.append(.words(item.words))
            }
        }
    }

    /// The arguments of QEMU, an option with its value in each group.
    ///
    /// `sockets` has the path of the socket of each port, by the port's id; `monitor` is where QEMU is
    /// to listen for the engine, which then can plug NICs in.
    public func groups(sockets: [String: String], monitor: String? = nil) -> [[String]] {
        (monitor.map(hotPlug) ?? [])
            + pieces.flatMap { piece -> [[String]] in
                switch piece {
                case .words(let words): return [words]
                case .netdev(let port):
                    let chardev = "wv-" + port.id
                    let path = KeyValueText.escape(sockets[port.id] ?? "")
                    // 9.2 renamed the option and later versions dropped the old name.
                    let isNew = host.version.map { $0 >= QemuVersion(9, 2) } ?? false
                    let reconnect = isNew ? "reconnect-ms=1000" : "reconnect=1"
                    if streams.contains(port.id) {
                        // A netdev of that kind learned it in 8.0.
                        let isKnown = host.version.map { $0 >= QemuVersion(8, 0) } ?? false
                        return [
                            [
                                "-netdev",
                                "stream,id=\(port.id),server=off,addr.type=unix,addr.path=\(path)"
                                    + (isKnown ? ",\(reconnect)" : ""),
                            ]
                        ]
                    }
                    let queues = port.queues > 1 ? ",queues=\(port.queues)" : ""
                    return [
                        ["-chardev", "socket,id=\(chardev),path=\(path),\(reconnect)"],
                        ["-netdev", "vhost-user,id=\(port.id),chardev=\(chardev)\(queues)"],
                    ]
                }
            }
    }

    /// What the engine needs to plug NICs in while the guest runs.
    private func hotPlug(_ monitor: String) -> [[String]] {
        let qmp = ["-qmp", "unix:\(KeyValueText.escape(monitor)),server=on,wait=off"]
        guard machine.needsRootPorts else { return [qmp] }
        // Chassis and slot together have to be unlike any that the user has.
        return [qmp]
            + [1, 2].map {
                ["-device", "pcie-root-port,id=wv-hot\($0),chassis=250,slot=\($0)"]
            }
    }
}

/// A version of QEMU.
public struct QemuVersion: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The first number.
    public let major: Int
    /// The second number.
    public let minor: Int

    /// Makes a version.
    public init(_ major: Int, _ minor: Int) {
        self.major = major
        self.minor = minor
    }

    /// Finds the version in what `qemu-system-x86_64 --version` prints.
    public init?(output: String) {
        let words = output.split { $0.isWhitespace }
        guard let mark = words.firstIndex(of: "version"), mark + 1 < words.count else { return nil }
        let parts = words[mark + 1].split(separator: ".")
        guard parts.count >= 2, let major = Int(parts[0]), let minor = Int(parts[1]) else {
            return nil
        }
        self.init(major, minor)
    }

    /// `7.2`.
    public var description: String { "\(major).\(minor)" }

    /// Whether `left` is older.
    public static func < (left: QemuVersion, right: QemuVersion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }
}
