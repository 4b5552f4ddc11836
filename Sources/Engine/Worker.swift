// A worker: a thread that moves frames from the sources it serves to wherever they belong, polls
// while there is work and sleeps when there is none. No allocation, no lock that a client can hold,
// no logging (design 2, data plane).

import CNetmap
import Glibc
import Netmap
import Vale
import VhostUser

/// A source in a worker's list: one queue pair of one port.
@unsafe struct WorkItem {
    let plane: UnsafeMutablePointer<PortPlane>
    let pair: Int
}

/// The words through which a worker and the control plane talk.
@unsafe struct WorkerWords {
    /// Address of the current `WorkList`; written by the control plane.
    var list: UInt64 = 0
    /// The grace period that the worker has seen begin, or 0 while it sleeps; written by the worker.
    var seen: UInt64 = 0
    /// Whether to end; written by the control plane.
    var stop: UInt32 = 0
}

/// What one worker thread owns.
@unsafe struct WorkerState: ~Copyable {
    var batch = FrameBatch()
    var plan = ForwardingPlan()
    var scratch = DeliveryScratch()
    var finisher = OffloadFinisher()
    var trial = Trial()
    /// Whether frames are being delivered one by one for dumps, and what finds out what became of each.
    var isShowing = false
    let watch = DropWatch()
    var policies = PolicyPass()
    /// The source that is served first in the next turn.
    var first = 0
    /// Which sources have been quiet for long.
    var quiet = QuietSources()
    let planes: UnsafeMutablePointer<UInt64>
    let gates: GateTable
    let counters: UnsafeMutablePointer<nm_worker_counters>
    let epoll: Int32
    let wake: Int32
    /// Rung when a queue broke, so that the control plane looks.
    let attention: Int32
    let spinNanoseconds: UInt64
    /// What rings the descriptors that front-ends gave.
    let signaller: nm_signaller

    /// Where the control plane counts grace periods.
    let generation: UnsafeMutablePointer<UInt64>
    let shared: UnsafeMutablePointer<WorkerWords>

    init(
        planes: UnsafeMutablePointer<UInt64>,
        gates: GateTable,
        counters: UnsafeMutablePointer<nm_worker_counters>,
        epoll: Int32,
        wake: Int32,
        attention: Int32,
        spinNanoseconds: UInt64,
        signaller: nm_signaller,
        generation: UnsafeMutablePointer<UInt64>,
        shared: UnsafeMutablePointer<WorkerWords>
    ) {
        unsafe self.planes = unsafe planes
        unsafe self.gates = gates
        unsafe self.counters = unsafe counters
        unsafe self.epoll = epoll
        unsafe self.wake = wake
        unsafe self.attention = attention
        unsafe self.spinNanoseconds = spinNanoseconds
        unsafe self.signaller = signaller
        unsafe self.generation = unsafe generation
        unsafe self.shared = unsafe shared
    }
}

/// The sources that a worker serves, replaced as a whole by the control plane.
@unsafe struct WorkList {
    let count: Int
    let items: UnsafeMutablePointer<WorkItem>
}

extension WorkerState {
    /// Works until it is told to stop.
    ///
    /// Runs on the worker's own thread.
    mutating func run() {
        // SAFETY (whole extension): every address is loaded after `enterTurn`, and the control plane
        // frees what it points to only after this worker has entered a later turn or sleeps.
        unsafe nm_store64(&counters.pointee.tid, UInt64(nm_thread_id()))
        var idleSince: UInt64 = 0
        while unsafe nm_load32_acquire(&shared.pointee.stop) == 0 {
            unsafe enterTurn()
            if unsafe turn() {
                idleSince = 0
                continue
            }
            let now = nm_monotonic_ns()
            if idleSince == 0 {
                idleSince = now
            } else if unsafe now &- idleSince >= spinNanoseconds {
                unsafe sleep()
                idleSince = 0
                continue
            }
            nm_pause()
        }
        unsafe leave()
    }

    /// Sends one frame as if `plane`'s port had; for the control thread, which lends its own state.
    mutating func inject(
        _ frame: UnsafeMutableRawPointer,
        length: Int,
        from plane: UnsafeMutablePointer<PortPlane>
    ) {
        unsafe batch.removeAll()
        let n = UInt32(length)
        unsafe batch.frames[0] = unsafe Frame(address: frame, length: n)
        unsafe batch.count = 1
        unsafe forward(plane, 0)
    }

