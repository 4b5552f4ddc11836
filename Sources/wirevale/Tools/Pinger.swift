// pkt-gen's ping and pong: one frame, or a few, in flight, and how long they are away.

internal import Netmap

/// Sends frames and waits for them to come back.
struct Pinger {
    private let plan: GeneratorPlan
    private let counters: ToolCounters

    init(_ plan: GeneratorPlan, _ counters: ToolCounters) {
        self.plan = plan
        self.counters = counters
    }

    func run(_ port: borrowing Port) throws {
        var frame = GeneratedFrame(
            length: max(plan.longest, plan.isIPv6 ? 66 : 46),
            lead: plan.header,
            isIPv6: plan.isIPv6,
            from: plan.sourceMAC,
            to: plan.destinationMAC
        )
        var times = LatencyHistogram()
        var lost: UInt64 = 0
        var sequence: UInt32 = 0
        var left = plan.count == 0 ? UInt64.max : plan.count
        var due = Double(Clock.now)
        counters.begin()
        while left > 0, !Ending.isDue {
            if plan.pace > 0 {
                Clock.sleep(until: UInt64(due))
                due += plan.pace
            }
            let length = frame.bytes.count - plan.header
            frame.set(length: length, from: plan.source, to: plan.destination, sequence: sequence)
            var ring = port.transmitRing()
            let began = Clock.now
            guard ring.send(frame.bytes.span, flags: .report) else {
                _ = try port.poll(.transmit, timeout: .milliseconds(500))
                continue
            }
            try port.syncTransmit()
            if try isBack(sequence, port, began + 1_000_000_000) {
                times.add(Clock.now - began)
                counters.add(packets: 1, bytes: length)
            } else if !Ending.isDue {
                lost += 1
            }
            sequence &+= 1
            left -= 1
        }
        counters.end()
        report(times, lost)
    }

    /// Whether the frame of that number comes back in time; others are passed over.
    private func isBack(
        _ sequence: UInt32,
        _ port: borrowing Port,
        _ deadline: UInt64
    ) throws -> Bool {
        let payload = plan.header + (plan.isIPv6 ? 62 : 42)
        while !Ending.isDue {
            let now = Clock.now
            guard now < deadline else { return false }
            guard try port.poll(.receive, timeout: .nanoseconds(Int64(deadline - now))) != [] else {
                continue
            }
            var hasCome = false
            for index in port.receiveRings {
                var ring = port.receiveRing(index)
                ring.receive { frame in
                    let bytes = frame.bytes
                    guard bytes.count >= payload + 4 else { return }
                    let number = (0..<4).reduce(UInt32(0)) { $0 << 8 | UInt32(bytes[payload + $1]) }
                    if number == sequence { hasCome = true }
                }
            }
            if hasCome { return true }
        }
        return false
    }

    private func report(_ times: LatencyHistogram, _ lost: UInt64) {
        guard times.count > 0 else { return Terminal.output("no answer, \(lost) lost\n") }
        Terminal.output(
            "count \(times.count) lost \(lost) RTT: min \(times.least) avg \(times.average) "
                + "p50 \(times.percentile(0.5)) p99 \(times.percentile(0.99)) "
                + "p99.9 \(times.percentile(0.999)) max \(times.most) nsec\n"
        )
    }
}

/// Sends back what comes, with its MAC addresses exchanged.
struct Ponger {
    private let plan: GeneratorPlan
    private let counters: ToolCounters

    init(_ plan: GeneratorPlan, _ counters: ToolCounters) {
        self.plan = plan
        self.counters = counters
    }

    func run(_ port: borrowing Port) throws {
        var left = plan.count == 0 ? UInt64.max : plan.count
        let lead = plan.header
        counters.begin()
        while left > 0, !Ending.isDue {
            guard try port.poll(.receive, timeout: .milliseconds(200)).contains(.receive) else {
                continue
            }
            var packets = 0
            var bytes = 0
            for index in port.receiveRings {
                var ring = port.receiveRing(index)
                var out = port.transmitRing()
                let limit = Int(clamping: min(left, 1024))
                let taken = out.forward(from: &ring, limit: limit) { frame in
                    guard frame.count >= lead + 14 else { return false }
                    for place in lead..<lead + 6 {
                        let byte = frame[place]
                        frame[place] = frame[place + 6]
                        frame[place + 6] = byte
                    }
                    packets += 1
                    bytes += frame.count - lead
                    return true
                }
                if taken == 0, ring.count > 0 {
                    _ = try port.poll(.transmit, timeout: .milliseconds(100))
                }
            }
            try port.syncTransmit()
            if packets > 0 { counters.add(packets: packets, bytes: bytes) }
            left -= min(left, UInt64(packets))
        }
        counters.end()
    }
}
