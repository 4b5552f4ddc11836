// wirevale nmreplay: sends the frames of a capture file when they are due.

internal import ArgumentParser
internal import Control
internal import Netmap
internal import Traffic

struct NmReplay: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "nmreplay",
        abstract: "Send the frames of a capture file, as recorded or over an emulated link.",
        discussion: """
            EXAMPLES:
              wirevale nmreplay -f trace.pcap -i vale0:x                  as recorded
              wirevale nmreplay -f trace.pcap -i vale0:x -B real,10       ten times faster
              wirevale nmreplay -f trace.pcap -i vale0:x -B ether,1G -n 0 for ever
              wirevale nmreplay -f trace.pcap -i vale0:x -D 10ms -L 0.01
            """,
        helpNames: .long
    )

    @Option(name: .customShort("f"), help: "The capture file (pcap).")
    var file: String
    @Option(name: .customShort("i"), help: "The port.")
    var interface: String
    @OptionGroup var link: LinkOptions
    @Option(name: .customShort("n"), help: "How many times the whole file; 0 for ever.")
    var passes = 1
    @Option(name: .customShort("b"), help: "Most frames a sync.")
    var burst = 1024
    @Option(name: .customShort("w"), help: "Seconds to wait before it begins.")
    var wait = 0.0
    @Option(name: .customShort("C"), help: "The processor to run on.")
    var processor: String?
    @Flag(name: .customShort("v"), help: "Say more.") var verbose: Int
    @OptionGroup var engine: EngineOptions

    func run() throws {
        guard passes >= 0, burst > 0 else { throw ValidationError("-n and -b are positive") }
        var settings = try link.settings(of: 0, most: 1)
        if link.bandwidths.isEmpty { settings.bandwidth = .recorded(speedup: 1) }
        let processor = try self.processor.map { text in
            guard let number = Int(text.prefix { $0 != "," }), number >= 0 else {
                throw ValidationError("-C takes a processor: '1'")
            }
            return number
        }
        let records = try PcapFile(file).records
        let schedule = ReplaySchedule(
            records.map { ($0.time, $0.bytes.count) },
            settings,
            seed: link.seed(of: 0)
        )
        _ = try engine.connectOrStart()
        let space = PortSpace.engine(socket: engine.directory.netmapSocket)
        Ending.watchSignals()
        do {
            var specification = try ToolText.specification(interface)
            specification.flags.insert(.transmitOnly)
            let replay = Replay(
                port: try Port(specification, on: space),
                records: records,
                schedule: schedule,
                passes: passes,
                burst: burst
            )
            Terminal.output(
                "\(replay.port.name): \(records.count) frames of '\(file)' in "
                    + "\(ToolText.fixed(Double(schedule.length) / 1e9, 6)) seconds, "
                    + "\(schedule.counts.lost) lost\n"
            )
            if wait > 0 { Clock.sleep(until: Clock.now + UInt64(wait * 1e9)) }
            let thread = try ToolThread(processor: processor) { try replay.run() }
            try thread.join()
        } catch let error as PortError {
            throw Failure(error)
        }
    }
}

/// Sends what a schedule says.
private final class Replay: Sendable {
    let port: Port
    private let records: [PcapFile.Record]
    private let schedule: ReplaySchedule
    private let passes: Int
    private let burst: Int

    init(
        port: consuming Port,
        records: [PcapFile.Record],
        schedule: ReplaySchedule,
        passes: Int,
        burst: Int
    ) {
        self.port = port
        self.records = records
        self.schedule = schedule
        self.passes = passes
        self.burst = burst
    }

    func run() throws { try run(port) }

    private func run(_ port: borrowing Port) throws {
        Clock.sharpen()
        let began = Clock.now
        var start = began
        var (sent, bytes, tooLong, latest) = (UInt64(0), UInt64(0), UInt64(0), UInt64(0))
        var pass = 0
        while (passes == 0 || pass < passes) && !schedule.entries.isEmpty && !Ending.isDue {
            var next = 0
            while next < schedule.entries.count, !Ending.isDue {
                let now = Clock.now
                var ring = port.transmitRing()
                var inBatch = 0
                var isBlocked = false
                while next < schedule.entries.count, inBatch < burst {
                    let entry = schedule.entries[next]
                    if start + entry.due > now { break }
                    let frame = records[entry.frame].bytes
                    if ring.send(frame.span) {
                        sent += 1
                        bytes += UInt64(frame.count)
                        latest = max(latest, now - start - entry.due)
                    } else if ring.isDrained {
                        tooLong += 1
                    } else {
                        isBlocked = true
                        break
                    }
                    inBatch += 1
                    next += 1
                }
                try port.syncTransmit()
                if isBlocked {
                    _ = try port.poll(.transmit, timeout: .milliseconds(200))
                } else if next < schedule.entries.count {
                    Clock.sleep(until: start + schedule.entries[next].due)
                }
            }
            start += schedule.length
            pass += 1
        }
        let end = Clock.now
        try Emulator.drain(port)
        let seconds = max(1e-9, Double(end - began) / 1e9)
        Terminal.output(
            "Sent \(sent) frames \(bytes) bytes in \(ToolText.fixed(seconds, 6)) seconds, "
                + "\(tooLong) too long, at most \(latest / 1000) usec late.\n"
        )
    }
}
