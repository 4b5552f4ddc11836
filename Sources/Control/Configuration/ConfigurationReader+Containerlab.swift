// containerlab's topology files: each link becomes a wire, a switch of two ports that knows no addresses.
// Nodes are containerlab's business; whoever starts them finds the ports under the names of the endpoints.

extension ConfigurationReader {
    /// One end of a link.
    private struct Endpoint {
        let node: String
        let interface: String
        let position: SourcePosition
    }

    private static let linkMembers = ["endpoints", "type", "labels", "vars", "mtu"]
    /// Nodes that containerlab does not start, because they are something else.
    private static let reservedNodes: Set = [
        "host", "mgmt-net", "macvlan", "dummy", "vxlan", "vxlan-stitch",
    ]

    /// Reads `topology`.
    mutating func readTopology(_ topology: YAMLNode) {
        let nodes = topology["nodes"].map { mapping($0.value, "'nodes'") }
        guard let links = topology["links"] else { return }
        guard case .sequence(let elements) = links.value.content else {
            if !links.value.isNull {
                fail(links.value.position, "'links' takes a list, not \(links.value.kind)")
            }
            return
        }
        var ends: [String: SourcePosition] = [:]
        for link in elements {
            guard let pair = endpoints(link) else { continue }
            var isGood = true
            for end in pair {
                let name = "\(end.node):\(end.interface)"
                if let reason = objection(to: end, nodes) {
                    fail(end.position, reason)
                    isGood = false
                } else if let first = ends.updateValue(end.position, forKey: name) {
                    fail(end.position, "'\(name)' is in a link already, in line \(first.line)")
                    isGood = false
                }
            }
            if isGood { addWire(pair[0], pair[1]) }
        }
    }

    private mutating func endpoints(_ link: YAMLNode) -> [Endpoint]? {
        if let type = link["type"]?.value, type.text != "veth" {
            fail(
                type.position,
                "a link of type \(type.kind) is no wire between two nodes; only veth is"
            )
            return nil
        }
        for entry in mapping(link, "a link") where !Self.linkMembers.contains(entry.key) {
            let known = Self.linkMembers
            fail(entry.position, SchemaViolation.unknown(entry.key, of: "a link", known: known))
            return nil
        }
        guard case .sequence(let ends) = link["endpoints"]?.value.content, ends.count == 2 else {
            let position = link["endpoints"]?.value.position ?? link.position
            fail(
                position,
                "a link has 'endpoints' with two entries, such as [\"a:eth1\", \"b:eth1\"]"
            )
            return nil
        }
        var pair: [Endpoint] = []
        for end in ends {
            guard let endpoint = endpoint(end) else {
                fail(
                    end.position,
                    "an endpoint is written node:interface, such as \"a:eth1\", not \(end.kind)"
                )
                return nil
            }
            pair.append(endpoint)
        }
        return pair
    }

    private func endpoint(_ end: YAMLNode) -> Endpoint? {
        var node = end["node"]?.value.text
        var interface = end["interface"]?.value.text
        if let text = end.text, let colon = text.firstIndex(of: ":") {
            node = String(text[..<colon])
            interface = String(text[text.index(after: colon)...])
        }
        guard let node, let interface, !node.isEmpty, !interface.isEmpty else { return nil }
        return Endpoint(node: node, interface: interface, position: end.position)
    }

    private func objection(to end: Endpoint, _ nodes: [YAMLNode.Entry]?) -> String? {
        if Self.reservedNodes.contains(end.node) {
            return "'\(end.node)' is no node; write a port for it under 'switches'"
        }
        guard let nodes else { return nil }
        guard let node = nodes.first(where: { $0.key == end.node }) else {
            return SchemaViolation.unknown(
                end.node,
                of: "'nodes'",
                known: nodes.map(\.key)
            )
        }
        let kind = node.value["kind"]?.value.text ?? ""
        return ["bridge", "ovs-bridge"].contains(kind)
            ? "'\(end.node)' is a bridge; write it as a switch with ports, under 'switches'" : nil
    }

    private mutating func addWire(_ first: Endpoint, _ second: Endpoint) {
        let master = Self.name("vale_" + first.node + "_" + first.interface, also: "_")
        if let other = configuration.switches.first(where: { $0.name == master }) {
            let line = other.origin?.line ?? 0
            return fail(first.position, "this wire would be \(master), as what is in line \(line)")
        }
        configuration.switches.append(
            Configuration.Vale(
                name: master,
                settings: ["mode": "wire"],
                origin: first.position
            )
        )
        for end in [first, second] {
            let port = Self.name(end.node + "-" + end.interface, also: "-._")
            do throws(ValePortName.NameError) {
                let name = try ValePortName("\(master):\(port)")
                configuration.ports.append(
                    Configuration.Port(
                        name: name,
                        netdev: [
                            "type": "netmap", "id": .string(name.identifier),
                            "ifname": .string(name.description),
                        ],
                        isLinkUp: nil,
                        origin: end.position
                    )
                )
            } catch {
                fail(end.position, error.description)
            }
        }
    }

    /// A name in letters that switches or ports may have, and no longer than theirs; one that had to be cut
    /// ends in four digits of its own, so that it stays the same when other links come and go.
    private static func name(_ text: String, also extra: String) -> String {
        let replacement: Character = extra.contains("-") ? "-" : "_"
        let letters = String(
            text.map { letter in
                letter.isASCII && (letter.isLetter || letter.isNumber) || extra.contains(letter)
                    ? letter : replacement
            }
        )
        guard letters != text || letters.utf8.count > ValePortName.maximumLength else {
            return text
        }
        guard letters.utf8.count > ValePortName.maximumLength else { return letters }
        var hash: UInt32 = 0x811C_9DC5
        for byte in text.utf8 { hash = (hash ^ UInt32(byte)) &* 0x0100_0193 }
        let digits = String((hash ^ hash >> 16) & 0xFFFF | 0x1_0000, radix: 16).dropFirst()
        return letters.prefix(ValePortName.maximumLength - 5) + "_" + digits
    }
}
