// wirevale worker: the threads that move frames, and which queue is whose.

internal import ArgumentParser
internal import Control
internal import Glibc

struct WorkerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker",
        abstract: "Show the threads that move frames, and move queues between them.",
        discussion: """
            EXAMPLES:
              wirevale worker list
              wirevale worker move vale0:vm1 1          all queues of a port to worker 1
              wirevale worker move vale0:vm1/2 1        its queue 2 only
              wirevale worker balance                   measure, and even the load out

            Frames keep their order and none is lost when a queue moves. When ports come
            and go the engine keeps the number of queues even; what was moved by hand
            stays where it is until its guest starts it again. 'wirevale serve --workers N'
            says how many workers there are.
            """,
        subcommands: [List.self, Move.self, Balance.self],
        defaultSubcommand: List.self
    )

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show workers (the default).")

        @OptionGroup var output: OutputOptions
        @OptionGroup var engine: EngineOptions

        func run() throws {
            let result = try engine.connect().execute("query-workers")
            guard !output.json else { return print(result.prettyDescription) }
            var table = TextTable([
                ("WORKER", .right), ("CPU", .right), ("FRAMES", .right), ("SLEEPS", .right),
                ("CPU-TIME", .right), ("QUEUES", .left),
            ])
            for worker in result.arrayValue ?? [] {
                let queues = worker["queues"]?.arrayValue ?? []
                table.add([
                    worker.text("id"), worker["cpu"]?.integerValue.map(String.init) ?? "any",
                    worker.text("frames"), worker.text("sleeps"), worker.text("cpu-time"),
                    queues.map { queue in
                        "\(queue.text("ifname"))/\(queue.text("queue"))"
                            + (queue["pinned"] == true ? "*" : "")
                    }.joined(separator: " "),
                ])
            }
            Terminal.output(table.text())
        }
    }

    struct Move: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Have another worker serve a port, or one of its queues."
        )

        @Argument(help: "The port, switch:port or its id; /N behind it for its queue N only.")
        var port: String
        @Argument(help: "The worker, as 'worker list' numbers them.")
        var worker: Int
        @Flag(help: "Let the engine move it on when ports come and go.")
        var unpinned = false
        @OptionGroup var engine: EngineOptions

        func run() throws {
            var arguments: JSONObject = ["worker": .integer(worker), "pinned": .bool(!unpinned)]
            let parts = port.split(separator: "/", omittingEmptySubsequences: false)
            arguments["name"] = .string(String(parts[0]))
            if parts.count > 1 {
                guard parts.count == 2, let queue = Int(parts[1]), queue >= 0 else {
                    throw Failure(
                        .usage,
                        "'\(port)' is no port with a queue; write it like vale0:vm1/0"
                    )
                }
                arguments["queue"] = .integer(queue)
            }
            _ = try engine.connect().execute("worker-move", arguments)
        }
    }

    struct Balance: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Measure for a moment what each queue carries, and even the load out."
        )

        @Option(help: "How long to measure.")
        var seconds = 0.5
        @Flag(help: "Only say what would be moved.")
        var dryRun = false
        @OptionGroup var output: OutputOptions
        @OptionGroup var engine: EngineOptions

        func validate() throws {
            guard seconds >= 0.01, seconds <= 60 else {
                throw ValidationError("--seconds takes a time from 0.01 to 60, not \(seconds)")
            }
        }

        func run() throws {
            let client = try engine.connect()
            let before = try client.execute("query-workers")
            usleep(UInt32(seconds * 1_000_000))
            var balance = WorkerBalance(before: before, after: try client.execute("query-workers"))
            let moves = balance.even()
            if !dryRun {
                for move in moves {
                    let arguments: JSONObject = [
                        "name": .string(move.queue.port), "queue": .integer(move.queue.queue),
                        "worker": .integer(move.to), "pinned": false,
                    ]
                    _ = try client.execute("worker-move", arguments)
                }
            }
            guard !output.json else {
                let array = moves.map { move -> JSONValue in
                    [
                        "ifname": .string(move.queue.port), "queue": .integer(move.queue.queue),
                        "frames": .integer(move.queue.load), "from": .integer(move.from),
                        "to": .integer(move.to),
                    ]
                }
                return print(JSONValue.array(array).prettyDescription)
            }
            var table = TextTable([
                ("QUEUE", .left), ("FRAMES/S", .right), ("FROM", .right), ("TO", .right),
            ])
            for move in moves {
                table.add([
                    "\(move.queue.port)/\(move.queue.queue)",
                    String(Int(Double(move.queue.load) / seconds)), String(move.from),
                    String(move.to),
                ])
            }
            Terminal.output(moves.isEmpty ? "the load is even\n" : table.text())
        }
    }
}
