// A port whose other end is a vhost-user front-end: its socket, its connection, its rings.

import CNetmap
import Control
import Glibc
import Logging
import Netmap
import VhostUser

/// A port of a switch, for a guest or anything else that speaks vhost-user.
///
/// Control thread only. The plane that workers see belongs to it and is freed by `close`.
@safe final class VhostUserPort {
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
    let plane: UnsafeMutablePointer<PortPlane>
    let number: UInt16
    /// The control connection whose end is also this port's, if any.
    let owner: UInt64?
    /// Told when a front-end comes (true) or goes, and when it is faulted (with the reason).
    var onChange: (Change) -> Void = { _ in }

    /// What happened to a port.
    enum Change {
        case connected
        case disconnected
        case faulted(String)
    }

    private let loop: EventLoop
    private let pool: WorkerPool
    let logger: Logger
    private var listener: (file: OwnedDescriptor, token: UInt64)?
    private var retryTimer: UInt64?
    private var attempts = 0
    private var connectedAt: UInt64 = 0
    private var connection: (link: Connection, token: UInt64)?
    private var session = Session()
    private var rings: [Int: Ring] = [:]
    private var enabled: Set<Int> = []
    private var calls: [Int: OwnedDescriptor] = [:]
    private var errors: [Int: OwnedDescriptor] = [:]
    private var memory: GuestMemory?
    private var log: DirtyLog?
    private(set) var mtu = 1500
    /// Why the port does not work, for people.
    private(set) var reason: String?
    private static let pairs = Session.maximumQueuePairs

    /// A running ring: the queue that workers use and what wakes them.
    @safe private struct Ring {
        let queue: GuestQueue
        let kick: OwnedDescriptor?
    }

    init(
        options: NetdevOptions,
        path: String,
        role: Role,
        number: UInt16,
        vale: UnsafeMutablePointer<SwitchPlane>,
        page: UnsafeMutablePointer<nm_port_counters>,
        owner: UInt64?,
        loop: EventLoop,
        pool: WorkerPool,
        logger: Logger
    ) {
        self.options = options
        self.path = path
        self.role = role
        self.number = number
        self.owner = owner
        self.loop = loop
        self.pool = pool
        var logger = logger
        logger[metadataKey: "port"] = "\(options.port)"
        self.logger = logger
        let pairs = UnsafeMutablePointer<QueuePair>.allocate(capacity: VhostUserPort.pairs)
        unsafe pairs.initialize(repeating: QueuePair(), count: VhostUserPort.pairs)
        unsafe plane = .allocate(capacity: 1)
        // SAFETY: the counters' page outlives the port (Engine keeps both).
        unsafe plane.initialize(
            to: PortPlane(
                number: number,
                vale: vale,
                pairs: pairs,
                rx: DirectionCounters(unsafePage: &page.pointee.rx),
                tx: DirectionCounters(unsafePage: &page.pointee.tx),
                page: page,
                isLossless: options.lossless != nil,
                patience: UInt64(options.lossless?.timeout ?? 0) * 1_000_000
            )
        )
    }

    /// Whether a front-end is connected.
    var isConnected: Bool { connection != nil }
    /// Whether the guest's driver runs at least one pair of rings.
    var isRunning: Bool {
        rings.keys.contains { $0 % 2 == 1 } && rings.keys.contains { $0 % 2 == 0 }
    }
    /// Features that the front-end acknowledged.
    var features: UInt64 { session.features }
    /// Queue pairs that run.
    var queuePairs: Int { rings.keys.map { $0 / 2 + 1 }.max() ?? 0 }
    /// What `set_link` said.
    var isLinkUp: Bool {
        get { unsafe nm_load32(&plane.pointee.linkUp) != 0 }
        set {
            unsafe nm_store32(&plane.pointee.linkUp, newValue ? 1 : 0)
            // Workers do not ask a port for kicks while its link is down, nor look at one that waits.
            pool.recall()
        }
    }
    /// Frames from the port.
    var rx: DirectionCounters { unsafe plane.pointee.rx }
    /// Frames to the port.
    var tx: DirectionCounters { unsafe plane.pointee.tx }

    private var waiting: String { "waiting for a front-end on \(path)" }

    // MARK: Coming and going

