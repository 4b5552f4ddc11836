// One thread in epoll for all tasks that wait for ports: a suspended task needs no thread of its own.

import CNetmap
import Glibc
import Synchronization

/// Resumes tasks when descriptors become readable.
final class DescriptorWaiter: Sendable {
    private struct Wait {
        /// The same file may be waited for twice, by two tasks: epoll tells them apart by number.
        let copy: OwnedDescriptor?
        let deadline: ContinuousClock.Instant?
        let continuation: CheckedContinuation<Void, Never>
    }
    private struct State {
        var waits: [UInt64: Wait] = [:]
        /// Tasks that were cancelled before they began to wait.
        var cancelled: Set<UInt64> = []
        var last: UInt64 = 0
        var isRunning = false
    }

    static let shared = DescriptorWaiter()
    private let state = Mutex(State())
    private let epoll: OwnedDescriptor
    private let bell: OwnedDescriptor

    private init() {
        epoll = OwnedDescriptor(nm_epoll_create())
        bell = OwnedDescriptor(nm_eventfd())
        _ = nm_epoll_add(epoll.number, bell.number, UInt32(NM_EPOLL_IN), 0)
    }

    /// Waits until `file` is readable, the deadline has come, or the task is cancelled.
    func wait(_ file: OwnedDescriptor, until deadline: ContinuousClock.Instant?) async {
        let id = state.withLock { state in
            state.last += 1
            return state.last
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let number = fcntl(file.number, F_DUPFD_CLOEXEC, 0)
                let copy = number >= 0 ? OwnedDescriptor(number) : nil
                enter(id, Wait(copy: copy, deadline: deadline, continuation: continuation))
            }
        } onCancel: {
            let wait = state.withLock { state -> Wait? in
                guard let wait = state.waits.removeValue(forKey: id) else {
                    state.cancelled.insert(id)
                    return nil
                }
                return wait
            }
            if let wait { end(wait) }
        }
        _ = state.withLock { $0.cancelled.remove(id) }
    }

    private func enter(_ id: UInt64, _ wait: Wait) {
        let (isLate, mustStart) = state.withLock { state in
            if state.cancelled.contains(id) { return (true, false) }
            state.waits[id] = wait
            defer { state.isRunning = true }
            return (false, !state.isRunning)
        }
        if mustStart { start() }
        guard !isLate else {
            wait.continuation.resume()
            return
        }
        guard let copy = wait.copy, nm_epoll_add(epoll.number, copy.number, oneShot, id) >= 0 else {
            finish(id)
            return
        }
        // A wait that has ended meanwhile has not found its copy here; ours has kept the number from others.
        if state.withLock({ $0.waits[id] == nil }) {
            _ = nm_epoll_remove(epoll.number, copy.number)
        } else {
            _ = nm_eventfd_ring(bell.number)
        }
    }

    private var oneShot: UInt32 { UInt32(NM_EPOLL_IN) | 1 << 30 }

    private func finish(_ id: UInt64) {
        if let wait = state.withLock({ $0.waits.removeValue(forKey: id) }) { end(wait) }
    }

    private func end(_ wait: Wait) {
        if let copy = wait.copy { _ = nm_epoll_remove(epoll.number, copy.number) }
        wait.continuation.resume()
    }

    // MARK: The thread

    private func start() {
        var thread = pthread_t()
        let failed = unsafe pthread_create(
            &thread,
            nil,
            { _ in
                unsafe nm_name_thread("netmap-wait")
                DescriptorWaiter.shared.run()
            },
            nil
        )
        precondition(failed == 0, "no thread can be made that waits for ports")
        pthread_detach(thread)
    }

    private func run() -> Never {
        var events = [nm_event](repeating: nm_event(), count: 64)
        while true {
            let first = state.withLock { $0.waits.values.compactMap(\.deadline).min() }
            let timeout = first.map { milliseconds(until: $0) } ?? -1
            let count = unsafe nm_epoll_wait(epoll.number, &events, 64, timeout)
            for index in 0..<Int(max(0, count)) {
                if events[index].token == 0 {
                    _ = nm_eventfd_drain(bell.number)
                } else {
                    finish(events[index].token)
                }
            }
            let now = ContinuousClock.now
            let late = state.withLock { state in
                state.waits.filter { $0.value.deadline.map { $0 <= now } ?? false }.map(\.key)
            }
            for id in late { finish(id) }
        }
    }

    private func milliseconds(until deadline: ContinuousClock.Instant) -> Int32 {
        let (seconds, attoseconds) = max(.zero, deadline - .now).components
        return Int32(
            clamping: seconds * 1000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
        )
    }
}
