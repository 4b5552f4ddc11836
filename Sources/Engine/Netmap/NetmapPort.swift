// A port whose other end is a netmap program: an adapter of the device, as workers serve it.

import CNetmap
import Control
import Logging
import Netmap

/// An adapter with its rings in workers' hands: a port of a switch, an end of a pipe, a monitor, ...
///
/// Control thread only.
@safe final class NetmapPort: Port {
    let adapter: Adapter
    /// The kernel's side, if the adapter stands for an interface of the kernel.
    var interface: InterfaceLink?
    /// Rings that are served: their queues' words.
    var krings: [RingNumber: UInt64] = [:]
    /// Work on them that is no forwarding, by the pair that it is served as: their queues' words.
    private var chores: [Int: UInt64] = [:]
    var listeners: [RingNumber: [OwnedDescriptor]] = [:]
    var watchers: [RingNumber: [(monitor: NetmapPort, isCopy: Bool)]] = [:]
    /// How many pairs are for forwarding; behind them are as many for chores on receive rings.
    let width: Int
    /// How many syncs of each ring had been rejected when that was said last, and when it was.
    var rejected: [RingNumber: UInt32] = [:]
    var lastComplaint: UInt32 = 0

    init(
        _ adapter: Adapter,
        number: UInt16,
        vale: UnsafeMutablePointer<SwitchPlane>,
        page: UnsafeMutablePointer<nm_port_counters>,
        pool: WorkerPool,
        logger: Logger
    ) {
        self.adapter = adapter
        width = NetmapPort.width(of: adapter)
        let plane = unsafe PortPlane.make(
            number,
            vale: vale,
            pairs: 2 * width,
            page: page,
            lossless: nil
        )
        unsafe plane.pointee.floodsToFirst = true
        unsafe super.init(
            ifname: adapter.name,
            master: nil,
            id: adapter.name.replacing(":", with: "-"),
            owner: nil,
            lossless: nil,
            plane: plane,
            pool: pool,
            logger: logger
        )
    }

    /// How many pairs an adapter's rings need.
    private static func width(of adapter: Adapter) -> Int {
        let geometry = adapter.geometry
        let transmit = geometry.transmitRings + geometry.hostTransmitRings
        return max(1, max(transmit, geometry.receiveRings + geometry.hostReceiveRings))
    }

    /// Whether the adapter has got more rings than there is room for; it has none that is served then.
    var isTooNarrow: Bool { krings.isEmpty && NetmapPort.width(of: adapter) > width }

    /// Whether it stands for an interface that no program and no switch has: there is nothing to serve.
    var isUnusedInterface: Bool {
        guard case .interface = adapter.kind else { return false }
        return krings.isEmpty && master == nil && listeners.values.allSatisfy(\.isEmpty)
            && watchers.values.allSatisfy(\.isEmpty)
    }

    override var type: String {
        switch adapter.kind {
        case .ephemeral, .persistent: "netmap"
        case .interface: "interface"
        case .pipe: "pipe"
        case .monitor: "monitor"
        case .null: "null"
        }
    }
    override var isRunning: Bool { !krings.isEmpty }
    override var isConnected: Bool { !listeners.isEmpty }
    override var queues: Int {
        max(adapter.geometry.transmitRings, adapter.geometry.receiveRings)
    }
    override var mtu: Int { max(0, (adapter.region?.bufferSize ?? 1514) - 14) }
    override var isEphemeral: Bool {
        switch adapter.kind {
        case .persistent, .interface: false
        default: true
        }
    }

    override func close() {
        stop(Array(krings.keys))
        interface?.close()
        super.close()
    }

    // MARK: Rings

    /// Begins to serve rings.
    func start(_ rings: [RingNumber]) {
        for ring in rings { startKring(ring) }
        for ring in rings { startWork(ring) }
    }

    /// Makes a ring reachable without serving it: what a pipe's other end fills.
    func startKring(_ ring: RingNumber) {
        guard krings[ring] == nil else { return }
        let queue = unsafe PortQueue.make(adapter, ring)
        guard unsafe queue.exists else { return }
        krings[ring] = unsafe queue.word
        unsafe publishListeners(queue.kring, ring)
        if watchers[ring] != nil { publishWatchers(ring) }
    }

    func startWork(_ ring: RingNumber) {
        guard let word = krings[ring] else { return }
        let pair = unsafe plane.pointee.pairs + ring.index
        switch (adapter.kind, ring.direction) {
        case (.ephemeral, .transmit), (.persistent, .transmit):
            unsafe pair.pointee.hold = Hold()
            unsafe nm_store32(&pair.pointee.sourceEnabled, 1)
            unsafe nm_store64_release(&pair.pointee.source, word)
            unsafe pool.serve(plane, ring.index, kicks: kicks(of: ring))
        case (.ephemeral, .receive), (.persistent, .receive):
            guard ring.index < adapter.geometry.receiveRings else { return }
            unsafe pair.pointee.stall = Stall()
            unsafe nm_store32(&pair.pointee.sinkEnabled, 1)
            unsafe nm_store32(&plane.pointee.pairCount, UInt32(adapter.geometry.receiveRings))
            unsafe nm_store64_release(&pair.pointee.sink, word)
            if lossless != nil { for kick in kicks(of: ring) { pool.watch(kick) } }
        case (.interface, .transmit):
            unsafe serve(choreOfInterface(ring), as: ring.index)
        case (.interface, .receive):
            if let host = unsafe interface?.source(of: ring) {
                unsafe serve(
                    Chore(.receive, ring: kring(ring), host: host),
                    as: width + ring.index
                )
            }
        case (.pipe, .transmit):
            startPipe(ring)
        case (.pipe, .receive):
            peer?.startPipe(RingNumber(.transmit, ring.index))
        default: break
        }
        if ring.direction == .receive, watchers[ring]?.contains(where: { !$0.isCopy }) ?? false {
            startRelease(ring)
        }
    }

