// A port's rings and the memory that they lie in: what a session asks for, done for real.

import CNetmap
import Logging
import Netmap
import VhostUser

/// The rings of one port, as its front-end sets them up and workers use them.
///
/// Control thread only. Whatever workers could still use is freed after a grace period.
@safe final class PortRings: RingController {
    /// A running ring: the queue that workers use, what it lies in, and what wakes them.
    @safe struct Ring {
        let queue: PortQueue
        let areas: [RingArea]
        let kick: OwnedDescriptor?
        /// Whether it was found broken and taken from the workers.
        var isBroken = false
    }

    let plane: UnsafeMutablePointer<PortPlane>
    let pool: WorkerPool
    let loop: EventLoop
    let logger: Logger
    let isLossless: Bool
    /// Where records of packed rings are kept for the next engine.
    let recordPath: String
    /// The front-end's process.
    var peer: Int32 = 0
    /// Called when the front-end announces its guest's address.
    var onAnnounce: (UInt64) -> Void = { _ in }
    /// Called when the front-end was asked for a translation.
    var onMiss: () -> Void = {}
    /// Called when a ring begins to run.
    var onStart: () -> Void = {}

    var rings: [Int: Ring] = [:]
    var memory: GuestMemory?
    var translations: TranslationTable?
    var log: DirtyLog?
    var inflight: InflightRegion?
    var records: RecordFile?
    private(set) var mtu = 1500
    private var enabled: Set<Int> = []
    private var calls: [Int: OwnedDescriptor] = [:]
    private var errors: [Int: OwnedDescriptor] = [:]
    /// Call descriptors of our own, for front-ends that want messages, and what watches them.
    private var relays: [Int: (file: OwnedDescriptor, token: UInt64)] = [:]
    private var channel: BackendChannel?
    /// Kicks that are waited for here, not by workers: those of receive rings behind an IOMMU.
    private var firstKicks: [Int: (file: OwnedDescriptor, token: UInt64)] = [:]

    init(
        plane: UnsafeMutablePointer<PortPlane>,
        pool: WorkerPool,
        loop: EventLoop,
        isLossless: Bool,
        recordPath: String,
        logger: Logger
    ) {
        unsafe self.plane = unsafe plane
        self.pool = pool
        self.loop = loop
        self.isLossless = isLossless
        self.recordPath = recordPath
        self.logger = logger
    }

    /// Whether at least one pair of rings runs.
    var isRunning: Bool {
        rings.keys.contains { $0 % 2 == 1 } && rings.keys.contains { $0 % 2 == 0 }
    }

    /// Queue pairs that run.
    var queuePairs: Int { rings.keys.map { $0 / 2 + 1 }.max() ?? 0 }

    /// Lets go of everything that a front-end gave; no ring runs.
    func reset() {
        for index in enabled { setEnabled(index, false) }
        enabled = []
        for index in calls.keys { storeCall(index, nil) }
        for pair in 0..<Session.maximumQueuePairs {
            unsafe setAwaited(plane.pointee.pairs + pair, false)
        }
        pool.recall()
        pool.synchronize()
        for relay in relays.values { loop.unwatch(relay.file, relay.token) }
        channel?.close()
        relays = [:]
        channel = nil
        calls = [:]
        errors = [:]
        memory = nil
        translations = nil
        log = nil
        inflight = nil
    }

    // MARK: Running

    func start(ring index: Int, _ setup: RingSetup) throws(SessionError) {
        if let kick = setup.kick {
            guard nm_is_eventfd(kick.number) == 1 else {
                throw SessionError("the kick descriptor of ring \(index) is not an eventfd")
            }
            // Where kicks are messages, it is signalled; as for calls.
            _ = nm_set_nonblocking(kick.number)
        }
        let kick = setup.kick ?? (setup.isInBand ? OwnedDescriptor(nm_eventfd()) : nil)
        let (queue, areas) = try unsafe makeQueue(index, setup)
        rings[index] = unsafe Ring(queue: queue, areas: areas, kick: kick)
        if setup.isInBand { relayCalls(of: index) }
        onStart()
        let address = unsafe queue.word
        let pair = unsafe plane.pointee.pairs + index / 2
        if index % 2 == 1 {
            unsafe nm_store64_release(&pair.pointee.source, address)
            unsafe pool.serve(plane, index / 2, kicks: kick.map { [$0] } ?? [])
        } else {
            unsafe setAwaited(pair, false)
            if setup.isTranslated { awaitFirstBuffers(index, kick) }
            unsafe nm_store64_release(&pair.pointee.sink, address)
            if isLossless {
                pool.watch(kick)
                // Those who wait since it was stopped.
                pool.recall()
            }
        }
        logger.debug(
            "ring \(index) started",
            metadata: [
                "size": "\(setup.size)", "base": "\(setup.base)", "at": "\(unsafe queue.base)",
            ]
        )
    }

