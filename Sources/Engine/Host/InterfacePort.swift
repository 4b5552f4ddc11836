// What ports on interfaces of the host have in common: they hear when the interface changes, and say so.

import CNetmap
import Control
import Logging
import Netmap
import Ports

/// A port that is on an interface which is not ours.
///
/// Control thread only. A subclass makes its queues in `connect`.
@safe class InterfacePort: HostPort {
    let interfaceName: String
    /// The interface as it is, while the port is on it.
    private(set) var interface: NetworkInterface?
    /// What an operator should know although frames pass.
    var warnings: [String] = []
    /// Offloads that were switched off, to be switched on again.
    private var switchedOff: [NetworkInterface.Offload] = []
    private var watch: LinkWatch?
    private var token: UInt64?
    /// The interface when it was looked at last, whether the port was on it or not.
    private var seen: NetworkInterface?

    init(_ options: NetdevOptions, interface: String, pairs: Int, _ place: PortPlace) {
        interfaceName = interface
        unsafe super.init(options, pairs: pairs, place)
    }

    override var isRunning: Bool {
        guard super.isRunning, let interface else { return false }
        return interface.isUp && interface.isRunning
    }

    override var mtu: Int { interface?.mtu ?? super.mtu }

    // MARK: For subclasses

    /// Makes queues on `interface` and starts them.
    func connect(_ interface: NetworkInterface) throws {}

    /// Ends what `connect` made.
    func disconnect() {}

    /// Whether what `connect` made does for the interface as it is now.
    func suits(_ interface: NetworkInterface) -> Bool { true }

    /// Switches off what would change frames before we see them, or warns if that cannot be done.
    func switchOff(_ offload: NetworkInterface.Offload, because why: String) {
        guard let interface, interface.has(offload) else { return }
        let command = "ethtool -K \(interfaceName) \(offload.name) off"
        if interface.set(offload, false) {
            switchedOff.append(offload)
            logger.info("switched off as by '\(command)', until the port goes: \(why)")
        } else {
            warn("\(why): '\(command)' is not possible here")
        }
    }

    /// Tells operators what they should know.
    func warn(_ text: String) {
        warnings.append(text)
        logger.warning("\(text)")
    }

    // MARK: HostPort

    override func attach() throws {
        try listen()
        let interface = try NetworkInterface(interfaceName)
        seen = interface
        self.interface = interface
        warnings = []
        try connect(interface)
    }

    override func detach() {
        disconnect()
        // Where it was deleted there is nothing to switch on again.
        if let interface, (try? NetworkInterface(interfaceName))?.index == interface.index {
            for offload in switchedOff { _ = interface.set(offload, true) }
        }
        switchedOff = []
        interface = nil
    }

    override func noteAttached() {
        super.noteAttached()
        note()
    }

    override func close() {
        if let watch, let token { loop.unwatch(watch.file, token) }
        watch = nil
        super.close()
    }

    override func explain(_ code: Int32) -> String { "interface \(interfaceName) is gone" }

    override func describe(_ object: inout JSONObject) {
        object["interface"] = .string(interfaceName)
        if !warnings.isEmpty { object["warnings"] = .array(warnings.map { .string($0) }) }
    }

    // MARK: News

    private func listen() throws {
        guard watch == nil else { return }
        let watch = try LinkWatch()
        token = try loop.watch(watch.file) { [unowned self] _ in
            watch.drain()
            look()
        }
        self.watch = watch
    }

    private func look() {
        let now = try? NetworkInterface(interfaceName)
        // Listening and failing makes news, too: only a change is a reason to try.
        let isNew = now != seen
        seen = now
        guard isConnected, let interface else {
            if isNew, now != nil { tryNow() }
            return
        }
        guard let now, now.index == interface.index else {
            lose("interface \(interfaceName) is gone")
            if now != nil { tryNow() }
            return
        }
        guard suits(now) else {
            lose("interface \(interfaceName) has changed its MTU")
            return tryNow()
        }
        self.interface = now
        note()
    }

    /// Says whether the interface carries frames.
    private func note() {
        guard let interface else { return }
        var why: String?
        if !interface.isUp {
            why = "interface \(interfaceName) is down"
        } else if !interface.isRunning {
            why = "interface \(interfaceName) has no carrier"
        }
        guard why != reason else { return }
        logger.info("\(why ?? "interface \(interfaceName) is up")")
        reason = why
        onChange()
    }
}
