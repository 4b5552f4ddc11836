// The engine's side of a guest's monitor: a connection for each task, one task at a time, and never a
// wait. What is said over it is `GuestMonitor`'s.

import CNetmap
import Control
import Glibc
import Logging
import Netmap

/// A running guest that NICs can be plugged into.
///
/// Control thread only.
final class GuestAgent {
    let options: GuestOptions
    /// The control connection whose end is also this guest's, if any.
    let owner: UInt64?
    /// Whether the guest's launcher was connected to the engine before this one.
    let isOrphan: Bool

    private struct Job {
        let task: GuestMonitor.Task
        let done: (QMPError?) -> Void
    }

    private let loop: EventLoop
    private var jobs: [Job] = []
    private var monitor: GuestMonitor?
    private var connection: (file: OwnedDescriptor, token: UInt64)?
    private var unsent: [UInt8] = []
    private var timer: UInt64?
    private var probe: UInt64?

    init(_ options: GuestOptions, owner: UInt64?, isOrphan: Bool, loop: EventLoop) {
        self.options = options
        self.owner = owner
        self.isOrphan = isOrphan
        self.loop = loop
    }

    /// Whether a task is under way.
    var isBusy: Bool { !jobs.isEmpty }

    /// Has the guest's QEMU do something; `done` is called once, with what went wrong if anything.
    func perform(_ task: GuestMonitor.Task, done: @escaping (QMPError?) -> Void) {
        jobs.append(Job(task: task, done: done))
        if jobs.count == 1 { begin() }
    }

    /// Whether anybody listens on the monitor's socket.
    var isAlive: Bool {
        let number = unsafe nm_unix_connect(options.monitor)
        // A full queue of connections is somebody's, too.
        if number == -EAGAIN { return true }
        guard number >= 0 else { return false }
        _ = Glibc.close(number)
        return true
    }

    /// Looks from now on whether the guest is still there, and calls `gone` once when it is not.
    func watch(every seconds: Double, gone: @escaping () -> Void) {
        probe = loop.after(seconds) { [unowned self] in
            if isBusy || isAlive { watch(every: seconds, gone: gone) } else { gone() }
        }
    }

    /// Ends everything; tasks under way fail.
    func close() {
        if let probe { loop.cancel(probe) }
        probe = nil
        release()
        monitor = nil
        let failed = jobs
        jobs = []
        for job in failed { job.done(QMPError("guest '\(options.name)' is gone")) }
    }

    // MARK: -

    private func begin() {
        guard let job = jobs.first else { return }
        let number = unsafe nm_unix_connect(options.monitor)
        guard number >= 0 else {
            let text = SystemError("connect to \(options.monitor)", result: number).description
            return end(QMPError("guest '\(options.name)' cannot be asked: \(text)"))
        }
        let file = OwnedDescriptor(number)
        do throws(SystemError) {
            let token = try loop.watch(file) { [unowned self] in handle($0) }
            connection = (file, token)
        } catch {
            return end(QMPError(error.description))
        }
        let monitor = GuestMonitor(guest: options.name, task: job.task)
        self.monitor = monitor
        perform(monitor.start)
    }

    private func handle(_ readiness: EventLoop.Readiness) {
        guard let connection else { return }
        if readiness.contains(.writable) { flush() }
        guard readiness.contains(.readable) || readiness.contains(.closed) else { return }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let n = unsafe nm_receive(connection.file.number, &buffer, buffer.count, nil, nil)
        if n == -Int64(EAGAIN) { return }
        if n > 0 {
            perform(monitor?.receive(buffer.prefix(Int(n))) ?? [])
        } else {
            perform(monitor?.close() ?? [])
        }
    }

    private func perform(_ actions: [GuestMonitor.Action]) {
        for action in actions {
            switch action {
            case .send(let bytes):
                unsent += bytes
                flush()
            case .wait(let seconds):
                if let timer { loop.cancel(timer) }
                timer = loop.after(seconds) { [unowned self] in
                    timer = nil
                    perform(monitor?.expire() ?? [])
                }
            case .finish(let error): return end(error)
            }
        }
    }

    private func flush() {
        guard let connection else { return }
        while !unsent.isEmpty {
            let n = unsafe nm_send(connection.file.number, unsent, unsent.count, nil, 0)
            // What is wrong with the socket is seen when it is read.
            guard n > 0 else { break }
            unsent.removeFirst(Int(n))
        }
        loop.rewatch(
            connection.file,
            connection.token,
            for: unsent.isEmpty ? .readable : [.readable, .writable]
        )
    }

    private func release() {
        if let timer { loop.cancel(timer) }
        timer = nil
        if let connection { loop.unwatch(connection.file, connection.token) }
        connection = nil
        unsent = []
    }

    private func end(_ error: QMPError?) {
        release()
        monitor = nil
        guard !jobs.isEmpty else { return }
        let job = jobs.removeFirst()
        job.done(error)
        begin()
    }
}