    /// What becomes of frames that leave by an interface: the kernel gets them, or nobody.
    private func choreOfInterface(_ ring: RingNumber) -> Chore {
        guard let host = unsafe interface?.sink(of: ring) else {
            return unsafe Chore(.swallow, ring: kring(ring))
        }
        return unsafe Chore(.transmit, ring: kring(ring), host: host)
    }

    /// The port of a pipe's other end.
    var peer: NetmapPort? { lookup(adapter.peer) }
    /// Finds the port of another adapter.
    var lookup: (Adapter?) -> NetmapPort? = { _ in nil }

    private func startPipe(_ ring: RingNumber) {
        let other = RingNumber(.receive, ring.index)
        guard chores[ring.index] == nil, let peer, let from = unsafe kring(ring) else { return }
        peer.startKring(other)
        guard let to = unsafe peer.kring(other) else { return }
        let isWatched = watchers[ring] != nil || peer.watchers[other] != nil
        if !isWatched {
            // Nobody has synced the two yet.
            unsafe from.pointee.setMode(Int(NM_KRING_PIPE))
            unsafe to.pointee.setMode(Int(NM_KRING_PIPE))
        }
        unsafe serve(Chore(isWatched ? .pipe : .bells, ring: from, peer: to), as: ring.index)
    }

    /// Takes the moving of a pipe's slots from its ends: a monitor, which they cannot see, wants to.
    ///
    /// For good: there is no moment at which they could be given it back without asking them.
    ///
    /// - Parameters:
    ///   - ring: one of the pipe's two.
    ///   - deadline: until when programs may be in the middle of a sync.
    func takeOver(_ ring: RingNumber, until deadline: UInt64) {
        guard case .pipe = adapter.kind else { return }
        guard ring.direction == .transmit else {
            peer?.takeOver(RingNumber(.transmit, ring.index), until: deadline)
            return
        }
        let other = RingNumber(.receive, ring.index)
        guard chores[ring.index] != nil, let from = unsafe kring(ring),
            let to = unsafe peer?.kring(other)
        else { return }
        endSource(ring.index)
        unsafe from.pointee.adopt(until: deadline)
        unsafe to.pointee.adopt(until: deadline)
        // A bell that was on its way to us is lost: whoever waits is told here.
        unsafe from.pointee.notify()
        unsafe to.pointee.notify()
        unsafe serve(Chore(.pipe, ring: from, peer: to), as: ring.index)
    }

    func startRelease(_ ring: RingNumber) {
        guard chores[width + ring.index] == nil, let queue = unsafe kring(ring) else { return }
        switch adapter.kind {
        case .ephemeral, .persistent: break
        default: return
        }
        let lock = unsafe plane.pointee.pairs + ring.index
        unsafe serve(
            Chore(.release, ring: queue, lock: &lock.pointee.sinkLock),
            as: width + ring.index
        )
    }

    private func serve(_ chore: Chore, as index: Int) {
        let queue = unsafe PortQueue.make(chore)
        chores[index] = unsafe queue.word
        let pair = unsafe plane.pointee.pairs + index
        unsafe nm_store64_release(&pair.pointee.source, queue.word)
        unsafe pool.serve(plane, index, kicks: kicks(ofChore: index))
    }

    /// Ends serving rings: nobody touches them any more on return.
    func stop(_ rings: [RingNumber]) {
        for ring in rings {
            guard krings[ring] != nil else { continue }
            if ring.direction == .transmit {
                endSource(ring.index)
            } else {
                if case .pipe = adapter.kind { peer?.endSource(ring.index) }
                endSource(width + ring.index)
                let pair = unsafe plane.pointee.pairs + ring.index
                unsafe nm_store64_release(&pair.pointee.sink, 0)
                unsafe nm_store32(&pair.pointee.sinkEnabled, 0)
                if lossless != nil { for kick in kicks(of: ring) { pool.unwatch(kick) } }
            }
        }
        pool.synchronize()
        // Who waited for one of them need not wait any longer, and may sleep.
        if lossless != nil { pool.recall() }
        for ring in rings {
            guard let kring = unsafe kring(ring), let word = krings.removeValue(forKey: ring) else {
                continue
            }
            unsafe Listeners.free(kring.pointee.listeners)
            unsafe Watchers.free(kring.pointee.watchers)
            unsafe PortQueue(word: word).free()
        }
    }

