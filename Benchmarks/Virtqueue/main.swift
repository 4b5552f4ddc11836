// Frames from one guest's transmit queue into another's receive queue, as a worker moves them, with
// both drivers in the same thread: what the engine itself costs, without a second core and its cache
// lines. Beside it the bare copy between the same buffers, interleaved.
//
//   virtqueue-bench                            the table of docs/performance.md
//   virtqueue-bench --json                     the same for programs, a line for each size
//   virtqueue-bench --visits                   what the dearest visit to a queue costs its neighbours
//   virtqueue-bench --count swift|copy SIZE N  N rounds of 256 frames, for instruction counts

import CNetmap
import Glibc
import Netmap
import Vale
import VhostUser

let sourceMAC: UInt64 = 0x01_0000_0000_02
let sinkMAC: UInt64 = 0x02_0000_0000_02
let sourcePort: UInt16 = 1
let sinkPort: UInt16 = 2
let burst = 64

/// A switch with a guest that sends and one that receives.
@safe struct Bed: ~Copyable {
    var source: GuestSide
    var sink: GuestSide
    let size: Int
    let vale = Switch(seed: 0x9e37_79b9_7f4a_7c15)
    var batch = FrameBatch()
    var plan = ForwardingPlan()
    var scratch = DeliveryScratch()
    var finisher = OffloadFinisher()
    let pages: UnsafeMutablePointer<nm_port_counters>
    private var interrupts = 0
    private var offered: UInt16 = 0

    init(size: Int, entries: Int) throws {
        let sending = try GuestSide(
            entries: entries,
            bufferLength: GuestSide.headerLength + size,
            writable: false
        )
        let receiving = try GuestSide(entries: entries, bufferLength: 2048, writable: true)
        self.size = size
        source = sending
        sink = receiving
        source.address(from: sourceMAC, to: sinkMAC)
        unsafe pages = .allocate(capacity: 2)
        // SAFETY: a C structure of integers; zeroes are its initial state.
        unsafe UnsafeMutableRawPointer(pages).initializeMemory(
            as: UInt8.self,
            repeating: 0,
            count: 2 * MemoryLayout<nm_port_counters>.stride
        )
        vale.table.learn(sinkMAC, on: sinkPort, now: 0, ageing: 300)
        sink.offer(entries)
        forward()
        offered = sink.returned
    }

    deinit { unsafe pages.deallocate() }

    /// Once around the ring in bursts; returns how many frames.
    @inline(never) @discardableResult
    mutating func forward() -> Int {
        // SAFETY: `pages` has two entries and outlives the handles.
        let rx = unsafe DirectionCounters(unsafePage: &pages[0].rx)
        let tx = unsafe DirectionCounters(unsafePage: &pages[1].tx)
        var moved = 0
        while moved < source.entries {
            source.offer(burst)
            batch.removeAll()
            source.queue.collect(into: &batch, counters: rx)
            vale.classify(batch, from: sourcePort, now: 1, counters: rx, into: &plan)
            for k in 0..<plan.targetCount {
                let target = plan.target(k)
                unsafe sink.queue.deliver(
                    batch,
                    target.list,
                    target.count,
                    counters: tx,
                    scratch: &scratch,
                    finisher: &finisher
                )
            }
            if sink.queue.needsInterrupt() { interrupts += 1 }
            source.queue.completeCollected()
            if source.queue.needsInterrupt() { interrupts += 1 }
            moved += batch.count
            sink.offer(batch.count)
        }
        return moved
    }

    /// One visit, as a worker pays it: what it took.
    @inline(never)
    mutating func visit() -> (frames: Int, bytes: Int, chains: Int) {
        // SAFETY: as in `forward`.
        let rx = unsafe DirectionCounters(unsafePage: &pages[0].rx)
        let tx = unsafe DirectionCounters(unsafePage: &pages[1].tx)
        let returned = source.returned
        let bytes = tx.bytes
        batch.removeAll()
        source.queue.collect(into: &batch, counters: rx)
        vale.classify(batch, from: sourcePort, now: 1, counters: rx, into: &plan)
        for k in 0..<plan.targetCount {
            let target = plan.target(k)
            unsafe sink.queue.deliver(
                batch,
                target.list,
                target.count,
                counters: tx,
                scratch: &scratch,
                finisher: &finisher
            )
        }
        source.queue.completeCollected()
        return (batch.count, Int(tx.bytes - bytes), Int(source.returned &- returned))
    }

    /// The receiver gives all its buffers back.
    mutating func refillSink() {
        sink.offer(Int(sink.returned &- offered))
        offered = sink.returned
    }

    /// The same bytes between the same buffers and nothing else.
    @inline(never)
    mutating func copy() -> Int {
        for i in 0..<source.entries { unsafe nm_copy(sink.frame(i), source.frame(i), size) }
        return source.entries
    }

    /// Whether every frame of the last round went where it should.
    var isIntact: Bool {
        let delivered = unsafe DirectionCounters(unsafePage: &pages[1].tx)
        let same = unsafe memcmp(sink.frame(1), source.frame(1), size) == 0
        return same && sink.returned == source.returned && delivered.dropped == 0
            && delivered.packets & 0xffff == UInt64(sink.returned) && interrupts == 0
    }
}

/// Nanoseconds a frame for `rounds` rounds.
func measure(_ rounds: Int, _ body: () -> Int) -> Double {
    let start = nm_monotonic_ns()
    var frames = 0
    for _ in 0..<rounds { frames += body() }
    return Double(nm_monotonic_ns() - start) / Double(frames)
}

/// The middle of `values`, in hundredths.
func median(_ values: [Double]) -> Double {
    (values.sorted()[values.count / 2] * 100).rounded() / 100
}

/// One line of the table: interleaved rounds on rings of their own.
func compare(size: Int, entries: Int, json: Bool) throws {
    var mine = try Bed(size: size, entries: entries)
    var bare = try Bed(size: size, entries: entries)
    var forwarding: [Double] = []
    var copying: [Double] = []
    let inner = size > 512 ? 16 : 64
    for round in 0..<160 {
        let ours = measure(inner) { mine.forward() }
        let limit = measure(inner) { bare.copy() }
        if round < 8 { continue }
        forwarding.append(ours)
        copying.append(limit)
    }
    guard mine.isIntact else { fatalError("frames of \(size) bytes did not arrive") }
    let ratio = median(zip(forwarding, copying).map { $0 / $1 })
    let (ours, limit) = (median(forwarding), median(copying))
    let best = median([forwarding.min() ?? 0])
    print(
        json
            ? "{\"size\": \(size), \"queue\": \(entries), \"wirevale\": \(ours), \"best\": \(best), "
                + "\"copy\": \(limit), \"ratio\": \(ratio)}"
            : "\(size) bytes, queue of \(entries): wirevale \(ours) ns/frame (best \(best)), "
                + "bare copy \(limit); wirevale/copy \(ratio)"
    )
}

let arguments = CommandLine.arguments
if arguments.count == 5, arguments[1] == "--count", let size = Int(arguments[3]),
    let rounds = Int(arguments[4])
{
    var bed = try Bed(size: size, entries: 256)
    for _ in 0..<rounds { _ = arguments[2] == "swift" ? bed.forward() : bed.copy() }
    guard bed.isIntact || arguments[2] != "swift" else { fatalError("frames did not arrive") }
} else if arguments.contains("--visits") {
    try showVisits()
} else {
    for entries in [256, 1024] {
        for size in [64, 1514] {
            try compare(size: size, entries: entries, json: arguments.contains("--json"))
        }
    }
}
