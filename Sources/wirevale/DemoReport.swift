// What the demo measured, as a table for people.

internal import Control

/// The result of the demo.
struct DemoReport {
    /// A port's counters between two looks at it.
    struct Traffic {
        var frames = 0
        var bytes = 0

        /// Frames that a switch received from (`rx`) or gave to (`tx`) a port.
        init(_ port: JSONValue?, _ direction: String) {
            let counters = port?["stats64"]?[direction]
            frames = counters?["packets"]?.integerValue ?? 0
            bytes = counters?["bytes"]?.integerValue ?? 0
        }

        static func - (left: Traffic, right: Traffic) -> Traffic {
            var result = left
            result.frames -= right.frames
            result.bytes -= right.bytes
            return result
        }
    }

    var rows: [(String, String)] = []

    mutating func add(_ what: String, _ value: String) {
        rows.append((what, value))
    }

    /// The table; values of several lines are indented.
    var text: String {
        let width = rows.map(\.0.count).max() ?? 0
        return rows.map { what, value in
            let lines = value.split(separator: "\n", omittingEmptySubsequences: false)
            let indent = String(repeating: " ", count: width + 6)
            return "    \(Self.padded(what, to: width))  " + lines.joined(separator: "\n" + indent)
        }.joined(separator: "\n")
    }

    /// Broadcast and multicast frames that a switch received from a port.
    static func multicast(_ port: JSONValue?) -> Int {
        port?["stats64"]?["rx"]?["multicast"]?.integerValue ?? 0
    }

    /// Drops by reason over all ports: `ring-full 12 at vale0:vm2`.
    static func drops(_ ports: [JSONValue]) -> String {
        var found: [String] = []
        for port in ports {
            for direction in ["rx", "tx"] {
                for (reason, count) in port["drops"]?[direction]?.objectValue ?? [:] {
                    guard let count = count.integerValue, count > 0 else { continue }
                    found.append("\(reason) \(count) at \(port["ifname"]?.stringValue ?? "?")")
                }
            }
        }
        return found.isEmpty ? "none" : found.joined(separator: "\n")
    }

    /// Learned addresses: `52:54:00:00:77:01 at vale0:vm1`.
    static func addresses(_ table: [JSONValue]) -> String {
        let lines = table.map {
            "\($0["mac"]?.stringValue ?? "?") at \($0["ifname"]?.stringValue ?? "?")"
        }
        return lines.sorted().joined(separator: "\n")
    }

    /// The numbers of busybox ping's last line: minimum, average, maximum in milliseconds.
    static func roundTrip(_ output: String) -> (least: Double, average: Double, most: Double)? {
        guard let line = output.split(separator: "\n").last(where: { $0.contains("min/avg/max") }),
            let figures = line.split(separator: " ").first(where: { $0.first?.isNumber == true })
        else { return nil }
        let values = figures.split(separator: "/").compactMap { Double($0) }
        return values.count == 3 ? (values[0], values[1], values[2]) : nil
    }

    /// What ping counted: answered, sent.
    static func answers(_ output: String) -> (received: Int, sent: Int) {
        guard let line = output.split(separator: "\n").last(where: { $0.contains("transmitted") })
        else { return (0, 0) }
        let numbers = line.split(separator: " ").compactMap { Int($0) }
        return numbers.count >= 2 ? (numbers[1], numbers[0]) : (0, 0)
    }

    /// The receiver's rate in iperf3's JSON report, in Gbit/s.
    static func rate(_ output: String) -> Double? {
        guard let start = output.firstIndex(of: "{"),
            let report = try? JSONValue(parsing: String(output[start...]))
        else { return nil }
        return (report["end"]?["sum_received"]?["bits_per_second"]?.numberValue).map { $0 / 1e9 }
    }

    // MARK: - Text without Foundation

    static func number(_ value: Double, digits: Int) -> String {
        guard value.isFinite else { return "?" }
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        let scaled = Int((abs(value) * scale).rounded())
        let whole = scaled / Int(scale)
        let sign = value < 0 && scaled > 0 ? "-" : ""
        guard digits > 0 else { return "\(sign)\(whole)" }
        let part = String(scaled % Int(scale))
        return "\(sign)\(whole)." + String(repeating: "0", count: digits - part.count) + part
    }

    /// 1234567 as `1 234 567`.
    static func grouped(_ value: Int) -> String {
        var digits = Array(String(abs(value)))
        var place = digits.count - 3
        while place > 0 {
            digits.insert(" ", at: place)
            place -= 3
        }
        return (value < 0 ? "-" : "") + String(digits)
    }

    static func padded(_ text: String, to width: Int, right: Bool = false) -> String {
        let fill = String(repeating: " ", count: max(0, width - text.count))
        return right ? fill + text : text + fill
    }
}
