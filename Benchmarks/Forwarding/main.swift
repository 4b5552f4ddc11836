// Forwarding between two in-memory ports on one core, beside the bare copy of the same frames and
// a C twin of the same algorithm, interleaved so that the machine's moods hit all three alike.
//
//   forwarding-bench                       the table of docs/performance.md
//   forwarding-bench --count swift 64 N    N rounds of one variant, for instruction counts

import CForwarding
import CNetmap
import Glibc
import Netmap
import Vale

let slots = 1024
let sourceMAC: UInt64 = 0x01_0000_0000_02
let sinkMAC: UInt64 = 0x02_0000_0000_02
let sourcePort: UInt16 = 1
let sinkPort: UInt16 = 2

/// Two ports with 1024 slots each and a switch between them.
@safe struct Bed: ~Copyable {
    let source: Region
    let sink: Region
    var from: Kring
    var into: Kring
    var producer: Ring
    var consumer: Ring
    let vale = Switch(seed: 0x9e37_79b9_7f4a_7c15)
    var plan = ForwardingPlan()
    var batch = FrameBatch()
    var finisher = OffloadFinisher()
    let pages: UnsafeMutablePointer<nm_port_counters>

    init(size: Int) throws {
        let sending = try Region()
        let receiving = try Region()
        source = sending
        sink = receiving
        from = source.transmitKring()
        into = sink.receiveKring()
        producer = source.transmitRing()
        consumer = sink.receiveRing()
        unsafe pages = .allocate(capacity: 2)
        // SAFETY: a C structure of integers; zeroes are its initial state.
        unsafe UnsafeMutableRawPointer(pages).initializeMemory(
            as: UInt8.self,
            repeating: 0,
            count: 2 * MemoryLayout<nm_port_counters>.stride
        )
        vale.table.learn(sinkMAC, on: sinkPort, now: 0, ageing: 300)
        // Every slot once around, so that each buffer holds a frame of the wanted size.
        for _ in 0..<2 {
            fill(size)
            forward(now: 1)
            drain()
        }
    }

    deinit { unsafe pages.deallocate() }

    private mutating func fill(_ size: Int) {
        let n = producer.count
        for i in 0..<n {
            producer.fill(at: i) { span in
                for b in 0..<size { span.storeBytes(of: UInt8(0), toByteOffset: b, as: UInt8.self) }
                for b in 0..<6 {
                    span.storeBytes(
                        of: UInt8(truncatingIfNeeded: sinkMAC >> (8 * b)),
                        toByteOffset: b,
                        as: UInt8.self
                    )
                    span.storeBytes(
                        of: UInt8(truncatingIfNeeded: sourceMAC >> (8 * b)),
                        toByteOffset: 6 + b,
                        as: UInt8.self
                    )
                }
                return size
            }
        }
        producer.advance(n)
    }

    /// The sender queues every slot it has; the frames are in the buffers already.
    mutating func produce() { producer.advance(producer.count) }

    /// The receiver gives all slots back.
    mutating func drain() { consumer.advance(consumer.count) }

    /// Moves everything that waits, in batches of 64, and says how many frames that were.
    @inline(never) @discardableResult
    mutating func forward(now: UInt32) -> Int {
        // SAFETY: `pages` has two entries and outlives the handles.
        let rx = unsafe DirectionCounters(
            unsafePage: UnsafeMutableRawPointer(pages).advanced(by: 64)
                .assumingMemoryBound(to: nm_direction_counters.self)
        )
        let tx = unsafe DirectionCounters(
            unsafePage: UnsafeMutableRawPointer(pages + 1).advanced(by: 64 + 224)
                .assumingMemoryBound(to: nm_direction_counters.self)
        )
        var total = 0
        while true {
            batch.removeAll()
            from.collect(into: &batch, counters: rx)
            if batch.count == 0 { return total }
            vale.classify(batch, from: sourcePort, now: now, counters: rx, into: &plan)
            for k in 0..<plan.targetCount {
                let target = plan.target(k)
                unsafe into.deliver(
                    batch,
                    target.list,
                    target.count,
                    counters: tx,
                    finisher: &finisher
                )
            }
            total += batch.count
            from.completeCollected()
        }
    }
}

func nanoseconds() -> UInt64 { nm_monotonic_ns() }

/// Nanoseconds a frame for `rounds` rounds of filling and draining the rings.
func measure(_ rounds: Int, _ body: () -> Int) -> Double {
    let start = nanoseconds()
    var frames = 0
    for _ in 0..<rounds { frames += body() }
    return Double(nanoseconds() - start) / Double(frames)
}

func twin(_ bed: borrowing Bed) -> OpaquePointer {
    guard
        let made = unsafe twin_create(
            bed.source.descriptor.number,
            bed.sink.descriptor.number,
            UInt64(bed.source.byteCount),
            Int32(slots),
            sourceMAC,
            sinkMAC
        )
    else { fatalError("no memory for the twin") }
    return unsafe made
}

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

func format(_ value: Double, _ digits: Int = 2) -> String {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let whole = (value * scale).rounded() / scale
    return String(describing: whole)
}

/// One line of the table: 64 interleaved rounds of the three variants on rings of their own.
func compare(size: Int) throws {
    var mine = try Bed(size: size)
    var other = try Bed(size: size)
    var bare = try Bed(size: size)
    let c = unsafe twin(other)
    let copy = unsafe twin(bare)
    var results: (swift: [Double], c: [Double], copy: [Double]) = ([], [], [])
    unsafe twin_align(c)
    unsafe twin_align(copy)
    let inner = size > 512 ? 8 : 32
    for round in 0..<96 {
        let swift = measure(inner) {
            mine.produce()
            let n = mine.forward(now: 1)
            mine.drain()
            return n
        }
        let inC = measure(inner) {
            other.produce()
            let n = unsafe twin_forward(c, 1)
            other.drain()
            return Int(n)
        }
        let copying = measure(inner) {
            bare.produce()
            let n = unsafe twin_copy(copy)
            bare.drain()
            return Int(n)
        }
        if round >= 8 {
            results.swift.append(swift)
            results.c.append(inC)
            results.copy.append(copying)
        }
    }
    let overCopy = zip(results.swift, results.copy).map { $0 / $1 }
    let overC = zip(results.swift, results.c).map { $0 / $1 }
    print(
        "\(size) bytes: wirevale \(format(median(results.swift))) ns/frame"
            + " (best \(format(results.swift.min() ?? 0))), C twin \(format(median(results.c))),"
            + " bare copy \(format(median(results.copy)));"
            + " wirevale/copy \(format(median(overCopy))), wirevale/C \(format(median(overC)))"
    )
    unsafe twin_destroy(c)
    unsafe twin_destroy(copy)
}

let arguments = CommandLine.arguments
if arguments.count == 5, arguments[1] == "--count", let size = Int(arguments[3]),
    let rounds = Int(arguments[4])
{
    var bed = try Bed(size: size)
    let c = unsafe twin(bed)
    unsafe twin_align(c)
    for _ in 0..<rounds {
        bed.produce()
        switch arguments[2] {
        case "swift": bed.forward(now: 1)
        case "c": _ = unsafe twin_forward(c, 1)
        default: _ = unsafe twin_copy(c)
        }
        bed.drain()
    }
    unsafe twin_destroy(c)
} else {
    for size in [64, 256, 1514] { try compare(size: size) }
}
