// Which worker serves which queue. A queue is served by one worker at a time, and another gets it
// only when the first has begun a turn without it: so frames of one queue never overtake each other.

import CNetmap
import Netmap

extension WorkerPool {
    /// The worker that serves a source, if any does.
    func worker(of plane: UnsafeMutablePointer<PortPlane>, _ pair: Int) -> Worker? {
        workers.first { worker in worker.items.contains { unsafe $0.is(plane, pair) } }
    }

    /// Gives a source to the worker with the fewest, and has it woken by any of `kicks`.
    func serve(
        _ plane: UnsafeMutablePointer<PortPlane>,
        _ pair: Int,
        kicks: [OwnedDescriptor]
    ) {
        guard let worker = workers.min(by: { $0.sourceCount < $1.sourceCount }) else { return }
        take(unsafe Source(plane: plane, pair: pair, kicks: kicks), worker)
    }

    /// Takes a source back; follow it with `synchronize` before freeing anything.
    func release(_ plane: UnsafeMutablePointer<PortPlane>, _ pair: Int) {
        guard let worker = unsafe worker(of: plane, pair) else { return }
        _ = unsafe drop(plane, pair, worker)
        even()
    }

    /// Has a source's worker woken by others than before.
    func setKicks(
        _ plane: UnsafeMutablePointer<PortPlane>,
        _ pair: Int,
        _ kicks: [OwnedDescriptor]
    ) {
        guard let worker = unsafe worker(of: plane, pair) else { return }
        worker.setKicks(kicks) { unsafe $0.is(plane, pair) }
        // It may sleep without having armed what is watched only now.
        _ = nm_eventfd_ring(worker.wake.number)
    }

    /// Moves a source to another worker while frames pass.
    ///
    /// - Parameters:
    ///   - plane: the source's port.
    ///   - pair: its queue pair.
    ///   - worker: where to.
    ///   - isPinned: whether it stays there when ports come and go.
    /// - Returns: whether there is such a source.
    @discardableResult
    func move(
        _ plane: UnsafeMutablePointer<PortPlane>,
        _ pair: Int,
        to worker: Worker,
        isPinned: Bool
    ) -> Bool {
        guard let old = unsafe self.worker(of: plane, pair) else { return false }
        guard var source = unsafe drop(plane, pair, old) else { return false }
        source.isPinned = isPinned
        take(source, worker)
        return true
    }

    /// Does something while no queue of a port is served.
    func pausing(_ plane: UnsafeMutablePointer<PortPlane>, _ body: () -> Void) {
        let before = workers.map { ($0, $0.items) }.filter { _, items in
            items.contains { unsafe $0.plane == plane }
        }
        for (worker, items) in before {
            assign(items.filter { unsafe $0.plane != plane }, to: worker)
        }
        body()
        for (worker, items) in before {
            assign(items, to: worker)
            _ = nm_eventfd_ring(worker.wake.number)
        }
    }

    /// Takes sources from workers that have two or more of them more than others.
    private func even() {
        while let rich = workers.max(by: { $0.sourceCount < $1.sourceCount }),
            let poor = workers.min(by: { $0.sourceCount < $1.sourceCount }),
            rich.sourceCount - poor.sourceCount > 1,
            let source = rich.items.last(where: { !$0.isPinned })
        {
            unsafe move(source.plane, source.pair, to: poor, isPinned: false)
        }
    }

    private func take(_ source: Source, _ worker: Worker) {
        for kick in source.kicks { worker.watch(kick) }
        assign(worker.items + [source], to: worker)
        _ = nm_eventfd_ring(worker.wake.number)
    }

    /// The source, which nobody serves any more.
    private func drop(
        _ plane: UnsafeMutablePointer<PortPlane>,
        _ pair: Int,
        _ worker: Worker
    ) -> Source? {
        guard let source = worker.items.first(where: { unsafe $0.is(plane, pair) }) else {
            return nil
        }
        for kick in source.kicks { worker.unwatch(kick) }
        assign(worker.items.filter { unsafe !$0.is(plane, pair) }, to: worker)
        return source
    }

    // MARK: Receivers that are waited for

    /// Has a receive queue's kick wake every worker, any of which may have to wait for its buffers.
    func watch(_ kick: OwnedDescriptor?) {
        guard let kick else { return }
        for worker in workers { worker.watch(kick) }
    }

    /// Ends `watch`.
    func unwatch(_ kick: OwnedDescriptor?) {
        guard let kick else { return }
        for worker in workers { worker.unwatch(kick) }
    }

    /// Has every worker try again what it waits for: ports, links or rings have changed.
    func recall() {
        beginGeneration()
        for worker in workers { _ = nm_eventfd_ring(worker.wake.number) }
    }
}
