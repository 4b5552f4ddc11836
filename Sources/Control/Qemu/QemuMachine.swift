// What the command line says about machine and accelerator: whether MSI-X may be used, and
// what a virtio NIC is called there.

/// The machine that a QEMU command line describes.
struct QemuMachine: Sendable {
    /// Whether KVM will run the guest.
    let usesKVM: Bool
    /// The virtio NIC of the machine's own bus.
    let nic: String
    /// Whether its PCI root takes no devices while it runs, so that ports have to be made for them.
    let needsRootPorts: Bool

    init(_ arguments: QemuArguments, _ host: QemuCommandLine.Host) {
        // QEMU merges all -machine options; of one key the last value counts.
        let options = arguments.texts("machine", implied: "type")
        let value = { (key: String) in options.compactMap { $0[key] }.last }
        let program = host.program.split(separator: "/").last.map(String.init) ?? ""
        usesKVM = Self.usesKVM(arguments, accelerator: value("accel"), program, host.kvmOpens)
        let type = value("type") ?? ""
        needsRootPorts = type == "q35" || type.hasPrefix("pc-q35")
        if program.contains("s390x") || type.hasPrefix("s390-ccw") {
            nic = "virtio-net-ccw"
        } else if type == "microvm" {
            // microvm has virtio-mmio slots, and PCI only when asked for it.
            let hasPCI = value("pcie").flatMap(KeyValueText.boolean) ?? false
            nic = hasPCI ? "virtio-net-pci" : "virtio-net-device"
        } else {
            nic = "virtio-net-pci"
        }
    }

    private static func usesKVM(
        _ arguments: QemuArguments,
        accelerator: String?,
        _ program: String,
        _ kvmOpens: Bool
    ) -> Bool {
        if arguments.has("enable-kvm") { return true }
        var wanted = arguments.texts("accel", implied: "accel").compactMap { $0["accel"] }
        if let accelerator { wanted += accelerator.split(separator: ":").map(String.init) }
        guard let first = wanted.first else { return program.hasSuffix("kvm") }
        // With a choice QEMU takes the first that works; with none it insists.
        return first == "kvm" && (wanted.count == 1 || kvmOpens)
    }
}