    func stop(ring index: Int) -> UInt32 {
        // What was enabled to the end is paused, for all we know: a guest that is stopped, or whose memory
        // changes, goes on where it was. So does QEMU itself: frames to a stopped guest queue up.
        if isLossless, index % 2 == 0, enabled.contains(index), rings[index]?.isBroken == false {
            unsafe setAwaited(plane.pointee.pairs + index / 2, true)
        }
        unpublish(index)
        guard let ring = rings.removeValue(forKey: index) else { return 0 }
        // SAFETY: unreachable since `unpublish`, which waited for the workers.
        let base = unsafe ring.queue.base
        unsafe ring.queue.free()
        logger.debug("ring \(index) stopped", metadata: ["base": "\(base)"])
        return base
    }

    /// Says whether senders wait for a receive queue that is not there, from now on for a whole timeout.
    private func setAwaited(_ pair: UnsafeMutablePointer<QueuePair>, _ isAwaited: Bool) {
        while unsafe nm_try_lock(&pair.pointee.sinkLock) == 0 { nm_pause() }
        unsafe pair.pointee.stall = Stall()
        unsafe nm_store32(&pair.pointee.awaited, isAwaited ? 1 : 0)
        unsafe nm_unlock(&pair.pointee.sinkLock)
    }

    /// Takes a ring away from the workers and waits until none uses it.
    func unpublish(_ index: Int) {
        guard let ring = rings[index] else { return }
        forgetFirstKick(index)
        let pair = unsafe plane.pointee.pairs + index / 2
        if index % 2 == 1 {
            unsafe nm_store64_release(&pair.pointee.source, 0)
            unsafe pool.release(plane, index / 2)
        } else {
            unsafe nm_store64_release(&pair.pointee.sink, 0)
            if isLossless { pool.unwatch(ring.kick) }
        }
        pool.synchronize()
        // Who waited for the ring need not wait any longer.
        pool.recall()
    }

    func enable(ring index: Int, _ isEnabled: Bool) {
        if isEnabled { enabled.insert(index) } else { enabled.remove(index) }
        setEnabled(index, isEnabled)
    }

    private func setEnabled(_ index: Int, _ isEnabled: Bool) {
        let pair = unsafe plane.pointee.pairs + index / 2
        let word: UInt32 = isEnabled ? 1 : 0
        if index % 2 == 1 {
            unsafe nm_store32(&pair.pointee.sourceEnabled, word)
        } else {
            unsafe nm_store32(&pair.pointee.sinkEnabled, word)
            // Who switches it off does not want to be waited for.
            if !isEnabled { unsafe nm_store32(&pair.pointee.awaited, 0) }
            // Pairs are enabled from the first on, so the highest says how many there are.
            let pairs = enabled.filter { $0 % 2 == 0 }.map { $0 / 2 + 1 }.max() ?? 1
            unsafe nm_store32(&plane.pointee.pairCount, UInt32(pairs))
        }
        pool.recall()
    }

    // MARK: Notifications