    /// Nothing from before is held from here on.
    @_noLocks
    private mutating func enterTurn() {
        unsafe nm_store64_release(&shared.pointee.seen, nm_load64_acquire(generation))
        nm_fence()
    }

    /// Nothing at all is held, however long this lasts.
    @_noLocks
    private mutating func leave() { unsafe nm_store64_release(&shared.pointee.seen, 0) }

    /// One pass over all sources.
    ///
    /// - Returns: whether any of them had something.
    private mutating func turn() -> Bool {
        let address = unsafe nm_load64_acquire(&shared.pointee.list)
        guard let work = unsafe UnsafePointer<WorkList>(bitPattern: UInt(address)) else {
            return false
        }
        var busy = false
        // Each source is first in its turn: what a slow receiver has room for is not always the same one's.
        let count = unsafe work.pointee.count
        unsafe first = first &+ 1 < count ? first &+ 1 : 0
        var index = unsafe first
        for _ in 0..<count {
            if unsafe quiet.isDue(index) {
                let item = unsafe work.pointee.items[index]
                let hadWork = unsafe serve(item)
                if hadWork { busy = true }
                unsafe quiet.note(index, hadWork)
            }
            index = index &+ 1 < count ? index &+ 1 : 0
        }
        unsafe nm_count(&counters.pointee.turns, 1)
        if busy { unsafe nm_count(&counters.pointee.busy, 1) }
        return busy
    }

    /// Moves at most one batch from one source.
    private mutating func serve(_ item: WorkItem) -> Bool {
        let plane = unsafe item.plane
        let pair = unsafe plane.pointee.pairs + item.pair
        // What a guest queues while its link is down stays queued (Engine+Commands, set_link).
        guard unsafe nm_load32(&plane.pointee.linkUp) != 0 else { return false }
        let source = unsafe PortQueue(word: nm_load64_acquire(&pair.pointee.source))
        guard unsafe source.exists else { return false }
        if let chore = unsafe source.chore { return unsafe run(chore, plane) }
        if unsafe pair.pointee.hold.isActive {
            guard unsafe mayGoOn(pair, source) else { return false }
            unsafe nm_store16(&pair.pointee.hold.port, 0)
        }
        let rx = unsafe plane.pointee.rx
        unsafe batch.removeAll()
        var isBusy = false
        if unsafe nm_load32(&pair.pointee.sourceEnabled) == 0 {
            if unsafe plane.pointee.taps != 0 {
                unsafe discardShown(plane, source)
            } else {
                unsafe source.discard(&batch, counters: rx)
            }
        } else if unsafe nm_load32(&plane.pointee.vale.pointee.lossless) != 0 {
            isBusy = unsafe serveHolding(plane, item.pair, source)
        } else {
            unsafe source.collect(into: &batch, counters: rx)
            if unsafe batch.count != 0 { unsafe forward(plane, item.pair) }
            unsafe source.completeCollected()
            isBusy = unsafe batch.count != 0
        }
        if unsafe source.needsAttention { unsafe report(pair) }
        guard unsafe source.needsInterrupt() else { return isBusy }
        unsafe interrupt(source, &pair.pointee.sourceCall, plane)
        return true
    }

    private mutating func run(
        _ chore: UnsafeMutablePointer<Chore>,
        _ plane: UnsafeMutablePointer<PortPlane>
    ) -> Bool {
        unsafe chore.pointee.run(plane, &batch, trial.everyFrame, &finisher)
    }

