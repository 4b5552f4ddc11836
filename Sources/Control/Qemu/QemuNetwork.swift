// The network options: -netdev, -nic and -net of type netmap become ports, and the devices
// that refer to them get what vhost-user needs.

/// The translation of the network options of a command line.
struct QemuNetwork: Sendable {
    /// The ports to make.
    var ports: [NetdevOptions] = []
    /// Lines for the user.
    var notes: [String] = []
    /// The ids of ports whose NIC is no virtio one: QEMU moves its frames over a stream socket.
    var streams: Set<String> = []
    /// What takes the place of the items with these indices.
    var replacements: [Int: [QemuCommandLine.Piece]] = [:]

    let arguments: QemuArguments
    let machine: QemuMachine
    private var usedIds: Set<String>
    private var hasVectorsNote = false

    init(_ arguments: QemuArguments, _ machine: QemuMachine) {
        self.arguments = arguments
        self.machine = machine
        usedIds = Set(
            ["netdev", "nic", "net"].flatMap { arguments.texts($0, implied: "type") }
                .compactMap { $0["id"] ?? $0["name"] }
        )
    }

    mutating func translate(
        _ fileExists: (String) -> Bool
    ) throws(QemuCommandLine.TranslationError) {
        for (index, item) in arguments.items.enumerated() where item.name == "netdev" {
            guard let options = Self.netmap(item) else { continue }
            let port = try port(options, item, fileExists)
            replacements[index] = [.netdev(port)]
        }
        for (index, item) in arguments.items.enumerated() where item.name == "nic" {
            guard let options = Self.netmap(item) else { continue }
            try translateNic(index, item, options, fileExists)
        }
        try translateNet(fileExists)
        try translateDevices()
        try refuseFilters()
    }

    /// The options of an item of type netmap; nil for any other type and for calls for help.
    static func netmap(_ item: QemuArguments.Item) -> KeyValueText? {
        guard let value = item.value else { return nil }
        let options = KeyValueText(json: value) ?? KeyValueText(value, implied: "type")
        return options["type"] == "netmap" && !options.asksForHelp ? options : nil
    }

    /// Makes a port of netmap options.
    mutating func port(
        _ options: KeyValueText,
        _ item: QemuArguments.Item,
        _ fileExists: (String) -> Bool
    ) throws(QemuCommandLine.TranslationError) -> NetdevOptions {
        do throws(QMPError) {
            var members = try SchemaValidator().typed(options, as: "Netdev")
            // The port lives as long as the guest, unless somebody wants it to stay.
            if members["ephemeral"] == nil { members["ephemeral"] = true }
            let port = try NetdevOptions(members, fileExists: fileExists)
            guard !ports.contains(where: { $0.id == port.id }) else {
                throw QMPError.duplicate(port.id)
            }
            guard !ports.contains(where: { $0.port == port.port }) else {
                throw QMPError("\(port.port) is used by another option already")
            }
            ports.append(port)
            return port
        } catch {
            throw fault(item, error.description)
        }
    }

    func fault(
        _ item: QemuArguments.Item,
        _ text: String
    ) -> QemuCommandLine.TranslationError {
        .init(description: "\(item.text): \(text)")
    }

    /// An id for a port whose option has none.
    mutating func freshId() -> String {
        var number = 0
        while usedIds.contains("wv\(number)") { number += 1 }
        usedIds.insert("wv\(number)")
        return "wv\(number)"
    }

    // MARK: -nic

    private mutating func translateNic(
        _ index: Int,
        _ item: QemuArguments.Item,
        _ given: KeyValueText,
        _ fileExists: (String) -> Bool
    ) throws(QemuCommandLine.TranslationError) {
        var options = given
        var device = KeyValueText([])
        let model = options.remove("model")
        // A model of `help` lists models and starts nothing; QEMU must see it.
        if model == "help" || model == "?" { return }
        let mac = options.remove("mac") ?? options.remove("macaddr")
        if options["id"] == nil { options.append("id", freshId()) }
        let port = try port(options, item, fileExists)
        if let mac { device.append("mac", mac) }
        replacements[index] = [
            .netdev(port), try makeDevice(port, model: model, device, item),
        ]
    }

    /// The device of a port that came without one.
    mutating func makeDevice(
        _ port: NetdevOptions,
        model: String?,
        _ extra: KeyValueText,
        _ item: QemuArguments.Item
    ) throws(QemuCommandLine.TranslationError) -> QemuCommandLine.Piece {
        if model == nil {
            notes.append(
                "\(item.text): no model given, taking \(machine.nic) (a virtio NIC is needed)"
            )
        }
        let driver = model.map { $0 == "virtio" ? machine.nic : $0 } ?? machine.nic
        try noteDriver(driver, of: port, item)
        var device = KeyValueText([.init("driver", driver), .init("netdev", port.id)])
        device.pairs += extra.pairs
        complete(&device, for: port)
        return .words(["-device", device.text(implied: "driver")])
    }

