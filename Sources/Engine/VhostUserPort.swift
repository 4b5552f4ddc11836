// A port whose other end is a vhost-user front-end: its socket, its connection, its rings.

import CNetmap
import Control
import Glibc
import Logging
import Netmap
import VhostUser

/// A port of a switch, for a guest or anything else that speaks vhost-user.
///
/// Control thread only.
@safe final class VhostUserPort: Port {
    /// Where the front-end is found.
    enum Role: Equatable {
        /// The engine listens.
        case server
        /// The engine connects, and tries again after so many seconds.
        case client(retry: Int)
    }

    let options: NetdevOptions
    let path: String
    let role: Role
    /// Told when a front-end comes or goes, and when a ring of it was stopped.
    var onChange: (Change) -> Void = { _ in }

    /// What happened to a port.
    enum Change {
        case connected
        case disconnected
        case faulted(String)
    }

    private let loop: EventLoop
    private var listener: (file: OwnedDescriptor, token: UInt64)?
    private var retryTimer: UInt64?
    private var missTimer: UInt64?
    private var attempts = 0
    private var connectedAt: UInt64 = 0
    private var connection: (link: Connection, token: UInt64)?
    private var session = Session()
    private let rings: PortRings
    private static let pairs = Session.maximumQueuePairs

    init(
        _ options: NetdevOptions,
        path: String,
        role: Role,
        recordPath: String,
        _ place: PortPlace
    ) {
        self.options = options
        self.path = path
        self.role = role
        unsafe loop = place.loop
        let plane = unsafe PortPlane.make(
            place.number,
            vale: place.vale,
            pairs: VhostUserPort.pairs,
            page: place.page,
            lossless: options.lossless
        )
        rings = unsafe PortRings(
            plane: plane,
            pool: place.pool,
            loop: place.loop,
            isLossless: options.lossless != nil,
            recordPath: recordPath,
            logger: Port.logger(place.logger, for: "\(options.port)")
        )
        unsafe super.init(
            ifname: "\(options.port)",
            master: options.port.master,
            id: options.id,
            owner: place.owner,
            lossless: options.lossless,
            plane: plane,
            pool: place.pool,
            logger: place.logger
        )
        rings.onStart = { [unowned self] in reason = nil }
        rings.onMiss = { [unowned self] in repeatMissesLater() }
    }

    /// Whether a front-end is connected.
    override var isConnected: Bool { connection != nil }
    /// Whether the guest's driver runs at least one pair of rings.
    override var isRunning: Bool { rings.isRunning }
    /// Features that the front-end acknowledged.
    var features: UInt64 { session.features }
    /// Queue pairs that run.
    var queuePairs: Int { rings.queuePairs }
    /// The guest's MTU.
    override var mtu: Int { rings.mtu }
    /// Called when the front-end announces its guest's address.
    var onAnnounce: (UInt64) -> Void {
        get { rings.onAnnounce }
        set { rings.onAnnounce = newValue }
    }
    /// What `set_link` said.
    override var isLinkUp: Bool {
        get { super.isLinkUp }
        set {
            super.isLinkUp = newValue
            if session.has(ProtocolFeature.configuration) { rings.ask(.configurationChange) }
        }
    }
    override var netdev: NetdevOptions? { options }
    override var type: String { options.type }
    override var isEphemeral: Bool { options.isEphemeral }
    override var queues: Int { max(options.queues, queuePairs) }

    private var waiting: String { "waiting for a front-end on \(path)" }

    // MARK: Coming and going

    /// Begins to listen, or to connect.
    override func open(isRestored: Bool) throws {
        switch role {
        case .server:
            try SocketFile.clear(path)
            let file = OwnedDescriptor(
                try SystemError.check(unsafe nm_unix_listen(path), "listen on \(path)")
            )
            let token = try loop.watch(file) { [unowned self] _ in accept() }
            listener = (file, token)
            reason = waiting
        case .client:
            connect()
        }
    }

    override func close() {
        disconnect("the port was removed")
        if let listener {
            loop.unwatch(listener.file, listener.token)
            _ = unsafe unlink(path)
        }
        listener = nil
        for timer in [retryTimer, missTimer] { if let timer { loop.cancel(timer) } }
        super.close()
    }

    private func accept() {
        guard let listener else { return }
        let number = nm_unix_accept(listener.file.number)
        guard number >= 0 else { return }
        let file = OwnedDescriptor(number)
        // The one before may have gone without our having seen it: its end comes first.
        if connection != nil { handle(.readable) }
        guard connection == nil else {
            logger.warning("refused a second front-end; the first is still connected")
            return
        }
        begin(file)
    }