    func endSource(_ index: Int) {
        let pair = unsafe plane.pointee.pairs + index
        unsafe pool.release(plane, index)
        unsafe nm_store64_release(&pair.pointee.source, 0)
        pool.synchronize()
        if let word = chores.removeValue(forKey: index) { unsafe PortQueue(word: word).free() }
    }

    // SAFETY: what a word names is freed by `stop` and `endSource`, when it is taken out.
    func kring(_ ring: RingNumber) -> UnsafeMutablePointer<Kring>? {
        unsafe krings[ring].flatMap { unsafe PortQueue(word: $0).kring }
    }

    /// Does something while nobody serves the port's rings.
    func pausing(_ body: () -> Void) { unsafe pool.pausing(plane, body) }

    // MARK: Listeners

    func kicks(of ring: RingNumber) -> [OwnedDescriptor] { listeners[ring] ?? [] }

    private func kicks(ofChore index: Int) -> [OwnedDescriptor] {
        if index >= width {
            if let file = interface?.file { return [file] }
            return kicks(of: RingNumber(.receive, index - width))
        }
        let own = kicks(of: RingNumber(.transmit, index))
        guard case .pipe = adapter.kind else { return own }
        return own + (peer?.kicks(of: RingNumber(.receive, index)) ?? [])
    }

    /// Says who is told of news of each ring, and by whom workers are woken.
    func setListeners(_ new: [RingNumber: [OwnedDescriptor]]) {
        let old = listeners
        listeners = new
        var retired: [UInt64] = []
        for ring in krings.keys {
            guard let kring = unsafe kring(ring) else { continue }
            unsafe retired.append(kring.pointee.listeners)
            unsafe publishListeners(kring, ring)
            if ring.direction == .receive {
                if lossless != nil {
                    for kick in old[ring] ?? [] { pool.unwatch(kick) }
                    for kick in kicks(of: ring) { pool.watch(kick) }
                }
            } else if chores[ring.index] == nil {
                unsafe pool.setKicks(plane, ring.index, kicks(of: ring))
            }
        }
        refreshChores()
        if case .pipe = adapter.kind { peer?.refreshChores() }
        pool.synchronize()
        for list in retired { unsafe Listeners.free(list) }
    }

    private func refreshChores() {
        for index in chores.keys { unsafe pool.setKicks(plane, index, kicks(ofChore: index)) }
    }

    func publishListeners(_ kring: UnsafeMutablePointer<Kring>?, _ ring: RingNumber) {
        guard let kring = unsafe kring else { return }
        let list = unsafe Listeners.make(kicks(of: ring).map(\.number))
        unsafe nm_store64_release(&kring.pointee.listeners, list)
    }

    override func setLossless(_ options: LosslessOptions?) {
        // Any worker may have to wait for room here, and is woken by those who make some.
        for ring in krings.keys where ring.direction == .receive {
            for kick in kicks(of: ring) {
                if options != nil, lossless == nil { pool.watch(kick) }
                if options == nil, lossless != nil { pool.unwatch(kick) }
            }
        }
        super.setLossless(options)
        // What was true of it before says nothing about how long anybody waits from now on.
        for index in 0..<width {
            let pair = unsafe plane.pointee.pairs + index
            while unsafe nm_try_lock(&pair.pointee.sinkLock) == 0 { nm_pause() }
            unsafe pair.pointee.stall.since = 0
            unsafe nm_store32(&pair.pointee.stall.isOver, 0)
            unsafe nm_unlock(&pair.pointee.sinkLock)
        }
    }

    /// Why senders never wait for it, whatever anybody wants; nil if they can.
    var isNeverLossless: String? {
        switch adapter.kind {
        case .ephemeral, .persistent: nil
        case .pipe: "is a pipe, whose ends wait for each other anyway"
        case .monitor: "is a monitor, and nobody waits for those who listen"
        case .interface, .null: "takes no frames that anybody could lose"
        }
    }

    override func attend() {
        complain()
        interface?.attend()
    }

    /// Serves the rings again that pass an interface's frames: the kernel's side has come or gone.
    func restartInterface() {
        for ring in krings.keys where ring.index < adapter.geometry.transmitRings {
            endSource(ring.direction == .transmit ? ring.index : width + ring.index)
            startWork(ring)
        }
    }

    override func describe(_ object: inout JSONObject) {
        describeRings(&object)
        interface?.describe(&object)
    }

    /// Has whoever has a ring bound look again.
    func alert(_ ring: RingNumber) { unsafe kring(ring)?.pointee.ringListeners() }

    // MARK: Headers

    /// Takes over the adapter's virtio-net header length.
    func applyHeaderLength() {
        // Rings between two switches have headers of their own.
        guard adapter.attachments.count < 2 else { return }
        pausing {
            for ring in krings.keys {
                let lock = unsafe plane.pointee.pairs + ring.index
                while unsafe nm_try_lock(&lock.pointee.sinkLock) == 0 { nm_pause() }
                unsafe kring(ring)?.pointee.headerLength = adapter.headerLength
                unsafe nm_unlock(&lock.pointee.sinkLock)
            }
        }
    }
}
