// The acts of the demo: ping, TCP, silence; and what the switch saw of them.

internal import Control

/// Has guests talk and looks at the switch meanwhile.
struct DemoMeasurement {
    let stage: DemoStage

    private var one: DemoGuest { stage.guests[0] }
    private var two: DemoGuest { stage.guests[1] }

    /// Plays all acts; returns the table.
    func run() throws -> DemoReport {
        var report = DemoReport()
        // They have to find each other first, by broadcast, which is everybody's business. The
        // others only say that they are there: who talked to them would ask for them again later.
        for guest in stage.guests {
            let isTalking = guest === one || guest === two
            let other = guest === one ? two : one
            _ = try stage.run(
                isTalking
                    ? "ping -c 1 -W 5 \(other.address)"
                    : "arping -q -U -c 1 -w 2 -I eth0 \(guest.address) || true",
                on: guest,
                seconds: 20,
                isTalking ? "\(guest.name) greets \(other.name)" : "\(guest.name) says hello"
            )
        }
        let start = try ports()
        try ping(&report)
        let middle = try ports()
        try stream(&report)
        let end = try ports()
        count(from: start, middle, to: end, &report)
        report.add("frames dropped", DemoReport.drops(try stage.ask("query-ports")))
        report.add("learned addresses", DemoReport.addresses(try stage.ask("query-fdb")))
        try idle(&report)
        return report
    }

    private func ping(_ report: inout DemoReport) throws {
        let output = try stage.run(
            "ping -c 10 -i 0.2 -W 5 \(two.address)",
            on: one,
            seconds: 30,
            "\(one.name) pings \(two.name)"
        )
        let answers = DemoReport.answers(output)
        stage.tell(
            "\(one.name) pinged \(two.name): \(answers.received) of \(answers.sent) came back"
        )
        guard let times = DemoReport.roundTrip(output) else {
            report.add("ping round trip", "no answer")
            return
        }
        let figures = [times.average, times.least, times.most].map {
            DemoReport.number($0, digits: 2)
        }
        report.add(
            "ping round trip",
            "\(figures[0]) ms (\(figures[1]) to \(figures[2]); \(answers.received) of "
                + "\(answers.sent) answered)"
        )
    }

    private func stream(_ report: inout DemoReport) throws {
        let output = try stage.run(
            "iperf3 --json -c \(two.address) -t 5",
            on: one,
            seconds: 40,
            "\(one.name) streams TCP to \(two.name) for 5 seconds"
        )
        guard let rate = DemoReport.rate(output) else {
            throw DemoGuest.Failure(
                description: "iperf3 said nothing of use:\n\(output.suffix(400))"
            )
        }
        let text = "\(DemoReport.number(rate, digits: 2)) Gbit/s"
        stage.tell("\(one.name) streamed TCP to \(two.name): \(text)")
        report.add("TCP \(one.name) to \(two.name)", text)
    }

    private func count(
        from start: [String: JSONValue],
        _ middle: [String: JSONValue],
        to end: [String: JSONValue],
        _ report: inout DemoReport
    ) {
        var frames = 0
        var bytes = 0
        for guest in stage.guests {
            let traffic =
                DemoReport.Traffic(end[guest.port], "rx")
                - DemoReport.Traffic(start[guest.port], "rx")
            frames += traffic.frames
            bytes += traffic.bytes
        }
        report.add(
            "frames switched",
            "\(DemoReport.grouped(frames)) (\(DemoReport.grouped(bytes / 1_000_000)) MB)"
        )
        let stream =
            DemoReport.Traffic(end[two.port], "tx") - DemoReport.Traffic(middle[two.port], "tx")
        if stream.frames > 0 {
            report.add(
                "average TCP frame",
                "\(DemoReport.grouped(stream.bytes / stream.frames)) bytes: above 1514, a guest "
                    + "hands over\nmany segments at once (TSO), and they are copied once"
            )
        }
        for guest in stage.guests.dropFirst(2) {
            // Broadcasts of the others are for it, too; all the rest is not.
            let seen =
                DemoReport.Traffic(end[guest.port], "tx")
                - DemoReport.Traffic(start[guest.port], "tx")
            let others = stage.guests.filter { $0 !== guest }
            let broadcasts = others.reduce(0) { sum, other in
                sum + DemoReport.multicast(end[other.port])
                    - DemoReport.multicast(start[other.port])
            }
            report.add(
                "seen by \(guest.name)",
                "\(max(0, seen.frames - broadcasts)) of \(DemoReport.grouped(frames - broadcasts)) "
                    + "unicast frames (and \(broadcasts) broadcast)"
            )
        }
    }

    private func idle(_ report: inout DemoReport) throws {
        let seconds = 5.0
        try stage.rest(1, "the line calms down")
        let before = stage.engineSeconds()
        try stage.rest(seconds, "nobody says anything for \(Int(seconds)) seconds")
        let share = 100 * (stage.engineSeconds() - before) / seconds
        let text = "\(DemoReport.number(share, digits: 2)) % of one processor"
        stage.tell("silence: the engine uses \(text)")
        report.add("engine when idle", text)
    }

    private func ports() throws -> [String: JSONValue] {
        var found: [String: JSONValue] = [:]
        for port in try stage.ask("query-ports") {
            if let name = port["ifname"]?.stringValue { found[name] = port }
        }
        return found
    }
}
