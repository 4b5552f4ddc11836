// wirevale qemu-args: the options for those who start QEMU by themselves, by hand or through
// other tools.

internal import ArgumentParser
internal import Control

struct QemuArgs: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the QEMU options that connect a guest to a port, and make the port.",
        discussion: """
            EXAMPLES:
              qemu-system-x86_64 $(wirevale qemu-args vale0:vm1 --size 1G) disk.img
              wirevale qemu-args vale0:vm1 --queues 4 --kvm --json

            The options include -m, because the guest's memory must be shared with
            the switch and have the same size. The port stays until 'wirevale port
            del'.
            """
    )

    @Argument(help: "The port, switch:port, such as vale0:vm1.")
    var name: String
    @Option(help: "The id of the netdev in QEMU; made of the port's name if left out.")
    var id: String?
    @Option(help: "The guest's address; made of the port's name if left out.")
    var mac: String?
    @Option(help: "Queue pairs.")
    var queues = 1
    @Option(help: "The guest's memory, as -m takes it.")
    var size = "128M"
    @Option(help: ArgumentHelp("The QEMU that will be run, for its version.", valueName: "bin"))
    var qemu: String?
    @Flag(help: "The guest will run under KVM, where MSI-X works.")
    var kvm = false
    @OptionGroup var output: OutputOptions
    @OptionGroup var engine: EngineOptions

    func run() throws {
        let port = try ValePortName(name)
        let program = qemu ?? QemuProgram.standard
        let netdev = KeyValueText([
            .init("type", "netmap"), .init("id", id ?? port.identifier),
            .init("ifname", port.description), .init("queues", String(queues)),
            .init("ephemeral", "off"),
        ])
        let address = mac.map { ",mac=\($0)" } ?? ""
        let words = [
            "-m", size, "-netdev", netdev.text(implied: "type"),
            "-device", "virtio-net-pci,netdev=\(id ?? port.identifier)\(address)",
        ]
        let host = QemuCommandLine.Host(
            // A program's name ending in kvm is how QEMU itself is told.
            program: kvm ? "kvm" : program,
            version: QemuProgram.version(of: program)
        )
        let command = try QemuCommandLine(words, host: host)
        let client = try engine.connectOrStart()
        var sockets: [String: String] = [:]
        for port in command.ports { sockets[port.id] = try PortClaim(port).socket(client) }
        let groups = command.groups(sockets: sockets)
        if output.json {
            print(JSONValue.array(groups.joined().map { .string($0) }).description)
        } else if Terminal.isOutputInteractive {
            print(ShellText.lines(groups))
        } else {
            // In $(...) a shell splits at blanks and takes no quotes away.
            print(groups.joined().joined(separator: " "))
        }
    }
}
