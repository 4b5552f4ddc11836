// wirevale port: what hangs on the switches.

internal import ArgumentParser
internal import Control

struct PortCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "port",
        abstract: "Show, add and remove ports.",
        discussion: """
            EXAMPLES:
              wirevale port list                  all ports with their state
              wirevale port add vale0:vm1         prints the socket for a guest
              wirevale port add vale0:vm1 --connect /run/vm1.sock
                                                  for a guest that listens itself
              wirevale port stat vale0:vm1        counters and reasons of drops
              wirevale port link vale0:vm1 off    pull the cable
              wirevale port del vale0:vm1

            rx is what the switch received from the port, tx is what it sent.
            """,
        subcommands: [List.self, Add.self, Del.self, Stat.self, Link.self, Set.self],
        defaultSubcommand: List.self
    )

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show ports (the default).")

        @Argument(help: "Only this port: switch:port, or its id.")
        var name: String?
        @OptionGroup var output: OutputOptions
        @OptionGroup var engine: EngineOptions

        func run() throws {
            let ports = try engine.connect().ports(name)
            guard !output.json else { return print(JSONValue.array(ports).prettyDescription) }
            var table = TextTable([
                ("PORT", .left), ("ID", .left), ("STATE", .left), ("TYPE", .left),
                ("RX-PACKETS", .right), ("TX-PACKETS", .right), ("DROPPED", .right),
                ("NOTE", .left),
            ])
            for port in ports {
                let stats = port["stats64"]
                let dropped = ["rx", "tx"].map { stats?[$0]?["dropped"]?.integerValue ?? 0 }
                table.add([
                    port.text("ifname"), port.text("id"), port.text("operstate"),
                    port.text("type"), stats?["rx"]?.text("packets") ?? "0",
                    stats?["tx"]?.text("packets") ?? "0", String(dropped[0] + dropped[1]),
                    port.portNote.isEmpty ? port.portManner : port.portNote,
                ])
            }
            Terminal.output(table.text())
        }
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a port; its switch appears with its first port.",
            discussion: """
                EXAMPLES:
                  wirevale port add vale0:vm1               prints the socket to give to QEMU
                  wirevale port add vale0:vm1 --listen /run/user/1000/vm1.sock
                  wirevale port add vale0:vm1 --connect /run/user/1000/vm1.sock
                  wirevale port add vale0:db --lossless     senders wait, nothing is lost
                  wirevale port add vale0:web --vlan 10 --source-check first --tx-rate 100mbit
                  wirevale port add vale1:vm1 --guest vale0:vm1
                                                            plugs a NIC into a running guest
                  wirevale port add vale0:old --netdev stream,server=on,addr.type=unix,addr.path=/run/old.sock
                  wirevale port add vale0:lab --netdev socket,mcast=230.0.0.1:1234
                  wirevale port add vale0:up --netdev help  what there is

                --netdev takes what QEMU's option of that name takes, without id; a descriptor given
                by its number is passed on to the engine.

                A guest of 'wirevale qemu' is called what its -name says, else like its first
                port; the engine's query-guests lists them. 'wirevale port del' unplugs the NIC.
                """
        )

        @Argument(help: "The port, switch:port, such as vale0:vm1.")
        var name: String
        @Option(help: "Name in netdev_del and events; made of the port's name if left out.")
        var id: String?
        @Option(help: "Queue pairs that the port offers.")
        var queues = 1
        @Option(help: ArgumentHelp("Listen on this path.", valueName: "path"))
        var listen: String?
        @Option(help: ArgumentHelp("Connect to this path, again and again.", valueName: "path"))
        var connect: String?
        @Flag(help: "Have senders wait while the port is full, instead of losing their frames.")
        var lossless = false
        @Option(
            help: ArgumentHelp(
                "How long they wait for a guest that takes nothing; 0: for ever. Default 1000.",
                valueName: "ms"
            )
        )
        var losslessTimeout: Int?
        @Option(help: ArgumentHelp("Plug a NIC into this running guest.", valueName: "name"))
        var guest: String?
        @Option(help: "The address of the guest's NIC; made of the port's name if left out.")
        var mac: String?
        @Option(help: "The bus for the guest's NIC; a free one if left out.")
        var bus: String?
        @Option(
            help: ArgumentHelp(
                "What is behind the port, as QEMU's -netdev has it; the port's name and id are added.",
                valueName: "text"
            )
        )
        var netdev: String?
        @OptionGroup(title: "Rules") var policy: PolicyOptions
        @Flag(help: "Succeed when there is such a port already.")
        var mayExist = false
        @OptionGroup var output: OutputOptions
        @OptionGroup var engine: EngineOptions

        func validate() throws {
            if listen != nil, connect != nil {
                throw ValidationError("--listen and --connect exclude each other")
            }
            if guest != nil, listen ?? connect != nil {
                throw ValidationError("with --guest, the engine chooses the socket")
            }
            if netdev != nil, listen ?? connect ?? guest != nil || queues != 1 {
                throw ValidationError(
                    "--netdev says all that --listen, --connect, --guest and --queues say"
                )
            }
            if guest == nil, mac ?? bus != nil {
                throw ValidationError("--mac and --bus are for --guest")
            }
        }

        func run() throws {
            if let netdev, KeyValueText(netdev, implied: "type").asksForHelp {
                let type = KeyValueText(netdev, implied: "type")["type"]
                return print(MonitorCommand.netdevHelp(type: type))
            }
            let port = try ValePortName(name)
            var arguments: JSONObject = [
                "type": "netmap", "id": .string(id ?? port.identifier),
                "ifname": .string(port.description), "queues": .integer(queues),
            ]
            if let netdev { arguments = try Self.arguments(netdev, for: port, id: id) }
            if lossless { arguments["lossless"] = true }
            arguments["lossless-timeout"] = losslessTimeout.map { .integer($0) }
            for (name, value) in [("guest", guest), ("mac", mac), ("bus", bus)] {
                if let value { arguments[name] = .string(value) }
            }
            for (name, value) in policy.members { arguments[name] = value }
            let files = OwnFiles(in: &arguments)
            let chardev = try chardev(port)
            if let chardev {
                arguments["type"] = "vhost-user"
                arguments["chardev"] = .string(chardev.id)
            }
            do throws(QMPError) {
                _ = try NetdevOptions(arguments)
            } catch {
                throw Failure(.usage, error.description)
            }
            let client = try engine.connectOrStart()
            if mayExist, let found = try client.port(port.description) { return show(found) }
            try files.pass(to: client)
            do {
                if let chardev { _ = try client.execute("chardev-add", chardev.arguments) }
                do {
                    _ = try client.execute("netdev_add", arguments, timeout: Self.guestTimeout)
                } catch {
                    // A socket without its port would be in the way of the next attempt.
                    if let chardev {
                        _ = try? client.execute("chardev-remove", ["id": .string(chardev.id)])
                    }
                    throw error
                }
            } catch let error as QMPError where error.class == .genericError {
                throw Failure(.cannotCreate, "\(port): \(error.description)")
            }
            guard let made = try client.port(port.description) else { return }
            show(made)
        }

        /// A guest that has to be asked may take its time; the engine gives up before this.
        static let guestTimeout = Duration.seconds(120)

        private func chardev(_ port: ValePortName) throws -> ChardevOptions? {
            guard let path = listen ?? connect else { return nil }
            let text = "socket,id=\(port.identifier),path=\(KeyValueText.escape(path))"
            do throws(QMPError) {
                return try ChardevOptions(text: text + (listen == nil ? "" : ",server=on,wait=off"))
            } catch {
                throw Failure(.usage, error.description)
            }
        }

        private func show(_ port: JSONValue) {
            // With a guest there is nobody to tell the socket to.
            let what = guest == nil ? ["socket", "interface", "ifname"] : ["ifname"]
            let text = what.map { port.text($0) }.first { !$0.isEmpty } ?? ""
            print(output.json ? port.prettyDescription : text)
        }
    }

    struct Del: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove ports; a switch goes with its last port."
        )

        @Argument(help: "The ports: switch:port, or ids.")
        var names: [String]
        @Flag(help: "Succeed when there is no such port.")
        var ifExists = false
        @OptionGroup var engine: EngineOptions

        func run() throws {
            let client = try engine.connect()
            for name in names {
                guard let port = try client.port(name) else {
                    if ifExists { continue }
                    throw Failure(.noInput, "there is no port '\(name)'")
                }
                _ = try client.execute(
                    "netdev_del",
                    ["id": port["id"] ?? .string(name)],
                    timeout: Add.guestTimeout
                )
                // The socket that `port add` made goes too; one that others made or use stays.
                if port["type"] == "vhost-user",
                    let identifier = try? ValePortName(port.text("ifname")).identifier
                {
                    _ = try? client.execute("chardev-remove", ["id": .string(identifier)])
                }
            }
        }
    }

    struct Link: ParsableCommand {
        enum State: String, ExpressibleByArgument, CaseIterable { case on, off }

        static let configuration = CommandConfiguration(
            abstract: "Plug or unplug the cable of a port."
        )

        @Argument(help: "The port: switch:port, or its id.")
        var name: String
        @Argument(help: "on or off.")
        var state: State
        @OptionGroup var engine: EngineOptions

        func run() throws {
            let arguments: JSONObject = ["name": .string(name), "up": .bool(state == .on)]
            _ = try engine.connect().execute("set_link", arguments)
        }
    }
}

