// Hot plug as a conversation with the monitor of a running guest's QEMU: a state machine without I/O.
// Bytes come in, bytes to send and a result come out; the socket and the clock are the engine's.

/// A NIC that is plugged into a running guest, or unplugged from it.
public struct GuestNIC: Sendable, Hashable {
    /// What netdev and device are called in the guest's QEMU.
    public let id: String
    /// The vhost-user socket that the engine listens on.
    public let socket: String
    /// The NIC's address.
    public let mac: String
    /// How many queue pairs it has.
    public let queues: Int
    /// The bus to plug it into; nil to find one.
    public let bus: String?

    /// Describes the NIC of a port, whose plug has said where it goes.
    public init(_ options: NetdevOptions, plug: PlugOptions, socket: String) {
        // Unique in the guest, because port names are on the engine; the guest's own ids do not have
        // this form.
        id = options.port.identifier
        self.socket = socket
        mac = plug.mac ?? QemuNetwork.mac(for: options.port)
        queues = options.queues
        bus = plug.bus
    }

    var chardev: String { "wv-" + id }
}

/// One plugging or unplugging.
///
/// Make it when the socket is connected, feed it what is read, and do what it says, in order.
public struct GuestMonitor: Sendable {
    /// What is to be done.
    public enum Task: Sendable, Hashable {
        /// Make chardev, netdev and device; all of it or nothing.
        case plug(GuestNIC)
        /// Take them away, once the guest has let go of the device.
        case unplug(GuestNIC)
    }

    /// What the owner of the socket has to do.
    public enum Action: Sendable, Hashable {
        /// Send these bytes.
        case send([UInt8])
        /// Call `expire` after so many seconds, unless another action comes first.
        case wait(Double)
        /// Close the socket; the task is done, or failed with what a client is told.
        case finish(QMPError?)
    }

    enum Step: Sendable, Hashable {
        case greeting, negotiation
        case accelerator, machine, devices
        case rootPort([String])
        case addChardev, addNetdev, addDevice
        case deleteDevice, deletion, deleteNetdev, removeChardev
        case undo
        case finished
    }

    /// How long QEMU may take for an answer.
    public static let replySeconds = 10.0
    /// How long a guest may take to let go of a device.
    public static let deletionSeconds = 20.0

    /// The guest's name, for messages.
    let guest: String
    let task: Task
    var step = Step.greeting
    var nic: GuestNIC {
        switch task {
        case .plug(let nic), .unplug(let nic): nic
        }
    }
    var version = QemuVersion(7, 2)
    var usesKVM = false
    var driver = "virtio-net-pci"
    var bus: String?
    private var isDeleted = false
    private var failure: QMPError?
    var undo: [QMPRequest] = []
    private var lastId = 0
    private var framer = QMPFramer(maximumSize: 16 << 20)

    /// Begins; nothing is sent before QEMU's greeting.
    public init(guest: String, task: Task) {
        self.guest = guest
        self.task = task
    }

    /// What to do when the socket has been connected.
    public var start: [Action] { [.wait(Self.replySeconds)] }

    /// Whether the result is known.
    public var isFinished: Bool { step == .finished }

    /// Takes what QEMU sent.
    public mutating func receive(_ bytes: some Sequence<UInt8>) -> [Action] {
        var actions: [Action] = []
        for result in framer.append(bytes) where !isFinished {
            switch result {
            case .success(let message): actions += take(message)
            case .failure(let error):
                actions += end(QMPError("\(subject) sent no QMP: \(error.description)"))
            }
        }
        return actions
    }

    /// Time is up.
    public mutating func expire() -> [Action] {
        switch step {
        case .finished: return []
        case .greeting:
            return end(
                QMPError("\(subject) does not greet; is another program connected to its socket?")
            )
        case .deletion:
            return end(
                QMPError(
                    "\(subject) has asked its guest for the NIC back, and in "
                        + "\(Int(Self.deletionSeconds)) seconds the guest has not let go of it; "
                        + "is its system up? netdev_del again waits again"
                )
            )
        default:
            return end(QMPError("\(subject) does not answer"))
        }
    }

    /// The socket was closed by the other side.
    public mutating func close() -> [Action] {
        isFinished ? [] : end(failure ?? QMPError("\(subject) went away in the middle"))
    }

    var subject: String { "the QEMU of guest '\(guest)'" }

    private mutating func take(_ message: JSONValue) -> [Action] {
        if let greeting = message["QMP"] {
            guard step == .greeting else { return [] }
            let numbers = greeting["version"]?["qemu"]
            if let major = numbers?["major"]?.integerValue,
                let minor = numbers?["minor"]?.integerValue
            {
                version = QemuVersion(major, minor)
            }
            return ask(.negotiation, QMPRequest("qmp_capabilities"))
        }
        if let event = QMPEvent(message) { return take(event) }
        guard message["id"]?.integerValue == lastId, step != .greeting, step != .deletion else {
            return []
        }
        if let result = message["return"] { return advance(result) }
        let text = message["error"]?["desc"]?.stringValue ?? "an error without a text"
        let kind = message["error"]?["class"]?.stringValue ?? ""
        return refused(QMPError(QMPError.Class(rawValue: kind) ?? .genericError, text))
    }

    private mutating func take(_ event: QMPEvent) -> [Action] {
        guard event.data["device"]?.stringValue == nic.id else { return [] }
        switch (event.name, step) {
        case ("DEVICE_DELETED", .deletion):
            return ask(.deleteNetdev, QMPRequest("netdev_del", ["id": .string(nic.id)]))
        case ("DEVICE_DELETED", .deleteDevice):
            isDeleted = true
            return []
        case ("DEVICE_UNPLUG_GUEST_ERROR", .deletion), ("MEM_UNPLUG_ERROR", .deletion):
            return end(QMPError("guest '\(guest)' refuses to give the NIC back"))
        default: return []
        }
    }

    /// Sends a request whose answer belongs to `next`.
    mutating func ask(_ next: Step, _ request: QMPRequest) -> [Action] {
        step = next
        lastId += 1
        let request = QMPRequest(request.command, request.arguments, id: .integer(lastId))
        return [.wait(Self.replySeconds), .send(request.json.line)]
    }

    /// The answer to `device_del`: now it is the guest's turn.
    mutating func awaitDeletion() -> [Action] {
        step = .deletion
        guard isDeleted else { return [.wait(Self.deletionSeconds)] }
        return ask(.deleteNetdev, QMPRequest("netdev_del", ["id": .string(nic.id)]))
    }

    /// Gives up, after taking back what was done.
    mutating func fail(_ error: QMPError) -> [Action] {
        if failure == nil { failure = error }
        guard let request = undo.popLast() else { return end(failure) }
        return ask(.undo, request)
    }

    mutating func end(_ error: QMPError?) -> [Action] {
        step = .finished
        return [.finish(error)]
    }
}