    /// Sends the batch on its way.
    private mutating func forward(_ plane: UnsafeMutablePointer<PortPlane>, _ pair: Int) {
        let rx = unsafe plane.pointee.rx
        let number = unsafe plane.pointee.number
        unsafe nm_count(&counters.pointee.frames, UInt64(batch.count))
        unsafe nm_count(&plane.pointee.pairs[pair].frames, UInt64(batch.count))
        guard unsafe nm_load32(&plane.pointee.linkUp) != 0 else {
            rx.drop(.linkDown, unsafe batch.count)
            if unsafe plane.pointee.taps != 0 { unsafe showReceived(plane, dropped: .linkDown) }
            return
        }
        let vale = unsafe plane.pointee.vale
        guard unsafe vale.pointee.vale.isPlain else {
            unsafe forwardChecked(plane, pair)
            return
        }
        unsafe vale.pointee.vale.classify(
            batch,
            from: number,
            now: nm_monotonic_seconds(),
            counters: rx,
            into: &plan
        )
        if unsafe plane.pointee.taps != 0 { unsafe showReceived(plane) }
        if unsafe plan.floodCount == 0 {
            unsafe forwardTargets(pair, rx)
            return
        }
        let address = unsafe nm_load64_acquire(&vale.pointee.members)
        guard let members = unsafe UnsafePointer<UInt16>(bitPattern: UInt(address)) else { return }
        let count = unsafe Int(members[0])
        // A count of one is the sender alone.
        if count <= 1 { unsafe rx.drop(.noDestination, plan.floodCount) }
        for k in 0..<count {
            let port = unsafe members[1 + k]
            if port == number { continue }
            let target = unsafe plan.target(forPort: port)
            if target.count > 0 { _ = unsafe deliver(target, pair, isFlood: true) }
        }
    }

    /// Hands all frames of a plan without floods to their ports.
    mutating func forwardTargets(_ pair: Int, _ rx: DirectionCounters) {
        for k in unsafe 0..<plan.targetCount {
            let target = unsafe plan.target(k)
            if unsafe !deliver(target, pair) { rx.drop(.noDestination, target.count) }
        }
    }

    /// Hands frames to one port.
    ///
    /// - Parameters:
    ///   - target: the port and the frames.
    ///   - sourcePair: the queue pair that they came from.
    ///   - isFlood: whether any of them goes to all.
    ///   - areViews: whether they are frames of `policies.views` instead of the batch.
    /// - Returns: false if there is no such port any more.
    mutating func deliver(
        _ target: ForwardingPlan.Target,
        _ sourcePair: Int,
        isFlood: Bool = false,
        areViews: Bool = false
    ) -> Bool {
        let address = unsafe nm_load64_acquire(planes + Int(target.port))
        guard let plane = unsafe UnsafeMutablePointer<PortPlane>(bitPattern: UInt(address)) else {
            return false
        }
        if unsafe plane.pointee.taps != 0, unsafe !isShowing {
            return unsafe deliverShown(
                target,
                sourcePair,
                isFlood: isFlood,
                areViews: areViews,
                plane
            )
        }
        let tx = unsafe plane.pointee.tx
        guard unsafe nm_load32(&plane.pointee.linkUp) != 0 else {
            tx.drop(.linkDown, target.count)
            return true
        }
        let pair = unsafe plane.pointee.pairs + sinkIndex(plane, sourcePair, isFlood: isFlood)
        let sink = unsafe PortQueue(word: nm_load64_acquire(&pair.pointee.sink))
        guard unsafe sink.exists,
            unsafe nm_load32(&pair.pointee.sinkEnabled) != 0
        else {
            tx.drop(.noReader, target.count)
            return true
        }
        while unsafe nm_try_lock(&pair.pointee.sinkLock) == 0 { nm_pause() }
        unsafe hand(target, to: sink, tx, areViews: areViews)
        let interrupt = unsafe sink.needsInterrupt()
        let report = unsafe sink.needsAttention
        unsafe nm_unlock(&pair.pointee.sinkLock)
        if interrupt { unsafe self.interrupt(sink, &pair.pointee.sinkCall, plane) }
        if report { unsafe self.report(pair) }
        return true
    }

    /// Has a queue, whose lock is held, deliver frames.
    mutating func hand(
        _ target: ForwardingPlan.Target,
        to sink: PortQueue,
        _ tx: DirectionCounters,
        areViews: Bool
    ) {
        if areViews {
            unsafe sink.deliver(
                policies.views,
                target.list,
                target.count,
                counters: tx,
                scratch: &scratch,
                finisher: &finisher
            )
        } else {
            unsafe sink.deliver(
                batch,
                target.list,
                target.count,
                counters: tx,
                scratch: &scratch,
                finisher: &finisher
            )
        }
    }

