// wirevale lb: spreads the frames of a port over pipes, by conversation.

internal import ArgumentParser
internal import Control
internal import Glibc
internal import Netmap

struct LoadBalance: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lb",
        abstract: "Spread the frames of a port over pipes, each conversation to one of them.",
        discussion: """
            Both directions of a conversation and all fragments of a packet go to the same
            pipe: by IP addresses, protocol and ports, else by MAC addresses. Programs open
            the other ends, 'netmap:NAME}0', 'netmap:NAME}1', ...

            Each group gets every frame. The last one gets the buffers themselves; those
            before it get copies. What a full pipe cannot take waits in -B extra buffers;
            without any left, the longest queue loses its oldest frames, and they are counted.

            EXAMPLES:
              wirevale lb -i vale0:mirror -p 4                    netmap:vale0:mirror}0 to }3
              wirevale lb -i vale0:mirror -p ids:4 -p log:1 -B 4096 -o 1
            """,
        helpNames: .long
    )

    @Option(name: .customShort("i"), help: "The port where frames come.")
    var interface: String
    @Option(
        name: .customShort("p"),
        help: ArgumentHelp(
            "A group of pipes: how many, and a name other than the port's.",
            valueName: "[name:]pipes"
        )
    )
    var groups: [String] = []
    @Option(name: .customShort("B"), help: "Extra buffers for frames that must wait.")
    var extraBuffers = 0
    @Option(name: .customShort("b"), help: "Most frames a turn.")
    var burst = 2048
    @Option(name: .customShort("w"), help: "Seconds to wait before it begins.")
    var wait = 0.0
    @Flag(name: .customShort("W"), help: "Look all the time instead of sleeping.")
    var isBusy = false
    @Option(name: .customShort("s"), help: "Seconds between reports to syslog; 0 for none.")
    var syslogInterval = 0
    @Option(name: .customShort("o"), help: "Seconds between reports in JSON; 0 for none.")
    var outputInterval = 0
    @OptionGroup var engine: EngineOptions

    func run() throws {
        guard extraBuffers >= 0, burst > 0, wait >= 0, syslogInterval >= 0, outputInterval >= 0
        else { throw ValidationError("-B, -b, -w, -s and -o are not negative, and -b not 0") }
        var specification = try ToolText.specification(interface)
        specification.flags.insert(.receiveOnly)
        specification.extraBuffers = extraBuffers
        let names = try pipes(specification.name)
        _ = try engine.connectOrStart()
        let space = PortSpace.engine(socket: engine.directory.netmapSocket)
        Ending.watchSignals()
        do {
            let input = BalancerInput(try Port(specification, on: space))
            let granted = input.port.extraBuffers
            if granted < extraBuffers {
                Terminal.diagnose("there are \(granted) extra buffers, not \(extraBuffers)")
            }
            let lanes = try names.map { group in try group.map { try lane($0, input, space) } }
            Terminal.output(
                "\(input.port.name) to \(names.map { $0.joined(separator: " ") }.joined(separator: ", "))"
                    + ", \(granted) extra buffers\n"
            )
            if wait > 0 { Clock.sleep(until: Clock.now + UInt64(wait * 1e9)) }
            var balancer = LoadBalancer(input, lanes, burst: burst)
            try balance(&balancer, input)
        } catch let error as PortError {
            throw Failure(error)
        }
    }

    private func lane(
        _ name: String,
        _ input: BalancerInput,
        _ space: PortSpace
    ) throws -> BalancerLane {
        var pipe = PortSpecification(name: name)
        pipe.flags = [.exclusive, .transmitOnly]
        pipe.memoryID = input.port.memoryID
        do throws(PortError) {
            return BalancerLane(try Port(pipe, on: space), queueOf: input.port)
        } catch {
            guard error.errno == ENOMEM else { throw error }
            let plain = interface.prefix { $0 != "@" }
            throw Failure(
                .tryAgain,
                "the memory of '\(input.port.name)' has no room for the pipe '\(name)'; open the port in "
                    + "the memory that interfaces share, '\(plain)@1', or with fewer slots, "
                    + "'\(plain)@conf:slots=256'"
            )
        }
    }

    /// The names of all pipes, by group.
    private func pipes(_ input: String) throws -> [[String]] {
        var seen: Set<String> = []
        let all = try (groups.isEmpty ? ["2"] : groups).map { text in
            let parts = text.split(separator: ":").map(String.init)
            guard let last = parts.last, let count = Int(last), (1...64).contains(count) else {
                throw ValidationError("-p '\(text)' is no group; write '4' or 'name:4', up to 64")
            }
            let prefix = parts.dropLast().joined(separator: ":")
            let name = prefix.isEmpty ? input : try ToolText.specification(prefix).name
            return (0..<count).map { "\(name){\($0)" }
        }
        for name in all.joined() where !seen.insert(name).inserted {
            throw ValidationError("two groups have the pipe '\(name)'; write '-p other:2'")
        }
        return all
    }

    private func balance(_ balancer: inout LoadBalancer, _ input: BalancerInput) throws {
        var reports = [outputInterval, syslogInterval].map {
            Clock.now + UInt64($0) * 1_000_000_000
        }
        while !Ending.isDue {
            try balancer.turn()
            if isBusy {
                try input.port.syncReceive()
            } else {
                // Nobody tells us about room in one of many pipes.
                let isWaiting = balancer.groups.joined().contains { $0.waiting > 0 }
                let timeout = Duration.milliseconds(isWaiting ? 1 : 200)
                _ = try input.port.poll(.receive, timeout: timeout)
            }
            for (place, interval) in [outputInterval, syslogInterval].enumerated()
            where interval > 0 && Clock.now >= reports[place] {
                reports[place] += UInt64(interval) * 1_000_000_000
                let text = json(balancer)
                if place == 0 { Terminal.output(text + "\n") } else { LoadBalance.log(text) }
            }
        }
        try end(&balancer)
        Terminal.output(json(balancer) + "\n")
    }

    /// Gives what waits a second to find room.
    private func end(_ balancer: inout LoadBalancer) throws {
        let deadline = Clock.now + 1_000_000_000
        while balancer.groups.joined().contains(where: { $0.waiting > 0 }), Clock.now < deadline {
            for lane in balancer.groups.joined() { try lane.flush() }
            Clock.nap()
        }
    }

    private func json(_ balancer: LoadBalancer) -> String {
        let lanes = balancer.groups.joined().map { lane in
            "{\"name\":\"\(lane.port.name)\",\"forwarded\":\(lane.forwarded),"
                + "\"dropped\":\(lane.dropped),\"waiting\":\(lane.waiting)}"
        }
        return "{\"input\":\"\(balancer.input.port.name)\",\"received\":\(balancer.received),"
            + "\"bytes\":\(balancer.bytes),\"non-ip\":\(balancer.notIP),"
            + "\"free-buffers\":\(balancer.input.port.extraBuffers),"
            + "\"pipes\":[\(lanes.joined(separator: ","))]}"
    }

    private static func log(_ text: String) {
        // SAFETY: the format takes one string, which is alive during the call.
        unsafe text.withCString { line in
            unsafe withVaList([line]) { unsafe vsyslog(LOG_INFO, "%s", $0) }
        }
    }
}
