// wirevale bridge: joins two ports, exchanging buffers where both are in one region.

internal import ArgumentParser
internal import Control
internal import Glibc
internal import Netmap

struct Bridge: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bridge",
        abstract: "Pass frames between two ports.",
        discussion: """
            With one port it joins that to its host stack, or with -L to itself.

            EXAMPLES:
              wirevale bridge -i vale0:x -i vale1:y
              wirevale bridge -i 'netmap:p{1' -i 'netmap:p{2'       one region: zero copy
              wirevale bridge -i vale0:x -L
            """,
        helpNames: .long
    )

    @Option(name: .customShort("i"), help: "A port; give two.")
    var interfaces: [String] = []
    @Option(name: .customShort("b"), help: "Most slots a turn and direction.")
    var burst = 1024
    @Option(name: .customShort("w"), help: "Seconds to wait before it begins.")
    var wait = 0.0
    @Flag(name: .customShort("c"), help: "Copy, even in one region.") var copies = false
    @Flag(name: .customShort("L"), help: "Send back what comes from the one port.")
    var isLoop = false
    @Flag(name: .customShort("v"), help: "Say more.") var verbose: Int
    @OptionGroup var engine: EngineOptions
    @Argument(help: ArgumentHelp("The same without options: port, port, burst.", valueName: "port"))
    var words: [String] = []

    func run() throws {
        var names = interfaces + words
        var burst = self.burst
        if names.count == 3, let last = Int(names[2]), last > 0 {
            burst = last
            names.removeLast()
        }
        guard names.count == 1 || names.count == 2, burst > 0 else {
            throw ValidationError("give one or two ports with -i")
        }
        _ = try engine.connectOrStart()
        let space = PortSpace.engine(socket: engine.directory.netmapSocket)
        Ending.watchSignals()
        do {
            if isLoop || names.count == 2 && names[0] == names[1] && isLoop {
                let port = try Port(try ToolText.specification(names[0]), on: space)
                try begin("looping on \(port.name)")
                try loop(port, burst)
                return
            }
            let first = try ToolText.specification(names[0])
            var second = try ToolText.specification(names.last ?? names[0])
            if names.count == 1 || names[0] == names[1] { second.rings = .host }
            let a = try Port(first, on: space)
            let b = try Port(second, on: space)
            let isSwap = a.memoryID == b.memoryID && !copies
            try begin("bridging \(a.name) and \(b.name), \(isSwap ? "zero copy" : "copying")")
            try join(a, b, burst)
        } catch let error as PortError {
            throw Failure(error)
        }
    }

    private func begin(_ text: String) throws {
        Terminal.output(text + "\n")
        if wait > 0 { Clock.sleep(until: Clock.now + UInt64(wait * 1e9)) }
    }

    private func join(_ a: borrowing Port, _ b: borrowing Port, _ burst: Int) throws {
        while !Ending.isDue {
            let there = move(from: a, to: b, burst)
            let back = move(from: b, to: a, burst)
            try a.syncTransmit()
            try b.syncTransmit()
            try a.syncReceive()
            try b.syncReceive()
            if there + back > 0 { continue }
            // With frames on one side and no room on the other, it is room that is wanted.
            _ = try Port.poll(
                a,
                wanted(a, b),
                b,
                wanted(b, a),
                timeout: .milliseconds(500)
            )
        }
    }

    private func loop(_ port: borrowing Port, _ burst: Int) throws {
        while !Ending.isDue {
            if move(from: port, to: port, burst) == 0 {
                _ = try port.poll(.receive, timeout: .milliseconds(500))
            } else {
                try port.syncTransmit()
                try port.syncReceive()
            }
        }
    }

    /// What to wait for at a port.
    private func wanted(_ port: borrowing Port, _ other: borrowing Port) -> Readiness {
        let frames: Readiness = hasFrames(port) ? [] : .receive
        return hasFrames(other) ? frames.union(.transmit) : frames
    }

    private func hasFrames(_ port: borrowing Port) -> Bool {
        for ring in port.receiveRings where port.receiveRing(ring).count > 0 { return true }
        return false
    }

    /// Moves what there is and what there is room for, ring by ring.
    private func move(from source: borrowing Port, to target: borrowing Port, _ burst: Int) -> Int {
        var moved = 0
        var to = target.transmitRings.lowerBound
        for from in source.receiveRings {
            while to < target.transmitRings.upperBound, moved < burst {
                var received = source.receiveRing(from)
                var free = target.transmitRing(to)
                if received.count == 0 { break }
                moved += free.forward(from: &received, limit: burst - moved, copying: copies)
                if free.space == 0 { to += 1 }
            }
        }
        return moved
    }
}
