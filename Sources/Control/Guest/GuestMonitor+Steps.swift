// What is asked of a guest's QEMU, one thing after another, and what its answers mean.

extension GuestMonitor {
    /// Goes on after an answer that is no error.
    mutating func advance(_ result: JSONValue) -> [Action] {
        switch step {
        case .greeting, .deletion, .finished: return []
        case .negotiation:
            if case .unplug = task {
                return ask(.deleteDevice, QMPRequest("device_del", ["id": .string(nic.id)]))
            }
            return ask(.accelerator, QMPRequest("query-kvm"))
        case .accelerator:
            usesKVM = result["enabled"]?.boolValue ?? false
            return ask(
                .machine,
                QMPRequest("qom-get", ["path": "/machine", "property": "type"])
            )
        case .machine:
            let machine = result.stringValue ?? ""
            if machine.contains("ccw") { driver = "virtio-net-ccw" }
            bus = nic.bus
            // The root of a PCI Express machine takes no NIC while it runs; one of its ports does.
            let isExpress = machine.contains("q35") || machine.hasPrefix("virt-")
            guard bus == nil, isExpress else { return addChardev() }
            return ask(.devices, QMPRequest("qom-list", ["path": "/machine/peripheral"]))
        case .devices:
            let kinds = ["child<pcie-root-port>", "child<ioh3420>"]
            let ports = (result.arrayValue ?? []).filter {
                kinds.contains($0["type"]?.stringValue ?? "")
            }
            return look(at: ports.compactMap { $0["name"]?.stringValue }.sorted())
        case .rootPort(let names):
            let isTaken = (result.arrayValue ?? []).contains {
                $0["name"]?.stringValue?.hasPrefix("child[") ?? false
            }
            guard !isTaken, let free = names.first else {
                return look(at: Array(names.dropFirst()))
            }
            bus = free
            return addChardev()
        case .addChardev:
            undo.append(QMPRequest("chardev-remove", ["id": .string(nic.chardev)]))
            var netdev: JSONObject = [
                "type": "vhost-user", "id": .string(nic.id), "chardev": .string(nic.chardev),
            ]
            if nic.queues > 1 { netdev["queues"] = .integer(nic.queues) }
            return ask(.addNetdev, QMPRequest("netdev_add", netdev))
        case .addNetdev:
            undo.append(QMPRequest("netdev_del", ["id": .string(nic.id)]))
            return ask(.addDevice, QMPRequest("device_add", device))
        case .addDevice: return end(nil)
        case .deleteDevice: return awaitDeletion()
        case .deleteNetdev:
            return ask(
                .removeChardev,
                QMPRequest("chardev-remove", ["id": .string(nic.chardev)])
            )
        case .removeChardev: return end(nil)
        case .undo: return fail(QMPError(""))
        }
    }

    /// Goes on after an error.
    mutating func refused(_ error: QMPError) -> [Action] {
        let isMissing = error.description.contains("not found")
        switch step {
        // A program without KVM need not know the question.
        case .accelerator: return advance([:])
        case .machine: return advance("")
        case .rootPort(let names): return look(at: Array(names.dropFirst()))
        case .deleteDevice where isMissing:
            return ask(.deleteNetdev, QMPRequest("netdev_del", ["id": .string(nic.id)]))
        case .deleteDevice where error.description.contains("in the process of unplug"):
            return awaitDeletion()
        // The netdev takes its chardev along in some versions.
        case .deleteNetdev where isMissing, .removeChardev where isMissing: return advance([:])
        case .undo: return fail(error)
        default: return fail(QMPError("\(subject) refused \(stepName): \(error.description)"))
        }
    }

    private var stepName: String {
        switch step {
        case .negotiation: "qmp_capabilities"
        case .devices: "qom-list"
        case .addChardev: "chardev-add"
        case .addNetdev: "netdev_add"
        case .addDevice: "device_add"
        case .deleteDevice: "device_del"
        case .deleteNetdev: "netdev_del"
        case .removeChardev: "chardev-remove"
        default: "a question"
        }
    }

    /// Asks what is in the first of these root ports.
    private mutating func look(at names: [String]) -> [Action] {
        guard let name = names.first else {
            return fail(
                QMPError(
                    "guest '\(guest)' has no free PCI Express port; start it with "
                        + "-device pcie-root-port,id=hot1,chassis=1,slot=1 (one for each NIC), or "
                        + "give the bus= of a port that is free"
                )
            )
        }
        // A bus is called like its port.
        return ask(
            .rootPort(names),
            QMPRequest("qom-list", ["path": .string("/machine/peripheral/\(name)/\(name)")])
        )
    }

    private mutating func addChardev() -> [Action] {
        var data: JSONObject = [
            "addr": ["type": "unix", "data": ["path": .string(nic.socket)]], "server": false,
        ]
        // 9.2 renamed the member and later versions dropped the old name.
        if version >= QemuVersion(9, 2) {
            data["reconnect-ms"] = 1000
        } else {
            data["reconnect"] = 1
        }
        return ask(
            .addChardev,
            QMPRequest(
                "chardev-add",
                [
                    "id": .string(nic.chardev),
                    "backend": ["type": "socket", "data": .object(data)],
                ]
            )
        )
    }

    private var device: JSONObject {
        var device: JSONObject = [
            "driver": .string(driver), "id": .string(nic.id), "netdev": .string(nic.id),
            "mac": .string(nic.mac),
        ]
        if nic.queues > 1 { device["mq"] = true }
        // QEMU 7.2 crashes when a vhost-user NIC uses MSI-X without KVM.
        if !usesKVM, driver == "virtio-net-pci" { device["vectors"] = 0 }
        if let bus { device["bus"] = .string(bus) }
        return device
    }
}
