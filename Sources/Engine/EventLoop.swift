// The control plane's one thread: descriptors, timers and signals, dispatched by epoll. One thread
// and no Sendable class in it means that no control-plane state is ever shared or locked; the
// compiler sees to it.

import CNetmap
import Netmap

/// Calls handlers when descriptors are ready or time has come.
final class EventLoop {
    /// What a descriptor is ready for.
    struct Readiness: OptionSet {
        let rawValue: UInt32
        static let readable = Readiness(rawValue: UInt32(NM_EPOLL_IN))
        static let writable = Readiness(rawValue: UInt32(NM_EPOLL_OUT))
        static let closed = Readiness(rawValue: UInt32(NM_EPOLL_HUP) | UInt32(NM_EPOLL_ERR))
    }

    private let epoll: OwnedDescriptor
    private var handlers: [UInt64: (Readiness) -> Void] = [:]
    private var nextToken: UInt64 = 1
    private var timers: [(id: UInt64, due: UInt64, body: () -> Void)] = []
    private var isStopping = false

    init() throws(SystemError) {
        epoll = OwnedDescriptor(try SystemError.check(nm_epoll_create(), "epoll_create1"))
    }

    /// Calls `handler` whenever `file` is ready, until `unwatch`.
    func watch(
        _ file: OwnedDescriptor,
        for interest: Readiness = .readable,
        _ handler: @escaping (Readiness) -> Void
    ) throws(SystemError) -> UInt64 {
        let token = nextToken
        nextToken += 1
        _ = try SystemError.check(
            nm_epoll_add(epoll.number, file.number, interest.rawValue, token),
            "epoll_ctl"
        )
        handlers[token] = handler
        return token
    }

    /// Changes what a watched descriptor is watched for.
    func rewatch(_ file: OwnedDescriptor, _ token: UInt64, for interest: Readiness) {
        _ = nm_epoll_modify(epoll.number, file.number, interest.rawValue, token)
    }

    /// Stops watching; the handler is not called again, not even for events already fetched.
    func unwatch(_ file: OwnedDescriptor, _ token: UInt64) {
        _ = nm_epoll_remove(epoll.number, file.number)
        handlers[token] = nil
    }

    /// Calls `body` once, after `seconds`.
    @discardableResult
    func after(_ seconds: Double, _ body: @escaping () -> Void) -> UInt64 {
        let id = nextToken
        nextToken += 1
        timers.append((id, nm_monotonic_ns() + UInt64(seconds * 1e9), body))
        return id
    }

    /// Forgets a timer.
    func cancel(_ timer: UInt64) { timers.removeAll { $0.id == timer } }

    /// Ends `run` after the current handler.
    func stop() { isStopping = true }

    /// Dispatches until `stop`.
    func run() {
        var events = [nm_event](repeating: nm_event(), count: 64)
        while !isStopping {
            let count = unsafe nm_epoll_wait(epoll.number, &events, 64, timeout)
            for event in events.prefix(Int(max(0, count))) {
                handlers[event.token]?(Readiness(rawValue: event.events))
            }
            fireTimers(before: nm_monotonic_ns())
        }
    }

    /// Calls what is due, in its order; what a body cancels is not called any more.
    private func fireTimers(before now: UInt64) {
        while let next = timers.indices.min(by: { timers[$0].due < timers[$1].due }),
            timers[next].due <= now
        {
            timers.remove(at: next).body()
        }
    }

    /// Milliseconds to the next timer, rounded up; -1 for ever.
    private var timeout: Int32 {
        guard let next = timers.map(\.due).min() else { return -1 }
        let now = nm_monotonic_ns()
        return next <= now ? 0 : Int32(min((next - now + 999_999) / 1_000_000, 3_600_000))
    }
}