extension ControlClient {
    /// All ports, or the one called `name`.
    func ports(_ name: String? = nil) throws -> [JSONValue] {
        let arguments: JSONObject = name.map { ["name": .string($0)] } ?? [:]
        return try execute("query-ports", arguments).arrayValue ?? []
    }

    /// The port called `name`, if there is one.
    func port(_ name: String) throws -> JSONValue? {
        do {
            return try ports(name).first
        } catch let error as QMPError where error.class == .deviceNotFound {
            return nil
        }
    }
}

extension JSONValue {
    /// Why a port does not carry frames, in a few words; empty when it does.
    var portNote: String {
        if let reason = self["reason"]?.stringValue { return reason }
        if self["link"] == false { return "link off" }
        if let progress = self["progress"]?.stringValue { return progress }
        if self["stalled"] == true {
            let who = self["rings"] != nil ? "program" : self["features"] != nil ? "guest" : "peer"
            return "lossless, but its \(who) takes nothing"
        }
        if let other = self["waits-for"]?.stringValue { return "waits for \(other)" }
        if self["operstate"] == "UP" {
            let peer = self["peer"]?.stringValue.map {
                (self["role"] == nil ? "sends to " : "connected to ") + $0
            }
            return [self["lossless"] == true ? "lossless" : nil, policyText, peer].compactMap(
                \.self
            )
            .filter { !$0.isEmpty }
            .joined(separator: ", ")
        }
        return self["connected"] == true ? "the guest's driver is not running" : "nobody connected"
    }

    /// How a port that carries frames does it, where there are several ways.
    var portManner: String {
        guard let manner = self["xdp"]?.stringValue else { return "" }
        let warnings = self["warnings"]?.arrayValue?.count ?? 0
        return warnings == 0 ? manner : "\(manner); warnings: port stat"
    }

    /// A member as a table shows it: nothing at all when it is missing.
    func text(_ key: String) -> String {
        switch self[key] {
        case nil, .null: ""
        case .string(let text): text
        case .some(let value): value.description
        }
    }
}
