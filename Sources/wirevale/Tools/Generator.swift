// A run of pkt-gen: ports, threads, reports.

internal import Control
internal import Glibc
internal import Netmap
internal import Wire

/// What the threads of a run have in common.
struct GeneratorPlan: Sendable {
    let function: PktGen.Function
    let burst: Int
    let longest: Int
    let shortest: Int
    let header: Int
    let fragments: Int
    let fragmentSize: Int
    let isIPv6: Bool
    let bits: PktGen.Bits
    let endsWhenIdle: Bool
    let source: AddressRange
    let destination: AddressRange
    let sourceMAC: MACAddress
    let destinationMAC: MACAddress
    let capture: [[UInt8]]
    /// Frames of one thread, 0 for no end.
    let count: UInt64
    /// Nanoseconds a frame of one thread, 0 for none.
    let pace: Double
}

/// Runs threads and reports what they do.
struct Generator {
    private let options: PktGen
    private let plan: GeneratorPlan
    private let space: PortSpace
    private let specification: PortSpecification

    init(_ options: PktGen, _ space: PortSpace) throws {
        self.options = options
        self.space = space
        var specification = try ToolText.specification(options.interface)
        specification.flags.insert(.acceptsHeader)
        if options.configuration != nil {
            specification.configuration = try ToolText.geometry(options.configuration)
        }
        if options.function.receives { specification.flags.insert(.pollSendsNothing) }
        self.specification = specification
        let isIPv6 = options.isIPv6
        let length = options.lengths.first ?? 60
        let capture = try options.pcap.map { try PcapFile($0).records.map(\.bytes) } ?? []
        let threads = UInt64(options.threads)
        plan = GeneratorPlan(
            function: options.function,
            burst: options.burst ?? options.function.burst,
            longest: length,
            shortest: options.lengths.count == 2 ? min(length, options.lengths[1]) : length,
            header: try Generator.header(options, specification, space),
            fragments: options.fragments,
            fragmentSize: options.fragmentSize ?? .max,
            isIPv6: isIPv6,
            bits: options.all,
            endsWhenIdle: options.endsWhenIdle,
            source: try AddressRange(
                options.source ?? (isIPv6 ? "fd00::1" : "10.0.0.1"),
                isIPv6: isIPv6
            ),
            destination: try AddressRange(
                options.destination ?? (isIPv6 ? "fd00::1:1" : "10.1.0.1"),
                isIPv6: isIPv6
            ),
            sourceMAC: try Generator.address(options.sourceMAC ?? "02:00:00:00:00:01"),
            destinationMAC: try Generator.address(options.destinationMAC),
            capture: capture,
            count: options.count == 0 ? 0 : max(1, options.count / threads),
            pace: options.rate.map { 1e9 * Double(threads) / $0 } ?? 0
        )
    }

    private static func address(_ text: String) throws -> MACAddress {
        guard let address = MACAddress(text) else {
            throw Failure(.usage, "'\(text)' is no MAC address; write it as 02:00:00:00:00:01")
        }
        return address
    }

    /// The header that frames of the port have, set first if that is asked for.
    private static func header(
        _ options: PktGen,
        _ specification: PortSpecification,
        _ space: PortSpace
    ) throws -> Int {
        // An ephemeral port is there only as long as somebody has it open.
        let port = try Port(specification, on: space)
        if let wanted = options.headerLength {
            try space.setHeaderLength(wanted, of: port.name)
            return wanted
        }
        return (try? space.headerLength(of: port.name)) ?? 0
    }

    func run() throws {
        let ports = try GeneratorPorts(options.threads, specification, space)
        if plan.header > 0 { try space.setHeaderLength(plan.header, of: ports.name) }
        Terminal.output(
            "\(ports.name): \(options.function.rawValue), memory \(ports.memory), "
                + "\(options.threads) thread\(options.threads == 1 ? "" : "s")\n"
        )
        let isSwitch = specification.name.hasPrefix("val")
        let wait =
            options.wait
            ?? (isSwitch || specification.name.contains(where: { "{}".contains($0) }) ? 0 : 2)
        if wait > 0 { Clock.sleep(until: Clock.now + UInt64(wait * 1e9)) }
        let counters = (0..<options.threads).map { _ in ToolCounters() }
        let plan = self.plan
        let began = Clock.now
        let threads = try counters.enumerated().map { index, counter in
            try ToolThread(processor: processor(of: index)) {
                try ports.use(index) { port in
                    switch plan.function {
                    case .tx, .txseq: try Transmitter(plan, counter).run(port)
                    case .rx: try Receiver(plan, counter).run(port)
                    case .rxseq: try SequenceReceiver(plan, counter).run(port)
                    case .ping: try Pinger(plan, counter).run(port)
                    case .pong: try Ponger(plan, counter).run(port)
                    }
                }
            }
        }
        report(counters, until: { threads.allSatisfy(\.hasEnded) })
        for thread in threads { try thread.join() }
        summarise(counters, began)
    }

    private func processor(of thread: Int) -> Int? {
        guard let first = options.affinity else { return nil }
        let all = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        let used = options.processors > 0 ? min(options.processors, all) : all
        return (first + thread % max(1, used)) % max(1, all)
    }

