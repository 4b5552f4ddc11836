// A switch with rules, whole: frames go in at a port and come out at others.

import CNetmap
import Netmap
import TestSupport

@testable import Vale

/// Frames as somebody sees them.
struct SeenFrame: Equatable, CustomStringConvertible {
    var bytes: [UInt8]
    /// checksum start and header length of its offload request, if it has one.
    var start: UInt16?
    var headerLength: UInt16?

    init(_ bytes: [UInt8], start: UInt16? = nil, headerLength: UInt16? = nil) {
        self.bytes = bytes
        self.start = start
        self.headerLength = headerLength
    }

    var description: String {
        let text = bytes.prefix(22).map { byte in
            (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
        return "\(text)/\(bytes.count)" + (start.map { "@\($0)" } ?? "")
    }
}

/// Ports 1 to n of one switch, with counters.
@safe final class PolicyBed {
    let vale = Switch(ageing: 300, seed: hashSeed(7))
    let ports: [UInt16]
    private(set) var rules: [UInt16: PortRules] = [:]
    private let addresses: UnsafeMutablePointer<UInt64>
    let gates: GateTable
    var plan = ForwardingPlan()
    var pass = PolicyPass()
    let rx: [UInt16: CounterPage]
    let tx: [UInt16: CounterPage]
    var now: UInt64 = 1_000_000_000

    init(ports count: UInt16) {
        ports = Array(1...count)
        unsafe addresses = .allocate(capacity: 65536)
        unsafe addresses.initialize(repeating: 0, count: 65536)
        gates = unsafe GateTable(unsafeAddresses: addresses)
        rx = Dictionary(uniqueKeysWithValues: ports.map { ($0, CounterPage()) })
        tx = Dictionary(uniqueKeysWithValues: ports.map { ($0, CounterPage()) })
    }

    deinit {
        for port in ports { unsafe PortGate.free(gates.gate(port)) }
        unsafe addresses.deallocate()
    }

    /// Tells a port something.
    func tell(_ port: UInt16, _ change: (inout PortRules) -> Void) {
        var new = rules[port] ?? PortRules()
        change(&new)
        rules[port] = new
        let old = unsafe gates.gate(port)
        unsafe gates.set(port, PortGate.make(new, replacing: old, now: now))
        unsafe PortGate.free(old)
        vale.setRules(
            any: rules.values.contains { !$0.isEmpty },
            vlans: rules.values.contains { $0.hasVLAN }
        )
    }

    /// Classifies frames and keeps the batch for `body`.
    func classify(
        _ frames: [SeenFrame],
        from port: UInt16,
        cut: (Int) -> [Int] = { [$0] },
        _ body: (borrowing FrameBatch, UnsafeMutablePointer<PortGate>?, PolicyClock) -> Void
    ) {
        var batch = FrameBatch()
        let set = FrameSet(frames.map(\.bytes), into: &batch, cut: cut)
        for (index, frame) in frames.enumerated() {
            guard let start = frame.start else { continue }
            let header = UInt64(frame.headerLength ?? 0)
            unsafe batch.headers[index] = RawOffload(
                low: 1 | header << 16 | UInt64(start) << 48,
                high: 2
            )
            unsafe batch.frames[index].offload = true
        }
        let clock = PolicyClock(seconds: UInt32(now / 1_000_000_000), nanoseconds: now)
        let gate = unsafe gates.lock(port)
        if let page = rx[port] {
            unsafe vale.classifyWithPolicies(
                batch,
                from: port,
                gate,
                gates,
                clock,
                counters: page.counters,
                &pass,
                into: &plan
            )
        }
        unsafe gates.unlock(gate)
        unsafe body(batch, gate, clock)
        withExtendedLifetime(set) {}
    }

    /// Sends a batch and says what every other port got.
    func send(
        _ frames: [SeenFrame],
        from port: UInt16,
        cut: (Int) -> [Int] = { [$0] }
    ) -> [UInt16: [SeenFrame]] {
        var result: [UInt16: [SeenFrame]] = [:]
        unsafe classify(frames, from: port, cut: cut) { batch, gate, clock in
            for other in ports where other != port {
                guard let page = tx[other] else { continue }
                let target = unsafe pass.target(
                    other,
                    0..<batch.count,
                    of: plan,
                    batch,
                    from: gate,
                    to: gates.gate(other),
                    clock,
                    page.counters
                )
                for k in 0..<target.count {
                    let index = Int(unsafe target.list[k])
                    let seen =
                        pass.rewrites
                        ? PolicyBed.read(pass.views, index) : PolicyBed.read(batch, index)
                    result[other, default: []].append(seen)
                }
            }
            rx[port]?.counters.drop(.noDestination, pass.unreached(0..<batch.count))
        }
        return result
    }

    private static func read(_ batch: borrowing FrameBatch, _ index: Int) -> SeenFrame {
        let length = unsafe Int(batch.frames[index].length)
        var bytes = [UInt8](repeating: 0xee, count: length)
        let count = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe buffer.baseAddress.map {
                unsafe batch.copy(index, from: 0, length: length, to: $0)
            } ?? 0
        }
        precondition(count == length, "a frame of \(length) bytes has \(count)")
        guard unsafe batch.frames[index].offload else { return SeenFrame(bytes) }
        let low = unsafe batch.headers[index].low
        return SeenFrame(
            bytes,
            start: UInt16(truncatingIfNeeded: low >> 48),
            headerLength: UInt16(truncatingIfNeeded: low >> 16)
        )
    }

    /// What was dropped at a port, both directions.
    func drops(_ port: UInt16) -> [String: UInt64] {
        (rx[port]?.drops ?? [:]).merging(tx[port]?.drops ?? [:]) { $0 + $1 }
    }
}

/// A frame between two stations, numbered; `tags` are protocol and control of each tag.
func frame(
    to: UInt8,
    from: UInt8,
    tags: [(UInt16, UInt16)] = [],
    type: UInt16 = 0x88b5,
    length: Int = 60
) -> SeenFrame {
    var bytes: [UInt8] = to == 0xff ? Array(repeating: 0xff, count: 6) : [2, 0, 0, 0, 0, to]
    bytes += [2, 0, 0, 0, 0, from]
    for (identifier, control) in tags {
        bytes += [UInt8(identifier >> 8), UInt8(identifier & 255)]
        bytes += [UInt8(control >> 8), UInt8(control & 255)]
    }
    bytes += [UInt8(type >> 8), UInt8(type & 255)]
    while bytes.count < length { bytes.append(UInt8(bytes.count & 255)) }
    return SeenFrame(bytes)
}
