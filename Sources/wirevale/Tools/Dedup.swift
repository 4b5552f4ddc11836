// wirevale dedup: passes frames on, but each only once.

internal import ArgumentParser
internal import Control
internal import Netmap
internal import Traffic

struct Dedup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dedup",
        abstract: "Pass frames from one port to another, without those that came a moment ago.",
        discussion: """
            A frame that is, byte for byte, one of the last -F within -W microseconds is
            dropped and counted. All others go on at once, so there is nothing to hold (-H).

            EXAMPLES:
              wirevale dedup -i vale0:mirror -i vale1:out
              wirevale dedup -i 'netmap:p}1' -i 'netmap:p}2' -W 200 -F 64
            """,
        helpNames: .long
    )

    @Option(
        name: .customShort("i"),
        help: "The port where frames come, then the one where they go."
    )
    var interfaces: [String] = []
    @Option(name: .customShort("W"), help: "Microseconds for which a frame is remembered.")
    var window: UInt64 = 50
    @Option(name: .customShort("F"), help: "How many frames are remembered.")
    var frames = 10
    @Flag(name: .customShort("H"), help: "Taken for scripts: nothing needs to be held.")
    var holds = false
    @Flag(name: .customShort("c"), help: "Copy, even in one region.") var copies = false
    @Option(name: .customShort("w"), help: "Seconds to wait before it begins.")
    var wait = 0.0
    @Flag(name: .customShort("v"), help: "Say every second what happens.") var verbose: Int
    @OptionGroup var engine: EngineOptions

    func run() throws {
        guard interfaces.count == 2, interfaces[0] != interfaces[1] else {
            throw ValidationError("give two ports with -i: where frames come, and where they go")
        }
        guard (1...65_536).contains(frames), window <= 3_600_000_000 else {
            throw ValidationError("-F is from 1 to 65536, -W an hour at most")
        }
        _ = try engine.connectOrStart()
        let space = PortSpace.engine(socket: engine.directory.netmapSocket)
        Ending.watchSignals()
        do {
            var from = try ToolText.specification(interfaces[0])
            var to = try ToolText.specification(interfaces[1])
            from.flags.insert(.receiveOnly)
            to.flags.insert(.transmitOnly)
            let input = try Port(from, on: space)
            let output = try Port(to, on: space)
            guard output.transmitRings.count == 1 else {
                throw Failure(
                    .usage,
                    "'\(output.name)' has \(output.transmitRings.count) transmit rings, in which "
                        + "frames would overtake each other; write '\(interfaces[1])-0'"
                )
            }
            let isSwap = input.memoryID == output.memoryID && !copies
            Terminal.output(
                "from \(input.name) to \(output.name), \(isSwap ? "zero copy" : "copying")\n"
            )
            if wait > 0 { Clock.sleep(until: Clock.now + UInt64(wait * 1e9)) }
            try pass(from: input, to: output)
        } catch let error as PortError {
            throw Failure(error)
        }
    }

    private func pass(from input: borrowing Port, to output: borrowing Port) throws {
        // Memory that no frame has touched costs nothing.
        var filter = DuplicateFilter(frames: frames, window: window * 1000)
        var report = Clock.now + 1_000_000_000
        var tooLong: UInt64 = 0
        while !Ending.isDue {
            var isBlocked = false
            for index in input.receiveRings where !isBlocked {
                isBlocked = move(index, input, output, &filter, &tooLong)
            }
            if isBlocked { try output.syncTransmit() }
            _ = try Port.poll(
                input,
                isBlocked ? [] : .receive,
                output,
                isBlocked ? .transmit : [],
                timeout: .milliseconds(200)
            )
            if verbose > 0, Clock.now >= report {
                Dedup.show(filter, tooLong)
                report += 1_000_000_000
            }
        }
        try Emulator.drain(output)
        Dedup.show(filter, tooLong)
    }

    /// Moves what has come at a ring.
    ///
    /// - Returns: whether there was no room for some of it.
    private func move(
        _ index: Int,
        _ input: borrowing Port,
        _ output: borrowing Port,
        _ filter: inout DuplicateFilter,
        _ tooLong: inout UInt64
    ) -> Bool {
        var ring = input.receiveRing(index)
        var out = output.transmitRing()
        let now = Clock.now
        var done = 0
        var isBlocked = false
        while true {
            let slots = ring.frameSlots(at: done)
            if slots == 0 { break }
            if slots >= out.slotCount {
                tooLong += 1
                done += slots
                continue
            }
            // What cannot go on yet must not be remembered: it comes again.
            if slots > out.space {
                isBlocked = true
                break
            }
            if Dedup.isNew(ring.frame(at: done, slots: slots), now, &filter) {
                _ = out.send(from: &ring, at: done, slots: slots, copying: copies)
            }
            done += slots
        }
        ring.release(done)
        return isBlocked
    }

    private static func isNew(
        _ frame: borrowing ReceivedFrame,
        _ now: UInt64,
        _ filter: inout DuplicateFilter
    ) -> Bool {
        filter.admits(length: frame.length, at: now) { _ = frame.copy(into: &$0) }
    }

    private static func show(_ filter: borrowing DuplicateFilter, _ tooLong: UInt64) {
        Terminal.output(
            "\(filter.fresh + filter.duplicates + tooLong) received, \(filter.fresh) sent, "
                + "\(filter.duplicates) duplicates, \(tooLong) too long\n"
        )
    }
}
