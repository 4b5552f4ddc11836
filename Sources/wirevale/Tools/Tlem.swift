// wirevale tlem: a link between two ports that is slow, far away and loses frames, as it is told.

internal import ArgumentParser
internal import Control
internal import Netmap
internal import Traffic

struct Tlem: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tlem",
        abstract: "Emulate a link between two ports: bandwidth, delay, loss, reordering.",
        discussion: """
            -B, -D, -L, -Q and -R are for both directions, or, given twice, for the way
            from the first port to the second and for the way back. Every frame that does
            not arrive is counted: lost, or without room in the queue.

            EXAMPLES:
              wirevale tlem -i vale0:x -i vale1:y -B 100M -D 10ms
              wirevale tlem -i vale0:x -i vale1:y -B 10M -B 1M -Q 64K -L ber,1e-7
              wirevale tlem -i 'netmap:p}1' -i 'netmap:q}1' -D exp,1ms,3ms -R 0.01,5ms
            """,
        helpNames: .long
    )

    @Option(name: .customShort("i"), help: "A port; give two.")
    var interfaces: [String] = []
    @OptionGroup var link: LinkOptions
    @Option(name: .customShort("Q"), help: "Bytes that may wait for the line: '64K'.")
    var queues: [String] = []
    @Option(name: .customShort("R"), help: "Hold that share of frames for that time: '0.1,5ms'.")
    var reorderings: [String] = []
    @Option(name: .customLong("memory"), help: "Bytes under way at most, each way: '64M'.")
    var memory = "64M"
    @Option(name: .customShort("b"), help: "Most frames a turn and direction.")
    var burst = 1024
    @Option(name: .customShort("w"), help: "Seconds to wait before it begins.")
    var wait = 0.0
    @Option(name: .customShort("C"), help: "Processors of the two directions: '0,1'.")
    var processors: String?
    @Flag(name: .customShort("v"), help: "Say every second what happens.") var verbose: Int
    @Flag(name: .customShort("q"), help: "Say nothing but what is wrong.") var isQuiet = false
    @OptionGroup var engine: EngineOptions

    func run() throws {
        guard interfaces.count == 2, interfaces[0] != interfaces[1], burst > 0 else {
            throw ValidationError("give two ports with -i")
        }
        let settings = try [0, 1].map(settings)
        let bytes = try number { () throws(LinkSettingError) in try LinkSettings.queue(memory) }
        let processors = try self.processors.map(Tlem.list) ?? []
        _ = try engine.connectOrStart()
        let space = PortSpace.engine(socket: engine.directory.netmapSocket)
        Ending.watchSignals()
        do {
            let links = try [0, 1].map { direction in
                try TlemLink(
                    from: interfaces[direction],
                    to: interfaces[1 - direction],
                    Emulator(
                        settings: settings[direction],
                        seed: link.seed(of: direction),
                        memory: bytes,
                        burst: burst,
                        progress: EmulatorProgress()
                    ),
                    space
                )
            }
            if !isQuiet { Terminal.output("emulating a link, \(links[0].name)\n") }
            if wait > 0 { Clock.sleep(until: Clock.now + UInt64(wait * 1e9)) }
            let threads = try links.enumerated().map { index, link in
                try ToolThread(processor: index < processors.count ? processors[index] : nil) {
                    // Whichever ends takes the other along.
                    defer { Ending.come() }
                    try link.run()
                }
            }
            while !threads.allSatisfy(\.hasEnded) {
                Clock.sleep(until: Clock.now + 1_000_000_000)
                if verbose > 0, !Ending.isDue { for link in links { link.report() } }
                if Ending.isDue { break }
            }
            for thread in threads { try thread.join() }
            if !isQuiet { for link in links { link.report() } }
        } catch let error as PortError {
            throw Failure(error)
        }
    }

    private func settings(_ direction: Int) throws -> LinkSettings {
        var settings = try link.settings(of: direction, most: 2)
        if case .recorded = settings.bandwidth {
            throw ValidationError("-B 'real' is for recorded frames (nmreplay); write '-B 100M'")
        }
        try number { () throws(LinkSettingError) in
            if let text = try link.pick("-Q", queues, direction, 2) {
                settings.queue = try LinkSettings.queue(text)
            }
            if let text = try link.pick("-R", reorderings, direction, 2) {
                settings.reordering = try LinkSettings.Reordering(text)
            }
        }
        guard settings.queue == nil || settings.bandwidth != .unlimited else {
            throw ValidationError("nothing waits in -Q without a bandwidth; add '-B 100M'")
        }
        return settings
    }

    private func number<Value>(_ body: () throws(LinkSettingError) -> Value) throws -> Value {
        do throws(LinkSettingError) { return try body() } catch {
            throw ValidationError(error.description)
        }
    }

    private static func list(_ text: String) throws -> [Int] {
        let numbers = text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
        let all = numbers.compactMap { $0 }
        guard (1...4).contains(all.count), all.count == numbers.count, all.allSatisfy({ $0 >= 0 })
        else { throw ValidationError("-C takes processors, one for each direction: '0,1'") }
        // The original takes four: two threads a direction.
        return all.count == 4 ? [all[0], all[2]] : all
    }
}

/// A direction with its ports.
final class TlemLink: Sendable {
    private let input: Port
    private let output: Port
    private let emulator: Emulator
    var name: String { "\(input.name) and \(output.name)" }

    /// Opens the receive half of one port and the transmit half of the other.
    init(from: String, to: String, _ emulator: Emulator, _ space: PortSpace) throws {
        var one = try ToolText.specification(from)
        var other = try ToolText.specification(to)
        one.flags.insert(.receiveOnly)
        one.flags.remove(.transmitOnly)
        other.flags.insert(.transmitOnly)
        other.flags.remove(.receiveOnly)
        input = try Port(one, on: space)
        output = try Port(other, on: space)
        self.emulator = emulator
    }

    func run() throws { try emulator.run(input, output) }

    func report() {
        let state = emulator.progress.now
        Terminal.output(
            "\(input.name) -> \(output.name): \(state.counts.offered) received, \(state.sent) sent, "
                + "\(state.counts.lost) lost, \(state.counts.withoutRoom) without room, "
                + "\(state.counts.held) held, \(state.tooLong) too long, \(state.underWay) under way, "
                + "at most \(state.latest / 1000) usec late\n"
        )
    }
}