    /// Which of a port's receive queues frames come to.
    func sinkIndex(
        _ plane: UnsafeMutablePointer<PortPlane>,
        _ sourcePair: Int,
        isFlood: Bool
    ) -> Int {
        if unsafe isFlood && plane.pointee.floodsToFirst { return 0 }
        // As in VALE, a flow keeps its queue: the source's, modulo the destination's.
        return unsafe sourcePair % max(1, Int(nm_load32(&plane.pointee.pairCount)))
    }

    /// Tells a queue's owner that there is news.
    func interrupt(
        _ queue: PortQueue,
        _ call: UnsafeMutablePointer<UInt32>,
        _ plane: UnsafeMutablePointer<PortPlane>
    ) {
        if let kring = unsafe queue.kring {
            unsafe kring.pointee.ringListeners()
            unsafe nm_count_shared(&plane.pointee.page.pointee.notifies, 1)
        } else {
            unsafe ring(call, plane)
        }
    }

    func ring(
        _ call: UnsafeMutablePointer<UInt32>,
        _ plane: UnsafeMutablePointer<PortPlane>
    ) {
        let descriptor = Int32(bitPattern: unsafe nm_load32(call))
        guard descriptor >= 0 else { return }
        _ = unsafe nm_signal(signaller, descriptor)
        unsafe nm_count_shared(&plane.pointee.page.pointee.notifies, 1)
    }

    func report(_ pair: UnsafeMutablePointer<QueuePair>) {
        if unsafe nm_load32(&pair.pointee.attention) == 0 {
            unsafe nm_store32(&pair.pointee.attention, 1)
            _ = unsafe nm_eventfd_ring(attention)
        }
    }

    /// Asks every source for a kick and waits for the first; wakes at once if one has work after all.
    private mutating func sleep() {
        var deadline = UInt64.max
        let address = unsafe nm_load64_acquire(&shared.pointee.list)
        if let work = unsafe UnsafePointer<WorkList>(bitPattern: UInt(address)) {
            var awake = false
            for index in unsafe 0..<work.pointee.count {
                let item = unsafe work.pointee.items[index]
                let pair = unsafe item.plane.pointee.pairs + item.pair
                // A source that is not served wakes nobody; set_link does when it is again.
                guard unsafe nm_load32(&item.plane.pointee.linkUp) != 0 else { continue }
                let source = unsafe PortQueue(word: nm_load64_acquire(&pair.pointee.source))
                guard unsafe source.exists else { continue }
                // A source that waits has frames; what can wake it is its receiver.
                if unsafe pair.pointee.hold.isActive {
                    if unsafe armReceiver(pair, source) { awake = true }
                    deadline = unsafe min(deadline, pair.pointee.hold.deadline)
                } else if unsafe source.arm() {
                    awake = true
                }
                if unsafe source.hasComplaint() { unsafe report(pair) }
            }
            if !awake { unsafe wait(until: deadline) }
        } else {
            unsafe wait(until: deadline)
        }
        unsafe enterTurn()
        let after = unsafe nm_load64_acquire(&shared.pointee.list)
        guard let work = unsafe UnsafePointer<WorkList>(bitPattern: UInt(after)) else { return }
        for index in unsafe 0..<work.pointee.count {
            let item = unsafe work.pointee.items[index]
            let pair = unsafe item.plane.pointee.pairs + item.pair
            unsafe PortQueue(word: nm_load64_acquire(&pair.pointee.source)).disarm()
        }
    }

    private mutating func wait(until deadline: UInt64) {
        var milliseconds: Int32 = -1
        if deadline != .max {
            let now = nm_monotonic_ns()
            if deadline <= now { return }
            milliseconds = Int32(clamping: (deadline - now) / 1_000_000 + 1)
        }
        unsafe nm_count(&counters.pointee.sleeps, 1)
        unsafe leave()
        var events = nm_event()
        // Kick descriptors are edge-triggered and never read; only the wake-up is.
        if unsafe nm_epoll_wait(epoll, &events, 1, milliseconds) > 0, events.token == 0 {
            _ = unsafe nm_eventfd_drain(wake)
        }
    }
}
