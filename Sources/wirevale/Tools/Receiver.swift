// pkt-gen's rx and rxseq: counts what comes, and whether numbers are missing.

internal import Netmap

/// One thread that receives.
struct Receiver {
    private let plan: GeneratorPlan
    private let counters: ToolCounters

    init(_ plan: GeneratorPlan, _ counters: ToolCounters) {
        self.plan = plan
        self.counters = counters
    }

    func run(_ port: borrowing Port) throws {
        guard !plan.bits.isDisjoint(with: [.access, .copies]) else {
            return try ReceiveLoop(plan, counters).run(port) { _ in }
        }
        var room = [UInt8](repeating: 0, count: 1 << 17)
        var sum: UInt64 = 0
        let copies = !plan.bits.isDisjoint(with: .copies)
        try ReceiveLoop(plan, counters).run(port) { frame in
            if copies {
                var span = room.mutableSpan
                sum &+= UInt64(frame.copy(into: &span))
            } else if !frame.bytes.isEmpty {
                sum &+= UInt64(frame.bytes[0])
            }
        }
        counters.keep(sum)
    }
}

/// The loop that both have in common.
struct ReceiveLoop {
    private let plan: GeneratorPlan
    private let counters: ToolCounters

    init(_ plan: GeneratorPlan, _ counters: ToolCounters) {
        self.plan = plan
        self.counters = counters
    }

    func run(_ port: borrowing Port, _ body: (borrowing ReceivedFrame) -> Void) throws {
        var left = plan.count == 0 ? UInt64.max : plan.count
        var hasBegun = false
        while left > 0, !Ending.isDue {
            let timeout = Duration.milliseconds(plan.endsWhenIdle ? 1000 : 200)
            guard try port.poll(.receive, timeout: timeout).contains(.receive) else {
                if plan.endsWhenIdle, hasBegun { break }
                continue
            }
            if !hasBegun { counters.begin() }
            hasBegun = true
            for index in port.receiveRings where left > 0 {
                var ring = port.receiveRing(index)
                var bytes = 0
                let limit = Int(clamping: min(left, UInt64(plan.burst)))
                let n = ring.receive(limit: limit) { frame in
                    bytes += frame.length - plan.header
                    body(frame)
                    if plan.bits.contains(.dump) { HexDump.show(frame) }
                }
                if n > 0 { counters.add(packets: n, bytes: bytes) }
                // The time in which nothing came any more does not count.
                if n > 0, plan.endsWhenIdle { counters.end() }
                left -= UInt64(n)
            }
        }
        if left == 0 || !plan.endsWhenIdle { counters.end() }
        try port.syncReceive()
    }
}

/// One thread that receives numbered frames.
struct SequenceReceiver {
    private let plan: GeneratorPlan
    private let counters: ToolCounters

    init(_ plan: GeneratorPlan, _ counters: ToolCounters) {
        self.plan = plan
        self.counters = counters
    }

    func run(_ port: borrowing Port) throws {
        let payload = plan.header + (plan.isIPv6 ? 62 : 42)
        var expected: UInt32?
        var (lost, late, jumps) = (UInt64(0), UInt64(0), UInt64(0))
        try ReceiveLoop(plan, counters).run(port) { frame in
            let bytes = frame.bytes
            guard bytes.count >= payload + 4 else { return }
            let number = (0..<4).reduce(UInt32(0)) { $0 << 8 | UInt32(bytes[payload + $1]) }
            let ahead = Int64(Int32(bitPattern: number &- (expected ?? number)))
            if ahead < 0 {
                late += 1
            } else {
                if ahead > 0 { jumps += 1 }
                lost += UInt64(ahead)
                expected = number &+ 1
            }
        }
        // What came late was counted as lost before.
        Terminal.output(
            "Sequence: \(lost - min(lost, late)) lost, \(late) out of order, \(jumps) gaps\n"
        )
    }
}

/// Bytes as people read them.
enum HexDump {
    static func show(_ frame: borrowing ReceivedFrame) {
        let bytes = frame.array
        var text = "frame of \(bytes.count) bytes in \(frame.slotCount) slots\n"
        for line in stride(from: 0, to: bytes.count, by: 16) {
            let part = bytes[line..<min(line + 16, bytes.count)]
            let hex = part.map { byte in
                let digits = String(byte, radix: 16)
                return digits.count == 1 ? "0\(digits)" : digits
            }
            let letters = part.map {
                (0x20..<0x7f).contains($0) ? Character(Unicode.Scalar($0)) : "."
            }
            let gap = String(repeating: "   ", count: 16 - part.count)
            text += "\(line): \(hex.joined(separator: " "))\(gap)  \(String(letters))\n"
        }
        Terminal.output(text)
    }
}
