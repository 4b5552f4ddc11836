// All workers of an engine, and the grace period that lets the control plane free what they used.

import CNetmap
import Glibc
import Netmap

/// Starts workers, hands them sources, and knows when none of them can hold an old address.
///
/// Used by the control thread only.
@safe final class WorkerPool {
    /// One worker and its thread.
    @safe final class Worker {
        let index: Int
        let cpu: Int?
        let state: UnsafeMutablePointer<WorkerState>
        let shared: UnsafeMutablePointer<WorkerWords>
        let epoll: OwnedDescriptor
        let wake: OwnedDescriptor
        let signaller: nm_signaller
        /// Why `signaller` may have to wait for a front-end, or 0 if it never does.
        let signalError: Int32
        fileprivate(set) var items: [Source] = []
        /// How often each descriptor is waited for: a netmap descriptor's socket is that of all its rings.
        private var watches: [Int32: Int] = [:]
        fileprivate var thread: pthread_t = 0
        /// How many sources the worker serves.
        var sourceCount: Int { items.count }

        fileprivate init(
            _ index: Int,
            cpu: Int?,
            _ table: PortTable,
            _ page: CounterPage,
            attention: Int32,
            spinNanoseconds: UInt64,
            generation: UnsafeMutablePointer<UInt64>
        ) throws(SystemError) {
            self.index = index
            self.cpu = cpu
            epoll = OwnedDescriptor(try SystemError.check(nm_epoll_create(), "epoll_create1"))
            wake = OwnedDescriptor(try SystemError.check(nm_eventfd(), "eventfd"))
            _ = try SystemError.check(
                nm_epoll_add(epoll.number, wake.number, UInt32(NM_EPOLL_IN), 0),
                "epoll_ctl"
            )
            var signaller = nm_signaller()
            signalError = unsafe nm_signaller_open(&signaller)
            self.signaller = signaller
            unsafe shared = .allocate(capacity: 1)
            unsafe shared.initialize(to: WorkerWords())
            unsafe state = .allocate(capacity: 1)
            unsafe state.initialize(
                to: WorkerState(
                    planes: table.planes,
                    gates: table.gates,
                    counters: page.worker(index),
                    epoll: epoll.number,
                    wake: wake.number,
                    attention: attention,
                    spinNanoseconds: spinNanoseconds,
                    signaller: signaller,
                    generation: generation,
                    shared: shared
                )
            )
        }

        deinit {
            unsafe state.deinitialize(count: 1)
            unsafe state.deallocate()
            unsafe shared.deallocate()
            nm_signaller_close(signaller)
        }

        /// Replaces what wakes the worker for one of its sources.
        func setKicks(_ kicks: [OwnedDescriptor], of isMeant: (Source) -> Bool) {
            guard let index = items.firstIndex(where: isMeant) else { return }
            for kick in kicks { watch(kick) }
            for kick in items[index].kicks { unwatch(kick) }
            items[index].kicks = kicks
        }

        /// Has a descriptor wake the worker.
        func watch(_ kick: OwnedDescriptor) {
            let count = watches[kick.number, default: 0]
            watches[kick.number] = count + 1
            guard count == 0 else { return }
            let events = UInt32(NM_EPOLL_IN) | UInt32(bitPattern: Int32(NM_EPOLL_EDGE))
            _ = nm_epoll_add(epoll.number, kick.number, events, 1)
        }

        /// Ends `watch`.
        func unwatch(_ kick: OwnedDescriptor) {
            let count = watches[kick.number, default: 0]
            watches[kick.number] = count > 1 ? count - 1 : nil
            if count == 1 { _ = nm_epoll_remove(epoll.number, kick.number) }
        }
    }

    /// A queue from which a worker takes frames.
    @safe struct Source {
        let plane: UnsafeMutablePointer<PortPlane>
        let pair: Int
        /// What wakes the worker: a guest's eventfd, or the descriptors of those who have the ring bound.
        var kicks: [OwnedDescriptor]
        /// Whether an operator chose the worker, so that nobody else moves it.
        var isPinned = false

        func `is`(_ plane: UnsafeMutablePointer<PortPlane>, _ pair: Int) -> Bool {
            unsafe self.plane == plane && self.pair == pair
        }
    }

    private(set) var workers: [Worker] = []
    /// What the control thread uses to send a frame of its own.
    private let hand: Worker
    /// Readable when a worker has found a broken queue.
    let attention: OwnedDescriptor
    private let generation: UnsafeMutablePointer<UInt64>
    private let table: PortTable
    private let page: CounterPage

