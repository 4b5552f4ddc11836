// One dump, as the control plane knows it: which ports it is of, and the thread that writes it.

import CNetmap
import Control
import Netmap
import Ports
import Wire

/// A capture of a port, or of all ports of a switch.
///
/// Control thread only.
final class Dump {
    let options: DumpOptions
    /// The control connection whose end is also the dump's, if any.
    let owner: UInt64?
    /// The switch, if it is of all its ports.
    let master: String?
    let writer: CaptureWriter
    private let loop: EventLoop
    private var token: UInt64?
    /// The place of each port in the file, by number.
    private(set) var interfaces: [UInt16: UInt16] = [:]
    /// Called when the stage has changed.
    var onChange: () -> Void = {}
    /// Called once when it is known whether the dump could begin.
    var onBegin: ((QMPError?) -> Void)?
    /// Called once when everything is written.
    var onEnd: [() -> Void] = []
    /// Why it is being ended, if not because somebody asked.
    var reason: String?

    init(
        _ options: DumpOptions,
        owner: UInt64?,
        master: String?,
        loop: EventLoop
    ) throws(SystemError) {
        self.options = options
        self.owner = owner
        self.master = master
        self.loop = loop
        var capture = CaptureOptions(path: options.file)
        capture.format = options.format == .pcap ? .pcap : .pcapng
        capture.snapLength = options.snapLength
        capture.filter = options.filter
        capture.count = options.count.map { UInt64($0) }
        capture.rotation = CaptureRotation(
            bytes: options.fileSize,
            seconds: options.seconds,
            files: options.files
        )
        capture.bufferSize = options.buffer
        writer = try CaptureWriter(capture)
    }

    /// Gives a port its place in the file, once.
    func add(_ port: Port) {
        guard interfaces[port.number] == nil else { return }
        interfaces[port.number] = writer.addInterface(port.ifname)
    }

    /// Forgets a port, whose number may be another's later.
    func remove(_ port: Port) { interfaces[port.number] = nil }

    /// Starts the thread.
    func start() throws(SystemError) {
        token = try loop.watch(writer.notice) { [unowned self] _ in
            _ = nm_eventfd_drain(writer.notice.number)
            attend()
        }
        try writer.start()
    }

    private func attend() {
        let state = writer.now
        switch state.phase {
        case .opening: return
        case .ended where state.hasFailed && onBegin != nil:
            onBegin?(QMPError(state.reason ?? "the dump did not begin"))
        default: onBegin?(nil)
        }
        onBegin = nil
        onChange()
        guard state.phase == .ended else { return }
        let waiting = onEnd
        onEnd = []
        for body in waiting { body() }
    }

    /// Lets go of the event loop.
    func forget() {
        if let token { loop.unwatch(writer.notice, token) }
        token = nil
    }

    /// Whether frames are to be shown to it.
    var isRunning: Bool { writer.now.phase == .running && reason == nil }

    /// How a port's frames are shown to it.
    func tap(_ number: UInt16) -> DumpTap? {
        guard isRunning, let interface = interfaces[number] else { return nil }
        return unsafe DumpTap(
            ring: writer.ring,
            wake: writer.wakeNumber,
            interface: interface,
            takesInbound: options.takesInbound,
            takesOutbound: options.takesOutbound
        )
    }

    /// What operators see.
    var json: JSONValue {
        let state = writer.now
        let counts = writer.counts
        var object: JSONObject = [
            "id": .string(options.id), "name": .string(options.name),
            "file": .string(state.file.isEmpty ? options.file : state.file),
            "files": .integer(state.files), "format": .string(options.format.rawValue),
            "state": .string(state.phase.rawValue), "failed": .bool(state.hasFailed),
            "ephemeral": .bool(owner != nil), "packets": .count(state.packets),
            "received": .count(counts.received), "dropped": .count(counts.lost + state.unwritten),
        ]
        object["reason"] = (state.reason ?? reason).map { .string($0) }
        object["filter"] = options.filter.map { .string($0) }
        return .object(object)
    }
}
