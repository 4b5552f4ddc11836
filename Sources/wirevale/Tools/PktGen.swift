// wirevale pkt-gen: sends, receives and measures frames, with the options of netmap's tool of that name.

internal import ArgumentParser
internal import Control
internal import Glibc
internal import Netmap
internal import Wire

struct PktGen: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pkt-gen",
        abstract: "Send, receive and measure frames on a port.",
        discussion: """
            FUNCTIONS:
              tx, rx        as many frames as possible, or -R a second
              txseq, rxseq  with numbers: what was lost, what came out of order
              ping, pong    round trips, with p50, p99 and p99.9

            EXAMPLES:
              wirevale pkt-gen -i vale0:rx -f rx
              wirevale pkt-gen -i vale0:tx -f tx -l 60 -n 10000000
              wirevale pkt-gen -i 'netmap:p{1' -f tx -R 1000000
              wirevale pkt-gen -i vale0:a@conf:rings=4 -f tx -p 4 -a 0
            """,
        helpNames: .long
    )

    enum Function: String, ExpressibleByArgument, CaseIterable {
        case tx, rx, ping, pong, txseq, rxseq

        var burst: Int { self == .ping || self == .pong ? 1 : 512 }
        var sends: Bool { self == .tx || self == .txseq }
        var receives: Bool { self == .rx || self == .rxseq }
    }

    @Option(name: .customShort("i"), help: "The port: 'vale0:a', 'netmap:p{1', an interface.")
    var interface: String
    @Option(name: .customShort("f"), help: "What to do: tx, rx, ping, pong, txseq, rxseq.")
    var function = Function.rx
    @Option(name: .customShort("n"), help: "How many frames or round trips; 0 for no end.")
    var count: UInt64 = 0
    @Option(
        name: .customShort("l"),
        help: "Length without CRC; a second one is the least of random lengths."
    )
    var lengths: [Int] = []
    @Option(name: .customShort("b"), help: "Frames a sync.")
    var burst: Int?
    @Flag(name: .customShort("4"), help: "IPv4 (the default).") var isIPv4 = false
    @Flag(name: .customShort("6"), help: "IPv6.") var isIPv6 = false
    @Option(name: .customShort("d"), help: "Destination address, or range, with port.")
    var destination: String?
    @Option(name: .customShort("s"), help: "Source address, or range, with port.")
    var source: String?
    @Option(name: .customShort("D"), help: "Destination MAC address.")
    var destinationMAC = "ff:ff:ff:ff:ff:ff"
    @Option(name: .customShort("S"), help: "Source MAC address.")
    var sourceMAC: String?
    @Option(name: .customShort("a"), help: "Processor of the first thread; others get the next.")
    var affinity: Int?
    @Option(name: .customShort("c"), help: "Processors to use; 0 for all.")
    var processors = 0
    @Option(name: .customShort("p"), help: "Threads, each with a ring of its own.")
    var threads = 1
    @Option(name: .customShort("T"), help: "Milliseconds between reports.")
    var reportInterval = 1000
    @Option(name: .customShort("w"), help: "Seconds to wait before it begins (2, on switches 0).")
    var wait: Double?
    @Flag(name: .customShort("W"), help: "rx: end when nothing comes any more.")
    var endsWhenIdle = false
    @Option(name: .customShort("R"), help: "Frames a second.")
    var rate: Double?
    @Flag(name: .customShort("X"), help: "Show the bytes of frames.") var dumps = false
    @Option(
        name: .customShort("H"),
        help: "Give the port a virtio-net header of 0, 10 or 12 bytes."
    )
    var headerLength: Int?
    @Option(name: .customShort("P"), help: "Send the frames of a pcap file.")
    var pcap: String?
    @Flag(name: .customShort("r"), help: "Send what is in the buffers.") var isRubbish = false
    @Flag(name: .customShort("z"), help: "Random source address and port.") var randomSource = false
    @Flag(name: .customShort("Z"), help: "Random destination address and port.")
    var randomDestination = false
    @Option(name: .customShort("F"), help: "Slots a frame is cut into, 1 to 63.")
    var fragments = 1
    @Option(name: .customShort("M"), help: "Bytes of each of them.")
    var fragmentSize: Int?
    @Option(
        name: .customShort("C"),
        help: "Of a port that is made: tx slots, rx slots, tx rings, rx rings."
    )
    var configuration: String?
    @Flag(name: .customShort("A"), help: "Show mean and standard deviation of the rates so far.")
    var showsMean = false
    @Flag(
        name: .customShort("I"),
        help: "Copy each frame from the program's memory, as NS_INDIRECT has it."
    )
    var isIndirect = false
    @Option(
        name: .customShort("o"),
        help: ArgumentHelp(
            "Options as a sum of bits.",
            discussion: """
                2 look at each frame, 4 or 8 copy it, 32 as -I, 64 as -X, 256 as -r, 512 as -z, \
                1024 as -Z, 2048 as -A. 1 (prefetch) and 4096 (checksums) are always on.
                """
        )
    )
    var bits: UInt32 = 0
    @Flag(name: .customShort("N"), help: "Plain numbers, without K, M and G.") var isPlain = false
    @Flag(name: .customShort("B"), help: "Count preamble, CRC and gap in bits a second.")
    var countsFraming = false
    @Flag(name: .customShort("v"), help: "Say more.") var verbose: Int
    @OptionGroup var engine: EngineOptions

    func validate() throws {
        guard lengths.count <= 2, lengths.allSatisfy({ (16...65536).contains($0) }) else {
            throw ValidationError("-l takes one or two lengths from 16 to 65536")
        }
        guard (1...63).contains(fragments) else { throw ValidationError("-F is from 1 to 63") }
        guard threads > 0, burst ?? 1 > 0, reportInterval > 0, rate ?? 1 > 0 else {
            throw ValidationError("-p, -b, -T and -R are positive")
        }
        guard [nil, 0, 10, 12].contains(headerLength) else {
            throw ValidationError("-H is 0, 10 or 12")
        }
        if let bit = PktGen.Bits(rawValue: bits).unknown {
            throw ValidationError(
                bit == 16
                    ? "-o 16 (timestamps in frames) is not offered; -f ping measures times"
                    : "-o has no bit \(bit); 'wirevale pkt-gen --help' shows which there are"
            )
        }
        if isIPv4, isIPv6 { throw ValidationError("-4 and -6 exclude each other") }
        if function == .ping || function == .pong, threads > 1 {
            throw ValidationError("ping and pong have one thread")
        }
    }

    /// What -o says, together with the options of their own.
    struct Bits: OptionSet {
        let rawValue: UInt32

        static let prefetch = Bits(rawValue: 1)
        static let access = Bits(rawValue: 2)
        static let copy = Bits(rawValue: 4)
        static let memcpy = Bits(rawValue: 8)
        static let indirect = Bits(rawValue: 32)
        static let dump = Bits(rawValue: 64)
        static let rubbish = Bits(rawValue: 256)
        static let randomSource = Bits(rawValue: 512)
        static let randomDestination = Bits(rawValue: 1024)
        static let mean = Bits(rawValue: 2048)
        static let checksums = Bits(rawValue: 4096)
        static let copies: Bits = [.copy, .memcpy, .indirect]
        private static let all: Bits = [
            .prefetch, .access, .copies, .dump, .rubbish, .randomSource, .randomDestination, .mean,
            .checksums,
        ]

        /// The lowest bit that means nothing.
        var unknown: UInt32? {
            let rest = subtracting(.all).rawValue
            return rest == 0 ? nil : 1 << UInt32(rest.trailingZeroBitCount)
        }
    }

    var all: Bits {
        var all = Bits(rawValue: bits)
        if isIndirect { all.insert(.indirect) }
        if dumps { all.insert(.dump) }
        if isRubbish { all.insert(.rubbish) }
        if randomSource { all.insert(.randomSource) }
        if randomDestination { all.insert(.randomDestination) }
        if showsMean { all.insert(.mean) }
        return all
    }

    func run() throws {
        _ = try engine.connectOrStart()
        let space = PortSpace.engine(socket: engine.directory.netmapSocket)
        Ending.watchSignals()
        do {
            try Generator(self, space).run()
        } catch let error as PortError {
            throw Failure(error)
        }
    }
}