    // MARK: -device

    private mutating func translateDevices() throws(QemuCommandLine.TranslationError) {
        for (index, item) in arguments.items.enumerated() where item.name == "device" {
            guard let value = item.value else { continue }
            let json = KeyValueText(json: value)
            var device = json ?? KeyValueText(value, implied: "driver")
            guard let port = ports.first(where: { $0.id == device["netdev"] }),
                !device.asksForHelp
            else { continue }
            try noteDriver(device["driver"] ?? "", of: port, item)
            let before = device.pairs.count
            complete(&device, for: port)
            guard device.pairs.count > before else { continue }
            let text =
                json == nil
                ? device.text(implied: "driver")
                : Self.extend(json: value, with: device.pairs[before...])
            replacements[index] = [.words([item.words[0], text])]
        }
    }

    /// Notes whether a NIC can use vhost-user, which moves its frames without QEMU.
    private mutating func noteDriver(
        _ driver: String,
        of port: NetdevOptions,
        _ item: QemuArguments.Item
    ) throws(QemuCommandLine.TranslationError) {
        guard !driver.hasPrefix("virtio-net") else { return }
        guard port.queues == 1 else {
            throw fault(
                item,
                "a NIC of model \(driver) has one queue; leave queues= out, or take \(machine.nic)"
            )
        }
        streams.insert(port.id)
        notes.append(
            "\(port.id): \(driver) is no virtio NIC, so QEMU itself moves its frames, over a stream "
                + "socket; \(machine.nic) shares memory with the switch instead"
        )
    }

    /// Adds what the device must have and the user did not say.
    private mutating func complete(_ device: inout KeyValueText, for port: NetdevOptions) {
        if device["mac"] == nil {
            let mac = Self.mac(for: port.port)
            device.append("mac", mac)
            notes.append(
                "\(port.id): no mac= given, taking \(mac) from the name \(port.port) "
                    + "(QEMU's default would be the same in every guest)"
            )
        }
        if port.queues > 1, device["mq"] == nil { device.append("mq", "on") }
        let isPCI = device["driver"].map { $0.hasPrefix("virtio-net-pci") || $0 == "virtio-net" }
        guard isPCI == true, machine.nic == "virtio-net-pci" || device["driver"] != "virtio-net",
            !machine.usesKVM, device["vectors"] == nil, !hasGlobalVectors
        else { return }
        device.append("vectors", "0")
        guard !hasVectorsNote else { return }
        hasVectorsNote = true
        notes.append(
            "vectors=0 added: without KVM, QEMU 7.2 crashes when a vhost-user NIC uses MSI-X "
                + "(vectors=N on the -device overrules this)"
        )
    }

    private var hasGlobalVectors: Bool {
        arguments.items.contains { item in
            item.name == "global" && item.value?.hasPrefix("virtio-net") == true
                && item.value?.contains(".vectors=") == true
        }
    }

    private static func extend(
        json text: String,
        with pairs: ArraySlice<KeyValueText.Pair>
    ) -> String {
        guard case .object(var object) = try? JSONValue(parsing: text) else { return text }
        for pair in pairs {
            let value = pair.value ?? ""
            switch pair.key {
            case "vectors": object[pair.key] = .integer(Int(value) ?? 0)
            case "mq": object[pair.key] = true
            default: object[pair.key] = .string(value)
            }
        }
        return JSONValue.object(object).description
    }

    /// An address that depends on the port's name alone, in the range that QEMU uses.
    static func mac(for port: ValePortName) -> String {
        // FNV-1a: small, and the same on every machine and in every release.
        var hash: UInt32 = 2_166_136_261
        for byte in port.description.utf8 { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        hash ^= hash >> 24
        // 52:54:00:12:34 is where QEMU's own defaults are.
        if (hash >> 8) & 0xFFFF == 0x1234 { hash ^= 0x8000 }
        let tail = [16, 8, 0].map { shift in
            let digits = String((hash >> UInt32(shift)) & 0xFF, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }
        return "52:54:00:" + tail.joined(separator: ":")
    }

    private func refuseFilters() throws(QemuCommandLine.TranslationError) {
        for item in arguments.items where item.name == "object" {
            guard let value = item.value else { continue }
            let object = KeyValueText(json: value) ?? KeyValueText(value, implied: "qom-type")
            guard object["qom-type"]?.hasPrefix("filter-") == true,
                let port = ports.first(where: { $0.id == object["netdev"] }),
                !streams.contains(port.id)
            else { continue }
            throw fault(
                item,
                "QEMU's filters do not see the frames of \(port.port), which go between the guest "
                    + "and the switch without QEMU; leave the filter out"
            )
        }
    }
}
