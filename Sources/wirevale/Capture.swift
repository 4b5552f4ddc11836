// wirevale capture: tcpdump for the ports of a switch, in tcpdump's letters.

internal import ArgumentParser
internal import Control
internal import Glibc

struct Capture: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "capture",
        abstract: "Write the frames of a port or a switch to a file or a pipe.",
        discussion: """
            EXAMPLES:
              wirevale capture vale0:vm1 | tcpdump -n -r -
              wirevale capture vale0 | wireshark -k -i -
              wirevale capture vale0:vm1 -w vm1.pcapng 'tcp port 80'
              wirevale capture vale0 -w day-%H.pcapng -G 3600 -W 24
              wirevale capture vale0:vm1 -w ring.pcapng -C 100 -W 10
              wirevale capture vale0:vm1 -w all.pcapng --detach      goes on by itself
              wirevale capture list                                  what is being captured
              wirevale capture stop vale0-vm1                        ends it

            Inbound is what the switch got from the port, outbound what it had for it.
            Frames that were dropped are captured, too, with the reason as their comment
            (pcapng): in Wireshark's language, frame.comment contains "ring-full".
            Filters are compiled by libpcap (Debian: libpcap0.8).
            """,
        subcommands: [Run.self, List.self, Stop.self],
        defaultSubcommand: Run.self
    )

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show what is being captured.")

        @OptionGroup var output: OutputOptions
        @OptionGroup var engine: EngineOptions

        func run() throws {
            let result = try engine.connect().execute("query-dumps")
            guard !output.json else { return print(result.prettyDescription) }
            var table = TextTable([
                ("ID", .left), ("OF", .left), ("STATE", .left), ("PACKETS", .right),
                ("DROPPED", .right), ("FILE", .left), ("NOTE", .left),
            ])
            for dump in result.arrayValue ?? [] {
                table.add([
                    dump.text("id"), dump.text("name"), dump.text("state"), dump.text("packets"),
                    dump.text("dropped"), dump.text("file"), dump.text("reason"),
                ])
            }
            Terminal.output(table.text())
        }
    }

    struct Stop: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End captures that go on by themselves."
        )

        @Argument(help: "Their ids.")
        var ids: [String]
        @OptionGroup var engine: EngineOptions

        func run() throws {
            let client = try engine.connect()
            for id in ids {
                CaptureReport.print(try client.execute("dump-del", ["id": .string(id)]))
            }
        }
    }
}

/// What tcpdump says at its end.
enum CaptureReport {
    static func print(_ dump: JSONValue) {
        Terminal.diagnose(
            "\(dump.text("packets")) packets captured, \(dump.text("received")) received by the "
                + "filter, \(dump.text("dropped")) dropped by the dump"
        )
        if dump["failed"] == true { Terminal.diagnose(dump.text("reason")) }
    }
}
