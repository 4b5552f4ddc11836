// pkt-gen's tx and txseq: fills slots as fast as they come free, or at a rate.

internal import Glibc
internal import Netmap

/// One thread that sends.
struct Transmitter {
    private let plan: GeneratorPlan
    private let counters: ToolCounters
    private var frame: GeneratedFrame
    private var source: AddressRange
    private var destination: AddressRange
    private var random = SystemRandomNumberGenerator()
    private var sequence: UInt32 = 0
    private var nextCaptured = 0
    /// Slots that still have to be written: all of each ring, a few times round.
    ///
    /// What a VALE port or
    /// a pipe gives back then holds such a frame already.
    private var unwritten = 0

    init(_ plan: GeneratorPlan, _ counters: ToolCounters) {
        self.plan = plan
        self.counters = counters
        frame = GeneratedFrame(
            length: plan.longest,
            lead: plan.header,
            isIPv6: plan.isIPv6,
            from: plan.sourceMAC,
            to: plan.destinationMAC
        )
        source = plan.source
        destination = plan.destination
        frame.set(length: plan.longest, from: source, to: destination)
    }

    /// Whether frames differ from each other.
    private var isVaried: Bool {
        plan.function == .txseq || plan.bits.contains(.randomSource)
            || plan.bits.contains(.randomDestination)
            || plan.source.isRange || plan.destination.isRange
            || plan.shortest != plan.longest || !plan.capture.isEmpty
    }

    func run(_ port: borrowing Port) throws {
        var copy = self
        try copy.transmit(port)
    }

    private mutating func transmit(_ port: borrowing Port) throws {
        var left = plan.count == 0 ? UInt64.max : plan.count
        let isVaried = self.isVaried
        let copies = !plan.bits.isDisjoint(with: .copies)
        for ring in port.transmitRings { unwritten += 4 * port.transmitRing(ring).slotCount }
        if plan.bits.contains(.rubbish) { unwritten = 0 }
        var due = Double(Clock.now)
        counters.begin()
        while left > 0, !Ending.isDue {
            var burst = Int(clamping: min(left, UInt64(plan.burst)))
            if plan.pace > 0 { burst = min(burst, try frames(due: &due, port)) }
            var sent = 0
            for index in port.transmitRings where sent < burst {
                var ring = port.transmitRing(index)
                sent +=
                    isVaried || plan.fragments > 1 || unwritten > 0 || copies
                    ? fill(&ring, burst - sent, isVaried: isVaried)
                    : reuse(&ring, burst - sent)
            }
            if sent == 0 {
                _ = try port.poll(.transmit, timeout: .milliseconds(500))
                continue
            }
            left -= UInt64(sent)
            due += Double(sent) * plan.pace
            try port.syncTransmit()
        }
        try drain(port)
    }

    /// Waits until a frame is due.
    ///
    /// - Returns: how many are.
    private func frames(due: inout Double, _ port: borrowing Port) throws -> Int {
        let now = Double(Clock.now)
        if due > now {
            try port.syncTransmit()
            Clock.sleep(until: UInt64(due))
        } else if now - due > 1e8 {
            due = now - 1e8  // who was away for long does not make up for it
        }
        return max(1, Int((Double(Clock.now) - due) / plan.pace))
    }

    private mutating func reuse(_ ring: inout TransmitRing, _ limit: Int) -> Int {
        let length = frame.bytes.count
        let n = ring.reuse(limit: limit, length: length)
        guard n > 0 else { return 0 }
        counters.add(packets: n, bytes: n * (length - plan.header))
        return n
    }

    private mutating func fill(_ ring: inout TransmitRing, _ limit: Int, isVaried: Bool) -> Int {
        var packets = 0
        var bytes = 0
        while packets < limit {
            let length = isVaried ? vary() : frame.bytes.count
            let slots = put(&ring, length)
            if slots == 0 { break }
            if plan.function == .txseq { sequence &+= 1 }
            if !plan.capture.isEmpty { nextCaptured = (nextCaptured + 1) % plan.capture.count }
            unwritten = max(0, unwritten - slots)
            packets += 1
            bytes += length - plan.header
        }
        if packets > 0 { counters.add(packets: packets, bytes: bytes) }
        return packets
    }

    /// Makes the next frame.
    ///
    /// - Returns: its length, header included.
    private mutating func vary() -> Int {
        if !plan.capture.isEmpty { return plan.header + plan.capture[nextCaptured].count }
        let length =
            plan.shortest < plan.longest
            ? Int.random(in: plan.shortest..<plan.longest, using: &random) : plan.longest
        if plan.bits.contains(.randomSource) { source.randomise(&random) } else { source.advance() }
        if plan.bits.contains(.randomDestination) {
            destination.randomise(&random)
        } else {
            destination.advance()
        }
        frame.set(
            length: length,
            from: source,
            to: destination,
            sequence: plan.function == .txseq ? sequence : nil
        )
        return frame.count(length)
    }

    /// Puts one frame into slots, in as many pieces as were asked for or as it needs.
    ///
    /// - Returns: how many slots; 0 if there is no room.
    private func put(_ ring: inout TransmitRing, _ length: Int) -> Int {
        let even = (length + plan.fragments - 1) / plan.fragments
        let piece = max(
            1,
            min(ring.bufferSize, plan.fragments > 1 ? min(even, plan.fragmentSize) : length)
        )
        let slots = max(1, (length + piece - 1) / piece)
        guard slots <= ring.space, slots <= 64 else { return 0 }
        if slots == 1, plan.capture.isEmpty {
            ring.send(frame.bytes.span.extracting(0..<length), flags: .report)
            return 1
        }
        let captured = plan.capture.isEmpty ? [] : plan.capture[nextCaptured]
        for slot in 0..<slots {
            let from = slot * piece
            let n = min(piece, length - from)
            ring.fill(at: slot, flags: slot == slots - 1 ? .report : .moreFragments) { buffer in
                for place in 0..<n {
                    let at = from + place
                    buffer[place] =
                        captured.isEmpty
                        ? frame.bytes[at] : at < plan.header ? 0 : captured[at - plan.header]
                }
                return n
            }
        }
        ring.advance(slots)
        return slots
    }

    /// Waits until all has been taken, so that nothing is lost with the port.
    private func drain(_ port: borrowing Port) throws {
        counters.end()
        while true {
            try port.syncTransmit()
            var isDrained = true
            for index in port.transmitRings where !port.transmitRing(index).isDrained {
                isDrained = false
            }
            // A pipe whose receiver has stopped reading holds what it has: ^C ends that.
            if isDrained || Ending.isDue { return }
            usleep(50)
        }
    }
}
