// What `info` prints, made of the same query results that scripts get.

/// The texts of `info`, in the manner of QEMU's monitor.
public enum MonitorReport {
    /// The text for the result of the query behind `info`.
    public static func text(_ info: MonitorCommand.Info, _ result: JSONValue) -> String {
        let rows = result.arrayValue ?? []
        switch info {
        case .network: return network(rows)
        case .fdb: return rows.map(fdbLine).joined()
        case .workers: return rows.map(workerLine).joined()
        case .chardev:
            return rows.map { "\(text($0, "label")): filename=\(text($0, "filename"))\n" }.joined()
        case .guests:
            return rows.map { guest in
                let ports = guest["ports"]?.arrayValue?.compactMap(\.stringValue) ?? []
                return "\(text(guest, "name")): qmp=\(text(guest, "qmp"))"
                    + ports.map { ",plugged=\($0)" }.joined() + "\n"
            }.joined()
        case .usernet:
            return rows.filter { text($0, "type") == UserOptions.type }.map(userLines).joined()
        case .version:
            let version = result["qemu"]
            let numbers = ["major", "minor", "micro"].map { version?[$0]?.description ?? "0" }
            return numbers.joined(separator: ".") + " (\(text(result, "package")))\n"
        }
    }

    /// Switches with their ports below them, as QEMU lists a hub.
    private static func network(_ ports: [JSONValue]) -> String {
        var masters: [String] = []
        for port in ports where !masters.contains(text(port, "master")) {
            masters.append(text(port, "master"))
        }
        return masters.map { master in
            "switch \(master)\n"
                + ports.filter { text($0, "master") == master }.map(portLine).joined()
        }.joined()
    }

    /// A port to the outside, with its rules below.
    private static func userLines(_ port: JSONValue) -> String {
        let parts = [("guest", "guest-address"), ("host", "host-address"), ("dns", "dns-address")]
            .compactMap { name, member in port[member]?.stringValue.map { "\(name)=\($0)" } }
        let process = port["process"]?.integerValue.map { ["passt=\($0)"] } ?? []
        let rules = port["hostfwd"]?.arrayValue?.compactMap(\.stringValue) ?? []
        return "\(text(port, "id")): "
            + (["ifname=\(text(port, "ifname"))"] + process + parts).joined(separator: ",") + "\n"
            + rules.map { "  hostfwd=\($0)\n" }.joined()
    }

    private static func portLine(_ port: JSONValue) -> String {
        var parts = [
            "type=\(text(port, "type"))", "ifname=\(text(port, "ifname"))",
            "state=\(text(port, "operstate"))",
        ]
        if port["link"]?.boolValue == false { parts.append("link=off") }
        if let queues = port["queues"]?.integerValue, queues > 1 {
            parts.append("queues=\(queues)")
        }
        if port["lossless"]?.boolValue == true { parts.append("lossless=on") }
        if let other = port["waits-for"]?.stringValue { parts.append("waits-for=\(other)") }
        if let socket = port["socket"]?.stringValue {
            parts.append("socket=\(socket)")
            parts.append("role=\(text(port, "role"))")
        }
        if let peer = port["peer"]?.stringValue { parts.append("peer=\(peer)") }
        if let reason = port["reason"]?.stringValue { parts.append("reason=\(reason)") }
        return " \\ \(text(port, "id")): \(parts.joined(separator: ","))\n"
    }

    private static func fdbLine(_ entry: JSONValue) -> String {
        let age = entry["age"].map { " age \($0)s" } ?? ""
        return "\(text(entry, "mac")) dev \(text(entry, "ifname")) "
            + "master \(text(entry, "master")) \(text(entry, "state"))\(age)\n"
    }

    private static func workerLine(_ worker: JSONValue) -> String {
        let names = ["tid", "ports", "turns", "frames", "sleeps", "cpu-time"]
        let values = names.map { "\($0)=\(worker[$0]?.description ?? "?")" }
        let cpu = worker["cpu"]?.integerValue.map { "cpu=\($0)," } ?? ""
        let queues = (worker["queues"]?.arrayValue ?? []).map {
            " \\ \(text($0, "ifname"))/\(text($0, "queue")): frames=\(text($0, "frames"))\n"
        }
        return "worker \(text(worker, "id")): \(cpu)\(values.joined(separator: ","))\n"
            + queues.joined()
    }

    private static func text(_ value: JSONValue, _ key: String) -> String {
        guard let member = value[key] else { return "?" }
        return member.stringValue ?? member.description
    }
}