    init(
        count: Int,
        cpus: [Int],
        spinMicroseconds: Int,
        table: PortTable,
        page: CounterPage
    ) throws(SystemError) {
        self.table = table
        self.page = page
        attention = OwnedDescriptor(try SystemError.check(nm_eventfd(), "eventfd"))
        unsafe generation = .allocate(capacity: 8)
        unsafe generation.initialize(repeating: 1, count: 8)
        hand = unsafe try Worker(
            NM_COUNTERS_MAX_WORKERS - 1,
            cpu: nil,
            table,
            page,
            attention: attention.number,
            spinNanoseconds: 0,
            generation: generation
        )
        for index in 0..<count {
            let cpu = cpus.isEmpty ? nil : cpus[index % cpus.count]
            let worker = unsafe try Worker(
                index,
                cpu: cpu,
                table,
                page,
                attention: attention.number,
                spinNanoseconds: UInt64(spinMicroseconds) * 1000,
                generation: generation
            )
            workers.append(worker)
            try start(worker)
        }
    }

    deinit { unsafe generation.deallocate() }

    @safe private final class Start {
        let state: UnsafeMutablePointer<WorkerState>
        let index: Int
        let cpu: Int?

        init(_ state: UnsafeMutablePointer<WorkerState>, _ index: Int, _ cpu: Int?) {
            unsafe self.state = unsafe state
            self.index = index
            self.cpu = cpu
        }
    }

    private func start(_ worker: Worker) throws(SystemError) {
        let start = unsafe Start(worker.state, worker.index, worker.cpu)
        let box = unsafe Unmanaged.passRetained(start)
        // SAFETY: the state outlives the thread, which `stop` joins before anything is freed.
        let result = unsafe pthread_create(
            &worker.thread,
            nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let start = unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                unsafe nm_name_thread("worker/\(start.index)")
                if let cpu = start.cpu { _ = nm_pin_thread(Int32(cpu)) }
                unsafe start.state.pointee.run()
                return nil
            },
            box.toOpaque()
        )
        guard result == 0 else {
            unsafe box.release()
            throw SystemError("pthread_create", result: -result)
        }
    }

    /// Ends all threads.
    ///
    /// Nothing is forwarded afterwards.
    func stop() {
        for worker in workers {
            unsafe nm_store32_release(&worker.shared.pointee.stop, 1)
            _ = nm_eventfd_ring(worker.wake.number)
            pthread_join(worker.thread, nil)
            unsafe free(list: worker.shared.pointee.list)
            unsafe worker.shared.pointee.list = 0
        }
        workers = []
    }

    /// Gives a worker other sources; the old worker of each holds none of them afterwards.
    func assign(_ items: [Source], to worker: Worker) {
        worker.items = items
        publish(worker)
    }

    private func publish(_ worker: Worker) {
        let old = unsafe worker.shared.pointee.list
        let count = worker.items.count
        let items = UnsafeMutablePointer<WorkItem>.allocate(capacity: max(1, count))
        for (index, item) in worker.items.enumerated() {
            unsafe (items + index).initialize(to: WorkItem(plane: item.plane, pair: item.pair))
        }
        let list = UnsafeMutablePointer<WorkList>.allocate(capacity: 1)
        unsafe list.initialize(to: WorkList(count: count, items: items))
        unsafe nm_store64_release(
            &worker.shared.pointee.list,
            UInt64(UInt(bitPattern: list))
        )
        synchronize()
        free(list: old)
    }

    private func free(list address: UInt64) {
        guard let list = unsafe UnsafeMutablePointer<WorkList>(bitPattern: UInt(address)) else {
            return
        }
        unsafe list.pointee.items.deallocate()
        unsafe list.deallocate()
    }

    /// Sends a frame from the control thread as if `plane`'s port had.
    func inject(_ bytes: [UInt8], from plane: UnsafeMutablePointer<PortPlane>) {
        var bytes = bytes
        let count = bytes.count
        // SAFETY: the frame is read during the call only.
        unsafe bytes.withUnsafeMutableBytes { buffer in
            guard let base = buffer.baseAddress else { return }
            unsafe hand.state.pointee.inject(base, length: count, from: plane)
        }
    }

    /// Rings a descriptor that a front-end gave, from the control thread.
    func signal(_ file: OwnedDescriptor) { _ = nm_signal(hand.signaller, file.number) }

    /// Why a front-end can make the thread wait that interrupts its guest; nil where it cannot.
    var signalError: Int32? {
        ([hand] + workers).lazy.map(\.signalError).first { $0 != 0 }
    }

    /// Waits until every worker has begun a turn after this call, or sleeps: nobody then holds an
    /// address that was taken out of reach before it.
    ///
    /// Lasts one batch of each source at most.
    func synchronize() {
        let target = beginGeneration()
        for worker in workers {
            var spins = 0
            while true {
                let seen = unsafe nm_load64_acquire(&worker.shared.pointee.seen)
                if seen == 0 || seen >= target { break }
                spins += 1
                if spins > 100 { usleep(20) } else { nm_pause() }
            }
        }
    }

    /// Begins another grace period without waiting for anybody.
    ///
    /// - Returns: its number.
    @discardableResult
    func beginGeneration() -> UInt64 {
        nm_fence()
        let target = unsafe nm_load64(generation) + 1
        unsafe nm_store64_release(generation, target)
        nm_fence()
        return target
    }
}
