// -net, the oldest form: everything with one vlan number meets on a hub inside QEMU. vhost-user
// cannot join a hub, so what is translated is the one shape that people use: a NIC and a port.

extension QemuNetwork {
    private struct Member {
        let index: Int
        let item: QemuArguments.Item
        var options: KeyValueText
        var type: String { options["type"] ?? "" }
    }

    /// Translates `-net netmap` with its `-net nic`, and `-net nic,netdev=` of our ports.
    mutating func translateNet(
        _ fileExists: (String) -> Bool
    ) throws(QemuCommandLine.TranslationError) {
        var hubs: [String: [Member]] = [:]
        for (index, item) in arguments.items.enumerated() where item.name == "net" {
            guard let value = item.value else { continue }
            var options = KeyValueText(value, implied: "type")
            if options["type"] == "none" || options.asksForHelp { continue }
            let vlan = options.remove("vlan") ?? "0"
            let member = Member(index: index, item: item, options: options)
            if let netdev = options["netdev"] {
                // Not on a hub: it is tied to a -netdev, ours or another one.
                if let port = ports.first(where: { $0.id == netdev }) {
                    replacements[index] = [try device(of: port, member)]
                }
            } else {
                hubs[vlan, default: []].append(member)
            }
        }
        for hub in hubs.sorted(by: { $0.key < $1.key }).map(\.value) {
            try translate(hub: hub, fileExists)
        }
    }

    private mutating func translate(
        hub: [Member],
        _ fileExists: (String) -> Bool
    ) throws(QemuCommandLine.TranslationError) {
        guard let back = hub.first(where: { $0.type == "netmap" }) else { return }
        let nics = hub.filter { $0.type == "nic" }
        let others = hub.filter { $0.type != "nic" && $0.index != back.index }
        if let other = others.first ?? nics.dropFirst().first {
            throw fault(
                back.item,
                "meets '\(other.item.text)' on a hub inside QEMU, which vhost-user cannot join; "
                    + "write a pair of -netdev netmap,id=n0,ifname=... and "
                    + "-device \(machine.nic),netdev=n0 for each NIC"
            )
        }
        var options = back.options
        let name = options.remove("name")
        if options["id"] == nil { options.append("id", name ?? freshId()) }
        let port = try port(options, back.item, fileExists)
        replacements[back.index] = [.netdev(port)]
        guard let nic = nics.first else {
            notes.append(
                "\(back.item.text): no NIC uses it; add -device \(machine.nic),netdev=\(port.id)"
            )
            return
        }
        replacements[nic.index] = [try device(of: port, nic)]
    }

    private mutating func device(
        of port: NetdevOptions,
        _ nic: Member
    ) throws(QemuCommandLine.TranslationError) -> QemuCommandLine.Piece {
        var options = nic.options
        for key in ["type", "netdev"] { _ = options.remove(key) }
        let model = options.remove("model")
        var device = KeyValueText([])
        if let mac = options.remove("macaddr") ?? options.remove("mac") {
            device.append("mac", mac)
        }
        if let id = options.remove("name") ?? options.remove("id") { device.append("id", id) }
        for key in ["addr", "vectors"] {
            if let value = options.remove(key) { device.append(key, value) }
        }
        if let unknown = options.pairs.first {
            throw fault(nic.item, QMPError.invalidKey(unknown.key).description)
        }
        return try makeDevice(port, model: model, device, nic.item)
    }
}
