// The guest's memory must be a file that the switch can map. Whoever has arranged that already
// is left alone; whoever has arranged the opposite is told; for all others a memfd does it.

/// What must be done about the memory of a guest.
struct QemuMemory: Sendable {
    /// Options to add.
    private(set) var added: [QemuArguments.Item] = []
    /// Indices of items to leave out.
    private(set) var dropped: Set<Int> = []
    /// Lines for the user.
    private(set) var notes: [String] = []

    private static let id = "wv-mem"

    init(_ arguments: QemuArguments) throws(QemuCommandLine.TranslationError) {
        let objects = arguments.texts("object", implied: "qom-type")
        let machine = arguments.texts("machine", implied: "type")
        let nodes = arguments.texts("numa", implied: "type").filter { $0["type"] == "node" }
        let backend = machine.compactMap { $0["memory-backend"] }.last
        let nodeBackends = nodes.compactMap { $0["memdev"] }
        let dimms = arguments.texts("device", implied: "driver").compactMap { $0["memdev"] }
        for id in (backend.map { [$0] } ?? []) + nodeBackends + dimms {
            guard let object = objects.last(where: { $0["id"] == id }) else { continue }
            try Self.check(object)
        }
        guard backend == nil, nodeBackends.isEmpty else { return }
        if let legacy = nodes.first(where: { $0["mem"] != nil }) {
            throw QemuCommandLine.TranslationError(
                description: "-numa \(legacy.text(implied: "type")): memory made by mem= cannot "
                    + "be shared with the switch; write -object "
                    + "memory-backend-memfd,id=m0,size=\(legacy["mem"] ?? ""),share=on "
                    + "and -numa node,memdev=m0 instead"
            )
        }
        guard nodes.isEmpty else {
            throw QemuCommandLine.TranslationError(
                description: "-numa \(nodes[0].text(implied: "type")) gives its node no memory; "
                    + "write -object memory-backend-memfd,id=m0,size=SIZE,share=on and add memdev=m0"
            )
        }
        try provide(arguments)
    }

    private mutating func provide(
        _ arguments: QemuArguments
    ) throws(QemuCommandLine.TranslationError) {
        let size = QemuSize.text(try Self.size(arguments))
        if let index = arguments.items.lastIndex(where: { $0.name == "mem-path" }) {
            let path = arguments.items[index].value ?? ""
            dropped = Set(arguments.items.indices.filter { arguments.items[$0].name == "mem-path" })
            let options = "id=\(Self.id),size=\(size),mem-path=\(KeyValueText.escape(path))"
            added.append(.init("object", "memory-backend-file,\(options),share=on"))
            notes.append("-mem-path \(path) became a memory-backend-file that is shared")
        } else {
            let options = "id=\(Self.id),size=\(size),share=on"
            added.append(.init("object", "memory-backend-memfd,\(options)"))
        }
        added.append(.init("machine", "memory-backend=\(Self.id)"))
    }

    /// Refuses a back-end that QEMU would keep to itself.
    private static func check(
        _ object: KeyValueText
    ) throws(QemuCommandLine.TranslationError) {
        let type = object["qom-type"] ?? ""
        // The defaults are QEMU's: memfd and shm are shared unless told otherwise.
        let isShared =
            object["share"].flatMap(KeyValueText.boolean)
            ?? (type == "memory-backend-memfd" || type == "memory-backend-shm")
        guard type.hasPrefix("memory-backend-") else { return }
        let isFile = type != "memory-backend-ram"
        guard !isShared || !isFile else { return }
        var better = object
        if !isFile {
            better.pairs = better.pairs.map { pair in
                pair.key == "qom-type" ? .init("qom-type", "memory-backend-memfd") : pair
            }
        }
        _ = better.remove("share")
        better.append("share", "on")
        let reason =
            isFile ? "is private memory (share=on is missing)" : "is anonymous memory, not a file"
        throw QemuCommandLine.TranslationError(
            description: "-object \(object.text(implied: "qom-type")) \(reason); the switch must "
                + "share the guest's memory: write -object \(better.text(implied: "qom-type"))"
        )
    }

    /// The size of the guest's memory in bytes.
    private static func size(
        _ arguments: QemuArguments
    ) throws(QemuCommandLine.TranslationError) -> UInt64 {
        let machine = arguments.texts("machine", implied: "type")
        let texts = arguments.texts("m", implied: "size")
        let given =
            texts.compactMap { $0["size"] }.last ?? machine.compactMap { $0["memory.size"] }.last
        guard let text = given else { return QemuSize.standard }
        guard let size = QemuSize.bytes(text) else {
            throw QemuCommandLine.TranslationError(
                description: "-m \(text): no size; write a number of MiB such as 512, or one with "
                    + "K, M, G or T such as 1.5G"
            )
        }
        return size == 0 ? QemuSize.standard : size
    }
}

/// Sizes as `-m` takes them.
enum QemuSize {
    /// What a PC gets without `-m`.
    static let standard: UInt64 = 128 << 20

    /// The bytes of a text such as `512`, `1G` or `1.5G`; a bare number counts MiB.
    static func bytes(_ text: String) -> UInt64? {
        let scale: [Character: UInt64] = [
            "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50,
            "E": 1 << 60,
        ]
        var number = text.uppercased()
        var factor: UInt64 = 1 << 20
        // In a hexadecimal number B and E are digits.
        if let last = number.last, let named = scale[last], !number.hasPrefix("0X") {
            number.removeLast()
            factor = named
        } else if number.contains(".") {
            return nil
        }
        let whole: UInt64
        var fraction = 0.0
        if let hexadecimal = number.dropPrefix("0X") {
            guard let value = UInt64(hexadecimal, radix: 16) else { return nil }
            whole = value
        } else {
            let halves = number.split(separator: ".", omittingEmptySubsequences: false)
            guard halves.count <= 2, let value = UInt64(halves[0]), !halves[0].hasPrefix("+")
            else { return nil }
            whole = value
            if halves.count == 2 {
                guard halves[1].allSatisfy({ $0.isASCII && $0.isNumber }),
                    let value = Double("0.\(halves[1])0"), factor > 1
                else { return nil }
                fraction = value
            }
        }
        let (product, overflow) = whole.multipliedReportingOverflow(by: factor)
        guard !overflow, product <= UInt64.max - factor - 8192 else { return nil }
        let sum = product + UInt64(fraction * Double(factor) + 0.5)
        // QEMU rounds the memory of a machine up to 8 KiB, and a back-end must match exactly.
        return (sum + 8191) & ~8191
    }

    /// The shortest exact text for a size.
    static func text(_ bytes: UInt64) -> String {
        bytes % (1 << 20) == 0 ? "\(bytes >> 20)M" : "\(bytes)"
    }
}
