// wirevale port stat: everything about a port, for the moment when something does not work.

internal import ArgumentParser
internal import Control

extension PortCommand {
    struct Stat: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show all about a port: state, features, counters, reasons of drops.",
            discussion: "rx is what the switch received from the port, tx is what it sent."
        )

        @Argument(help: "The ports: switch:port, or ids; all when left out.")
        var names: [String] = []
        @OptionGroup var output: OutputOptions
        @OptionGroup var engine: EngineOptions

        func run() throws {
            let client = try engine.connect()
            let ports =
                names.isEmpty ? try client.ports() : try names.flatMap { try client.ports($0) }
            guard !output.json else { return print(JSONValue.array(ports).prettyDescription) }
            Terminal.output(ports.map(Self.text).joined(separator: "\n"))
        }

        private static func text(_ port: JSONValue) -> String {
            var lines = ["\(port.text("ifname")) (\(port.text("id"))): \(port.text("operstate"))"]
            if port["operstate"] != "UP" || port["stalled"] == true || port["waits-for"] != nil {
                lines.append("  reason    \(port.portNote)")
            }
            lines.append(
                "  type      \(port.text("type")), queues \(port.text("queues")), "
                    + "mtu \(port.text("mtu"))"
                    + (port["ephemeral"] == true ? ", goes with its owner" : "")
                    + (port["lossless"] == true
                        ? ", lossless (timeout \(port.text("lossless-timeout")) ms)" : "")
            )
            if !port.policyText.isEmpty { lines.append("  rules     \(port.policyText)") }
            if let source = port["source"] {
                lines.append("  source    \(source.stringValue ?? "")")
            }
            if let socket = port["socket"]?.stringValue {
                let who = port["role"] == "client" ? "the guest listens" : "the engine listens"
                let peer = port["connected"] == true ? "connected" : "nobody connected"
                lines.append(
                    "  socket    \(socket)" + (port["role"] == nil ? "" : " (\(who), \(peer))")
                )
            }
            if let interface = port["interface"]?.stringValue {
                let manner = port["xdp"]?.stringValue.map { " (\($0))" } ?? ""
                lines.append("  interface \(interface)\(manner)")
            }
            for warning in port["warnings"]?.arrayValue ?? [] {
                lines.append("  warning   \(warning.stringValue ?? "")")
            }
            let features = (port["features"]?.arrayValue ?? []).compactMap(\.stringValue)
            if !features.isEmpty { lines.append("  features  " + features.joined(separator: " ")) }
            for (direction, meaning) in [("rx", "from the port"), ("tx", "to the port")] {
                let counters = (port["stats64"]?[direction]?.objectValue ?? [:])
                    .map { "\($0.key) \($0.value)" }
                lines.append(
                    "  \(direction)        \(counters.joined(separator: ", "))  (\(meaning))"
                )
                let drops = (port["drops"]?[direction]?.objectValue ?? [:])
                    .filter { $0.value != 0 }.map { "\($0.key) \($0.value)" }
                if !drops.isEmpty {
                    lines.append("  \(direction) drops  " + drops.joined(separator: ", "))
                }
            }
            for ring in port["rings"]?.arrayValue ?? [] {
                var text =
                    "  ring      \(ring.text("direction")) \(ring.text("ring")), "
                    + "\(ring.text("slots")) slots, open by \(ring.text("descriptors"))"
                if let packets = ring["packets"] { text += ", packets \(packets)" }
                if ring["drops"] != 0 { text += ", too slow for \(ring.text("drops"))" }
                if let last = ring["last-rejection"]?.stringValue {
                    text += ", \(ring.text("rejected")) syncs rejected: \(last)"
                }
                lines.append(text)
            }
            return lines.joined(separator: "\n") + "\n"
        }
    }
}
