// Frames into a port, out of it, or both, as fast as they go.
//
// A switch that learns has no port that swallows or makes frames, so it gets a second one that costs next to
// nothing: its rings have 32768 descriptors over 256 buffers, all of them offered again by one store now and then;
// nobody looks at its frames.

import CNetmap
import Glibc
import Netmap

/// What goes through the port.
enum Way: String {
    case into = "in"
    case out
    case both
}

/// A connection among several.
private final class Line {
    private let end: FrontEnd

    init(_ end: consuming FrontEnd) { self.end = end }
}

/// The port that is measured, and the other one if the switch needs it.
struct Flow: ~Copyable {
    private static let batch = 32
    private static let endless = 32768
    private static let start: UInt64 = 0x1_0000_0000

    private let way: Way
    private let memory: Mapping
    private var receive: DriverRing
    private var transmit: DriverRing
    private var sink: DriverRing
    private var source: DriverRing
    private let lines: [Line]
    private let hasOther: Bool
    private var turns = 0
    private var seen: UInt64 = 0
    /// Frames that went in.
    private(set) var sent: UInt64 = 0
    /// Frames that came out.
    private(set) var received: UInt64 = 0

    /// Connects to the port at the first path, and to the other one at the second.
    init(_ way: Way, frameLength: Int, entries: Int, _ paths: [String]) throws {
        let sizes = [entries, entries, Flow.endless, Flow.endless]
        let places = sizes.indices.map { sizes[..<$0].map(DriverRing.length).reduce(0, +) }
        let length = sizes.map(DriverRing.length).reduce(0, +)
        let file = OwnedDescriptor(
            try SystemError.check(unsafe nm_memfd_create("flow", UInt64(length)), "memfd_create")
        )
        let memory = try Mapping(file, length: length)
        func ring(_ k: Int) throws -> DriverRing {
            try DriverRing(
                in: memory,
                at: places[k],
                start: Flow.start,
                writable: k % 2 == 0,
                entries: sizes[k],
                frameLength: frameLength
            )
        }
        func connect(
            _ path: String,
            _ receive: borrowing DriverRing,
            _ transmit: borrowing DriverRing
        ) throws -> Line {
            let made = try FrontEnd(connectingTo: path)
            try made.start(
                memory: file,
                length: length,
                at: Flow.start,
                receive: receive,
                transmit: transmit
            )
            return Line(made)
        }
        var receive = try ring(0)
        var transmit = try ring(1)
        var sink = try ring(2)
        var source = try ring(3)
        let (own, others): (UInt64, UInt64) = (0x01_0000_0000_02, 0x02_0000_0000_02)
        transmit.address(from: own, to: others)
        source.address(from: others, to: own)
        receive.offer(entries)
        sink.offerAll()
        let hasOther = paths.count > 1
        var lines = [try connect(paths[0], receive, transmit)]
        if hasOther { lines.append(try connect(paths[1], sink, source)) }
        receive.notify()
        transmit.notify()
        if hasOther {
            sink.notify()
            source.notify()
        }
        // All at once: nothing throws any more.
        self.way = way
        self.lines = lines
        self.hasOther = hasOther
        self.memory = memory
        self.receive = receive
        self.transmit = transmit
        self.sink = sink
        self.source = source
    }

    /// Has a switch that learns see both addresses.
    mutating func learn() {
        if hasOther { source.offer() }
        usleep(100_000)
        sent &+= UInt64(transmit.produce(1, from: sent))
        usleep(100_000)
        received &+= UInt64(receive.consume(Flow.batch, into: &seen))
    }

    /// One batch each way.
    mutating func step() {
        if way != .out {
            let count = transmit.produce(Flow.batch, from: sent)
            sent &+= UInt64(count)
            // As many come back: a peer that has one port sends them back itself.
            if way == .both, hasOther, count > 0 { source.offer(count) }
        }
        if way != .into { received &+= UInt64(receive.consume(Flow.batch, into: &seen)) }
        turns &+= 1
        guard hasOther, turns & 15 == 0 else { return }
        sink.offerAll()
        if way == .out { source.offerAll() }
    }
}

extension DriverRing {
    /// Writes the Ethernet header of every frame.
    func address(from source: UInt64, to target: UInt64) {
        for k in 0..<DriverRing.bufferCount {
            let frame = unsafe frame(k)
            // SAFETY: a buffer has room for a header and a frame.
            unsafe nm_store64(frame, target | source &<< 48)
            unsafe nm_store32(frame + 8, UInt32(truncatingIfNeeded: source &>> 16))
            // Local experimental EtherType 0x88b5: nobody looks any further.
            unsafe nm_store16(frame + 12, UInt16(0x88b5).byteSwapped)
        }
    }
}

/// Moves frames until the program is ended; a line of JSON for every window.
func flow(_ way: Way, size: Int, entries: Int, seconds: Double, cpu: Int32, _ paths: [String])
    throws -> Never
{
    _ = try SystemError.check(nm_pin_thread(cpu), "run on processor \(cpu)")
    var flow = try Flow(way, frameLength: size, entries: entries, paths)
    flow.learn()
    while true {
        let (sent, received, start) = (flow.sent, flow.received, nm_monotonic_ns())
        let end = start &+ UInt64(seconds * 1e9)
        var now = start
        while now < end {
            for _ in 0..<256 { flow.step() }
            now = nm_monotonic_ns()
        }
        let took = Double(now &- start) / 1e9
        let rates = [flow.sent &- sent, flow.received &- received].map { Double($0) / took }
        print("{\"seconds\": \(took), \"in\": \(rates[0]), \"out\": \(rates[1])}")
        fflush(nil)
    }
}