    private func connect() {
        guard case .client(let retry) = role else { return }
        retryTimer = nil
        let number = unsafe nm_unix_connect(path)
        if number >= 0 {
            begin(OwnedDescriptor(number))
            return
        }
        let text = SystemError("connect to \(path)", result: number).description
        if reason != text { logger.info("waiting for the front-end: \(text)") }
        reason = text
        tryAgain(retry)
    }

    /// Connects again: soon at first, for a front-end that is about to come back, then every
    /// `retry` seconds.
    private func tryAgain(_ retry: Int) {
        let soon = 0.05 * Double(1 << min(attempts, 10))
        attempts += 1
        retryTimer = loop.after(min(soon, Double(max(1, retry)))) { [unowned self] in connect() }
    }

    private func begin(_ file: OwnedDescriptor) {
        let link = Connection(file)
        do {
            let token = try loop.watch(file) { [unowned self] readiness in
                handle(readiness)
            }
            connection = (link, token)
        } catch {
            logger.error("\(error)")
            return
        }
        session = Session()
        rings.peer = link.peer
        reason = "waiting for the guest's driver"
        connectedAt = nm_monotonic_ns()
        logger.info("front-end connected", metadata: ["pid": "\(link.peer)"])
        onChange(.connected)
    }

    private func handle(_ readiness: EventLoop.Readiness) {
        guard let (link, token) = connection else { return }
        do {
            if readiness.contains(.writable) { try link.flush() }
            // Bounded, so that a chatty front-end cannot keep the others waiting.
            for _ in 0..<64 {
                guard let (header, payload, files) = try link.next() else { break }
                var controller = rings
                if let reply = try session.handle(header, payload, files, &controller) {
                    try link.send(reply.bytes, reply.file)
                }
            }
            loop.rewatch(
                link.file,
                token,
                for: link.unsent.isEmpty ? .readable : [.readable, .writable]
            )
        } catch let error as Connection.Ended {
            disconnect(error.description, isOrderly: error.isOrderly)
        } catch {
            disconnect("\(error)", isOrderly: false)
        }
    }

    private func disconnect(_ why: String, isOrderly: Bool = true) {
        guard let (link, token) = connection else { return }
        loop.unwatch(link.file, token)
        connection = nil
        var controller = rings
        session.close(&controller)
        rings.reset()
        if isOrderly {
            logger.info("\(why)")
            if role == .server { reason = waiting }
        } else {
            logger.error("closed the connection: \(why)")
            reason = why
        }
        onChange(.disconnected)
        if case .client(let retry) = role {
            // One that is let go again and again is not one that is about to come back.
            if nm_monotonic_ns() - connectedAt > 1_000_000_000 { attempts = 0 }
            tryAgain(retry)
        }
    }

    /// Has the front-end asked again, in a while, for what it has not translated.
    private func repeatMissesLater() {
        guard missTimer == nil else { return }
        missTimer = loop.after(0.02) { [unowned self] in
            missTimer = nil
            guard connection != nil else { return }
            var controller = rings
            do throws(SessionError) {
                try session.repeatMisses(&controller)
            } catch {
                disconnect(error.description, isOrderly: false)
            }
        }
    }

    /// Looks at what workers have found: broken rings, memory that is gone, addresses without
    /// translation.
    override func attend() {
        if rings.isTruncated {
            disconnect(
                "the front-end cut its memory file short while it was in use",
                isOrderly: false
            )
            onChange(.faulted(reason ?? ""))
            return
        }
        for (index, ring) in rings.rings {
            // First, so that what comes up meanwhile is not missed.
            unsafe nm_store32(&plane.pointee.pairs[index / 2].attention, 0)
            var controller = rings
            for case .translationMiss(let address, let isWrite) in unsafe ring.queue.takeMisses() {
                session.miss(address, isWrite: isWrite, &controller)
            }
            let fault = unsafe ring.queue.fault
            guard fault != .none, !ring.isBroken else { continue }
            rings.rings[index]?.isBroken = true
            let text = "ring \(index) was stopped: the guest's driver \(fault.text)"
            // The session keeps thinking that it runs, which makes GET_VRING_BASE answer as usual.
            reason = text
            rings.signalError(index)
            logger.error("\(text)")
            onChange(.faulted(text))
            rings.unpublish(index)
        }
    }

    override func describe(_ object: inout JSONObject) {
        object["socket"] = .string(path)
        object["role"] = role == .server ? "server" : "client"
        object["features"] = .array(Feature.names(features).map { .string($0) })
        if let plug = options.plug { object["guest"] = .string(plug.guest) }
    }
}
