// The one command. A file per subcommand; all of them but serve and demo are clients of the
// control socket and of nothing else.

internal import ArgumentParser
internal import Glibc

@main
struct Wirevale: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wirevale",
        abstract: "netmap and the VALE switch in user space, for stock Linux and stock QEMU.",
        discussion: """
            EXAMPLES:
              Two guests on one switch, no root, no kernel module, no patched QEMU:
                wirevale qemu -m 512 -netdev netmap,id=n0,ifname=vale0:vm1 \\
                  -device virtio-net-pci,netdev=n0 guest1.qcow2
                wirevale qemu -m 512 -netdev netmap,id=n0,ifname=vale0:vm2 \\
                  -device virtio-net-pci,netdev=n0 guest2.qcow2

              A netmap program beside them:                 wirevale shim pkt-gen -i vale0:gen -f tx
              See it work without having any guest:         wirevale demo
              See what this machine can do:                 wirevale doctor
              Ports, counters, reasons of drops:            wirevale port list
              What passes a port, dropped frames, too:      wirevale capture vale0:vm1 | tcpdump -r -
              Which address is behind which port:           wirevale fdb
              Which thread serves which queue:              wirevale worker
              All of it from a file:                        wirevale apply lab.yaml

            The engine is started when a command needs it. Each runtime directory
            has an engine of its own: --runtime-dir DIR, or WIREVALE_RUNTIME_DIR in
            the environment.

            Exit status: 0 done, 1 the engine refused, 64 usage, 65 a wrong file,
            66 no such port or file, 69 no engine, 73 cannot create, 75 try again, 77 permission.
            """,
        version: EngineVersionText.text,
        subcommands: [
            Serve.self, Qemu.self, QemuArgs.self, Shim.self, PortCommand.self, SwitchCommand.self,
            Fdb.self, Capture.self,
            WorkerCommand.self, Apply.self, Export.self, Monitor.self, Doctor.self, Demo.self,
            Launch.self,
            PktGen.self, Bridge.self, ValeCtl.self, LoadBalance.self, NmReplay.self, Tlem.self,
            Dedup.self,
        ]
    )

    static func main() {
        var words = Array(CommandLine.arguments.dropFirst())
        if let tool = toolOfOwnName { words.insert(tool, at: 0) }
        adoptLeadingRuntimeDirectory(&words)
        let command: any ParsableCommand
        do {
            command = try parseAsRoot(words)
        } catch {
            exit(withError: error)
        }
        do {
            var command = command
            try command.run()
        } catch {
            // What the parser throws (help, usage, exit codes) it also knows how to show.
            if exitCode(for: error) != .failure || error is ExitCode { exit(withError: error) }
            Failure(error).exit()
        }
    }

    /// The tool as which this program was called, through a link of that name (`make install-tools`).
    ///
    /// `bridge` and `vale` are not among them: iproute2 has a bridge.
    private static var toolOfOwnName: String? {
        let path = CommandLine.arguments.first ?? ""
        let name = path.split(separator: "/").last.map(String.init) ?? ""
        return ["pkt-gen", "vale-ctl", "lb", "nmreplay", "tlem", "dedup"].first { $0 == name }
    }

    /// Takes `--runtime-dir` in front of the subcommand, where people put what is global.
    ///
    /// The environment carries it, to subcommands and to the programs that they start.
    private static func adoptLeadingRuntimeDirectory(_ words: inout [String]) {
        guard let first = words.first else { return }
        let name = "--runtime-dir"
        if first == name, words.count > 1 {
            unsafe setenv("WIREVALE_RUNTIME_DIR", words[1], 1)
            words.removeFirst(2)
        } else if first.hasPrefix(name + "=") {
            unsafe setenv("WIREVALE_RUNTIME_DIR", String(first.dropFirst(name.count + 1)), 1)
            words.removeFirst()
        }
    }
}
