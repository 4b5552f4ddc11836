// One 64-byte frame between two vhost-user ports of a switch, there and back: how long a round trip takes.
//
//   latency-bench SOCKET SOCKET busy|asleep SECONDS CPU
//   latency-bench flow in|out|both SIZE ENTRIES SECONDS CPU SOCKET [SOCKET]
//
// `busy` begins the next round trip at once; `asleep` waits 2 ms before it, so that a switch that can
// sleep does. The frame is awaited by polling in both, on the processor CPU. A line of JSON for every
// window of SECONDS, until it is ended.

import CNetmap
import Glibc
import Netmap

/// How a client behaves between two round trips.
enum Pace: String {
    case busy
    case asleep

    /// Longer than any switch here goes on polling.
    static let rest = timespec(tv_sec: 0, tv_nsec: 2_000_000)

    func wait() {
        guard self == .asleep else { return }
        var left = Pace.rest
        unsafe nanosleep(&left, nil)
    }
}

/// Goes there and back for `seconds`; returns how long that really was.
@inline(never)
func window(
    _ trip: inout Trip,
    _ pace: Pace,
    seconds: Double,
    into histogram: inout Histogram
) -> Double {
    let start = nm_monotonic_ns()
    let end = start &+ UInt64(seconds * 1e9)
    var now = start
    while now < end {
        pace.wait()
        // Without a rest the end of one trip is the beginning of the next.
        let sent = pace == .busy ? now : nm_monotonic_ns()
        let arrived = trip.run()
        now = nm_monotonic_ns()
        if arrived { histogram.add(now &- sent) }
    }
    return Double(now &- start) / 1e9
}

func run(_ paths: (String, String), _ pace: Pace, seconds: Double, cpu: Int32) throws -> Never {
    _ = try SystemError.check(nm_pin_thread(cpu), "run on processor \(cpu)")
    var trip = try Trip(paths)
    try trip.learn()
    var histogram = Histogram()
    // Flows and caches settle.
    _ = window(&trip, .busy, seconds: 0.3, into: &histogram)
    while true {
        histogram.removeAll()
        let (lost, kicks) = (trip.lost, trip.kicks)
        let took = window(&trip, pace, seconds: seconds, into: &histogram)
        let quantiles = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)]
            .map { "\"\($0.0)\": \(histogram.quantile($0.1))" }
        print(
            "{\"mode\": \"\(pace.rawValue)\", \"seconds\": \(took), \"count\": \(histogram.count), "
                + "\"rate\": \(Double(histogram.count) / took), "
                + quantiles.joined(separator: ", ")
                + ", \"max\": \(histogram.maximum), \"lost\": \(trip.lost - lost), "
                + "\"kicks\": \(trip.kicks - kicks)}"
        )
        fflush(nil)
    }
}

let arguments = CommandLine.arguments
if arguments.count == 8 || arguments.count == 9, arguments[1] == "flow",
    let way = Way(rawValue: arguments[2]), let size = Int(arguments[3]), (60...1514).contains(size),
    let entries = Int(arguments[4]), entries & (entries - 1) == 0, (256...32768).contains(entries),
    let seconds = Double(arguments[5]), let cpu = Int32(arguments[6])
{
    do {
        try flow(
            way,
            size: size,
            entries: entries,
            seconds: seconds,
            cpu: cpu,
            Array(arguments[7...])
        )
    } catch {
        print("latency-bench: \(error)")
        exit(70)
    }
}
guard arguments.count == 6, let pace = Pace(rawValue: arguments[3]),
    let seconds = Double(arguments[4]), seconds > 0, let cpu = Int32(arguments[5])
else {
    print("usage: latency-bench SOCKET SOCKET busy|asleep SECONDS CPU")
    print("       latency-bench flow in|out|both SIZE ENTRIES SECONDS CPU SOCKET [SOCKET]")
    exit(64)
}
do {
    try run((arguments[1], arguments[2]), pace, seconds: seconds, cpu: cpu)
} catch {
    print("latency-bench: \(error)")
    exit(70)
}