    /// Begins to listen, or to connect.
    func open() throws {
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

    /// Ends everything, and waits until no worker can use the port; its number may be given away then.
    func close() {
        disconnect("the port was removed")
        if let listener {
            loop.unwatch(listener.file, listener.token)
            _ = unsafe unlink(path)
        }
        listener = nil
        if let retryTimer { loop.cancel(retryTimer) }
        pool.synchronize()
        unsafe plane.pointee.pairs.deallocate()
        unsafe plane.deallocate()
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
                var controller = Controller(port: self)
                if let reply = try session.handle(header, payload, files, &controller) {
                    try link.send(reply)
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
        var controller = Controller(port: self)
        session.close(&controller)
        for index in enabled { setEnabled(index, false) }
        enabled = []
        for index in calls.keys { storeCall(index, nil) }
        pool.synchronize()
        calls = [:]
        errors = [:]
        memory = nil
        log = nil
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

    /// Looks whether a worker has found one of the port's rings broken, or its memory gone.
    func checkFaults() {
        if let memory, memory.isTruncated {
            disconnect(
                "the front-end cut its memory file short while it was in use",
                isOrderly: false
            )
            onChange(.faulted(reason ?? ""))
            return
        }
        for (index, ring) in rings {
            let fault = unsafe ring.queue.fault
            guard fault != .none else { continue }
            let text = "ring \(index) was stopped: the guest's driver \(fault.text)"
            // The session keeps thinking that it runs, which makes GET_VRING_BASE answer as usual.
            reason = text
            if let error = errors[index] { _ = nm_eventfd_ring(error.number) }
            logger.error("\(text)")
            onChange(.faulted(text))
            unpublish(index)
            unsafe nm_store32(&plane.pointee.pairs[index / 2].faulted, 0)
        }
    }

    // MARK: Rings

    /// What the session asks for, done to the port that it belongs to.
    private struct Controller: RingController {
        unowned let port: VhostUserPort

        func map(_ regions: [MemoryRegion], _ files: [OwnedDescriptor]) throws(SessionError) {
            try port.map(regions, files)
        }
        func start(ring index: Int, _ setup: RingSetup) throws(SessionError) {
            try port.start(index, setup)
        }
        func stop(ring index: Int) -> UInt32 { port.stop(index) }
        func enable(ring index: Int, _ enabled: Bool) {
            if enabled { port.enabled.insert(index) } else { port.enabled.remove(index) }
            port.setEnabled(index, enabled)
        }
        func setCall(ring index: Int, _ call: OwnedDescriptor?) throws(SessionError) {
            try port.setCall(index, call)
        }
        func setError(ring index: Int, _ error: OwnedDescriptor?) {
            if let error, nm_is_eventfd(error.number) != 1 { return }
            port.errors[index] = error
        }
        func setLog(
            _ file: OwnedDescriptor,
            size: UInt64,
            offset: UInt64
        ) throws(SessionError) {
            do throws(GuestMemoryError) {
                port.log = try DirtyLog(file: file, size: size, offset: offset)
            } catch {
                throw SessionError(error.description, isRefusal: true)
            }
        }
        func announce(_ mac: UInt64) {
            port.onAnnounce(mac)
        }
        func setMTU(_ mtu: UInt64) throws(SessionError) {
            guard (68...65_535).contains(mtu) else {
                throw SessionError("an MTU of \(mtu)", isRefusal: true)
            }
            port.mtu = Int(mtu)
        }
    }

    /// Called when the front-end announces its guest's address.
    var onAnnounce: (UInt64) -> Void = { _ in }

    private func map(
        _ regions: [MemoryRegion],
        _ files: [OwnedDescriptor]
    ) throws(SessionError) {
        do throws(GuestMemoryError) {
            // No ring runs, so nobody uses the old memory; it goes when the new one is in place.
            memory = try GuestMemory(regions, files: files)
        } catch {
            throw SessionError(error.description, isRefusal: true)
        }
    }

    private func start(_ index: Int, _ setup: RingSetup) throws(SessionError) {
        guard let memory else { throw SessionError("no memory to find ring \(index) in") }
        let isPacked = setup.features & Feature.packedRing != 0
        let sizes = RingSetup.areas(setup.size, isPacked: isPacked)
        guard
            let descriptors = unsafe memory.host(
                user: setup.descriptors,
                length: sizes.descriptors
            ),
            let available = unsafe memory.host(user: setup.available, length: sizes.available),
            let used = unsafe memory.host(user: setup.used, length: sizes.used)
        else { throw SessionError("ring \(index) lies outside the shared memory") }
        if let kick = setup.kick {
            guard nm_is_eventfd(kick.number) == 1 else {
                throw SessionError("the kick descriptor of ring \(index) is not an eventfd")
            }
        }
        var dirty: DirtyPages?
        if setup.features & Feature.logAll != 0, let log {
            // The part that the device writes: the used ring, or all of a packed one.
            let length = isPacked ? sizes.descriptors : sizes.used
            dirty = DirtyPages(
                log,
                ring: setup.logAddress ?? 0,
                ringLength: setup.logAddress == nil ? 0 : length
            )
        }
        let queue = unsafe GuestQueue.make(
            QueueSetup(
                size: setup.size,
                descriptors: descriptors,
                available: available,
                used: used,
                base: setup.base,
                features: setup.features,
                memory: memory,
                dirty: dirty
            ),
            isPacked: isPacked
        )
        rings[index] = unsafe Ring(queue: queue, kick: setup.kick)
        reason = nil
        let address = unsafe queue.word
        let pair = unsafe plane.pointee.pairs + index / 2
        if index % 2 == 1 {
            unsafe nm_store64_release(&pair.pointee.source, address)
            unsafe pool.serve(plane, index / 2, kick: setup.kick)
        } else {
            unsafe pair.pointee.stall = Stall()
            unsafe nm_store64_release(&pair.pointee.sink, address)
            if options.lossless != nil { pool.watch(setup.kick) }
        }
        logger.debug("ring \(index) started", metadata: ["size": "\(setup.size)"])
    }

    private func stop(_ index: Int) -> UInt32 {
        unpublish(index)
        guard let ring = rings.removeValue(forKey: index) else { return 0 }
        // SAFETY: unreachable since `unpublish`, which waited for the workers.
        let base = unsafe ring.queue.base
        unsafe ring.queue.free()
        logger.debug("ring \(index) stopped", metadata: ["base": "\(base)"])
        return base
    }

    /// Takes a ring away from the workers and waits until none uses it.
    private func unpublish(_ index: Int) {
        guard let ring = rings[index] else { return }
        let pair = unsafe plane.pointee.pairs + index / 2
        if index % 2 == 1 {
            unsafe nm_store64_release(&pair.pointee.source, 0)
            unsafe pool.release(plane, index / 2, kick: ring.kick)
        } else {
            unsafe nm_store64_release(&pair.pointee.sink, 0)
            if options.lossless != nil { pool.unwatch(ring.kick) }
        }
        pool.synchronize()
        // Who waited for the ring need not wait any longer.
        pool.recall()
    }

    private func setEnabled(_ index: Int, _ isEnabled: Bool) {
        let pair = unsafe plane.pointee.pairs + index / 2
        let word: UInt32 = isEnabled ? 1 : 0
        if index % 2 == 1 {
            unsafe nm_store32(&pair.pointee.sourceEnabled, word)
        } else {
            unsafe nm_store32(&pair.pointee.sinkEnabled, word)
            // Pairs are enabled from the first on, so the highest says how many there are.
            let pairs = enabled.filter { $0 % 2 == 0 }.map { $0 / 2 + 1 }.max() ?? 1
            unsafe nm_store32(&plane.pointee.pairCount, UInt32(pairs))
        }
        pool.recall()
    }

    private func setCall(_ index: Int, _ call: OwnedDescriptor?) throws(SessionError) {
        if let call {
            // Written to by workers, so it must never block and never be anything else.
            guard nm_is_eventfd(call.number) == 1 else {
                throw SessionError("the call descriptor of ring \(index) is not an eventfd")
            }
            _ = nm_set_nonblocking(call.number)
        }
        let old = calls[index]
        storeCall(index, call)
        calls[index] = call
        if old != nil { pool.synchronize() }
        // An interrupt may have gone to the old descriptor, or nowhere: better one too many.
        if let call, rings[index] != nil { _ = nm_eventfd_ring(call.number) }
    }

    private func storeCall(_ index: Int, _ call: OwnedDescriptor?) {
        let pair = unsafe plane.pointee.pairs + index / 2
        let word = UInt32(bitPattern: call?.number ?? -1)
        if index % 2 == 1 {
            unsafe nm_store32(&pair.pointee.sourceCall, word)
        } else {
            unsafe nm_store32(&pair.pointee.sinkCall, word)
        }
    }
}