    // MARK: Reports

    private func bits(_ packets: UInt64, _ bytes: UInt64) -> Double {
        8 * Double(options.countsFraming ? bytes + 24 * packets : bytes)
    }

    private func report(_ counters: [ToolCounters], until isOver: () -> Bool) {
        var (packets, bytes, events) = (UInt64(0), UInt64(0), UInt64(0))
        var last = Clock.now
        let interval = UInt64(options.reportInterval) * 1_000_000
        var rates = RateStatistics()
        while !isOver() {
            while !isOver(), Clock.now < last + interval { usleep(2000) }
            guard Clock.now >= last + interval else { return }
            let now = Clock.now
            let p = counters.reduce(0) { $0 + $1.packets }
            let b = counters.reduce(0) { $0 + $1.bytes }
            let e = counters.reduce(0) { $0 + $1.events }
            let seconds = Double(now - last) / 1e9
            let plain = options.isPlain
            // The first interval has the beginning in it.
            if packets > 0 { rates.add(Double(p - packets) / seconds) }
            Terminal.output(
                "\(ToolText.scaled(Double(p - packets) / seconds, plainly: plain))pps "
                    + "(\(ToolText.scaled(Double(p - packets), plainly: plain))pkts "
                    + "\(ToolText.scaled(bits(p - packets, b - bytes) / seconds, plainly: plain))bps "
                    + "in \((now - last) / 1000) usec) "
                    + "\(ToolText.fixed(Double(p - packets) / Double(max(1, e - events)), 2)) avg_batch"
                    + (options.all.contains(.mean) ? rates.text(plainly: plain) : "") + "\n"
            )
            (packets, bytes, events, last) = (p, b, e, now)
        }
    }

    private func summarise(_ counters: [ToolCounters], _ began: UInt64) {
        let packets = counters.reduce(0) { $0 + $1.packets }
        let bytes = counters.reduce(0) { $0 + $1.bytes }
        let events = counters.reduce(0) { $0 + $1.events }
        let verb = options.function.receives || options.function == .pong ? "Received" : "Sent"
        guard packets > 0 else { return Terminal.output("\(verb) nothing.\n") }
        let last = counters.map(\.span.last).max() ?? 0
        let first = counters.filter { $0.packets > 0 }.map(\.span.first).min() ?? began
        let seconds = max(1e-9, Double(last - first) / 1e9)
        let plain = options.isPlain
        let rate = Double(packets) / seconds
        let raw = 8 * Double(bytes + 24 * packets) / seconds
        Terminal.output(
            "\(verb) \(packets) packets \(bytes) bytes \(events) events "
                + "\(bytes / packets) bytes each in \(ToolText.fixed(seconds, 2)) seconds.\n"
                + "Speed: \(ToolText.scaled(rate, plainly: plain))pps "
                + "Bandwidth: \(ToolText.scaled(bits(packets, bytes) / seconds, plainly: plain))bps "
                + "(raw \(ToolText.scaled(raw, plainly: plain))bps). "
                + "Average batch: \(ToolText.fixed(Double(packets) / Double(max(1, events)), 2)) pkts\n"
        )
    }
}

/// Mean and standard deviation of rates (Welford's way: no sum of large squares).
struct RateStatistics {
    private(set) var count = 0.0
    private(set) var mean = 0.0
    private var squares = 0.0

    var deviation: Double { count > 1 ? (squares / (count - 1)).squareRoot() : 0 }

    mutating func add(_ rate: Double) {
        count += 1
        let distance = rate - mean
        mean += distance / count
        squares += distance * (rate - mean)
    }

    func text(plainly: Bool) -> String {
        " [\(ToolText.scaled(mean, plainly: plainly))avg \(ToolText.scaled(deviation, plainly: plainly))std"
            + " of \(Int(count))]"
    }
}

/// The ports of a run's threads: all rings, or one ring each.
final class GeneratorPorts: Sendable {
    private let specifications: [PortSpecification]
    private let space: PortSpace
    /// Keeps the port alive until all threads have theirs.
    private let first: Port
    let name: String
    let memory: String

    init(_ threads: Int, _ specification: PortSpecification, _ space: PortSpace) throws {
        self.space = space
        var specifications = [specification]
        if threads > 1 {
            specifications = (0..<threads).map { index in
                var one = specification
                switch specification.rings {
                case .host, .hostOne: one.rings = .hostOne(index)
                default: one.rings = .one(index)
                }
                return one
            }
        }
        self.specifications = specifications
        first = try Port(specification, on: space)
        let rings = max(first.configuration.transmitRings, first.configuration.receiveRings)
        guard threads <= max(1, rings) else {
            throw Failure(
                .usage,
                "'\(specification.name)' has \(rings) rings, too few for \(threads) threads; "
                    + "write -p \(rings), or '\(specification.name)@conf:rings=\(threads)'"
            )
        }
        name = first.name
        memory = "\(first.memoryID) (\(first.memorySize / 1024) KB)"
    }

    /// Lets a thread work with its port.
    func use(_ thread: Int, _ body: (borrowing Port) throws -> Void) throws {
        if specifications.count == 1 { return try body(first) }
        try body(try Port(specifications[thread], on: space))
    }
}