    func setCall(ring index: Int, _ call: OwnedDescriptor?) throws(SessionError) {
        if let call {
            // The flag is for kernels without AIO (`nm_signal`); its owner can take it away again.
            guard nm_is_eventfd(call.number) == 1 else {
                throw SessionError("the call descriptor of ring \(index) is not an eventfd")
            }
            _ = nm_set_nonblocking(call.number)
        }
        let call = call ?? relays[index]?.file
        let old = calls[index]
        storeCall(index, call)
        calls[index] = call
        if old != nil { pool.synchronize() }
        // An interrupt may have gone to the old descriptor, or nowhere: better one too many.
        if let call, rings[index] != nil { pool.signal(call) }
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

    /// Makes messages of interrupts for a ring without a call descriptor (vhost-user-spec 2.6, rule 13).
    private func relayCalls(of index: Int) {
        guard relays[index] == nil, calls[index] == nil else { return }
        let file = OwnedDescriptor(nm_eventfd())
        do throws(SystemError) {
            let token = try loop.watch(file) { [unowned self] _ in
                _ = nm_eventfd_drain(file.number)
                ask(.call(ring: index))
            }
            relays[index] = (file, token)
            calls[index] = file
            storeCall(index, file)
        } catch {
            logger.error("ring \(index) cannot interrupt its guest: \(error)")
        }
    }

    /// Has a new receive ring's buffers looked up before the first frame is there.
    ///
    /// From the second frame on workers look ahead by themselves.
    private func awaitFirstBuffers(_ index: Int, _ kick: OwnedDescriptor?) {
        guard !lookAhead(index), let kick, firstKicks[index] == nil else { return }
        firstKicks[index] = try? (
            kick,
            loop.watch(kick) { [unowned self] _ in
                // Front-ends kick once by themselves, before there are any buffers.
                _ = nm_eventfd_drain(kick.number)
                if lookAhead(index) { forgetFirstKick(index) }
            }
        )
    }

    /// - Returns: whether there were buffers to look up; if not, the guest will kick.
    private func lookAhead(_ index: Int) -> Bool {
        guard let ring = rings[index], !ring.isBroken else { return true }
        let pair = unsafe plane.pointee.pairs + index / 2
        while unsafe nm_try_lock(&pair.pointee.sinkLock) == 0 { nm_pause() }
        defer { unsafe nm_unlock(&pair.pointee.sinkLock) }
        guard unsafe ring.queue.arm() else { return false }
        unsafe ring.queue.disarm()
        unsafe ring.queue.lookAhead()
        _ = nm_eventfd_ring(pool.attention.number)
        return true
    }

    private func forgetFirstKick(_ index: Int) {
        if let (file, token) = firstKicks.removeValue(forKey: index) { loop.unwatch(file, token) }
    }

    func setError(ring index: Int, _ error: OwnedDescriptor?) {
        if let error {
            guard nm_is_eventfd(error.number) == 1 else { return }
            // As for calls.
            _ = nm_set_nonblocking(error.number)
        }
        errors[index] = error
    }

    /// Tells the front-end that a ring was stopped.
    func signalError(_ index: Int) {
        if let error = errors[index] {
            pool.signal(error)
        } else if relays[index] != nil {
            ask(.error(ring: index))
        }
    }

    func kick(ring index: Int) {
        if let kick = rings[index]?.kick { pool.signal(kick) }
    }

    func setBackendChannel(_ file: OwnedDescriptor) throws(SessionError) {
        channel?.close()
        do throws(SystemError) {
            channel = try BackendChannel(file, loop: loop)
        } catch {
            throw SessionError("the socket for back-end requests: \(error)")
        }
    }

    func ask(_ request: BackendRequest) {
        channel?.send(request)
        if case .translationMiss = request { onMiss() }
    }

    // MARK: Device

    /// MAC (QEMU's and other front-ends' own business), status, queue pairs, MTU; speed and duplex
    /// unknown.
    func configuration() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 6)
        let isLinkUp = unsafe nm_load32(&plane.pointee.linkUp) != 0
        for half in [isLinkUp ? 1 : 0, Session.maximumQueuePairs, mtu] {
            bytes += [UInt8(half & 255), UInt8(half >> 8)]
        }
        return bytes + [UInt8](repeating: 255, count: 5)
    }

    func announce(_ mac: UInt64) { onAnnounce(mac) }

    func setMTU(_ mtu: UInt64) throws(SessionError) {
        guard (68...65_535).contains(mtu) else {
            throw SessionError("an MTU of \(mtu)", isRefusal: true)
        }
        self.mtu = Int(mtu)
    }
}
