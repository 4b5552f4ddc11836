// Waiting for frames and for room: netmap's poll, for threads and for tasks.

import CNetmap
import Glibc

/// What a port is ready for.
public struct Readiness: OptionSet, Sendable, Hashable {
    /// One bit for each.
    public let rawValue: UInt8

    /// Makes a set.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// There are frames in a receive ring.
    public static let receive = Readiness(rawValue: 1)
    /// There are free slots in a transmit ring.
    public static let transmit = Readiness(rawValue: 2)
    /// A ring cannot be synced, or held indices that made no sense.
    public static let failed = Readiness(rawValue: 4)
}

extension Port {
    /// Syncs as netmap's poll does, and waits on the caller's thread until something is ready.
    ///
    /// Whatever is waited for, filled transmit slots are sent.
    ///
    /// - Parameters:
    ///   - wanted: what to wait for; nothing only syncs.
    ///   - timeout: how long to wait; nil for ever.
    /// - Returns: what is ready; nothing after the timeout.
    /// - Throws: when the engine has ended, or a ring was taken away.
    public func poll(
        _ wanted: Readiness,
        timeout: Duration? = nil
    ) throws(PortError) -> Readiness {
        let deadline = timeout.map { ContinuousClock.now + $0 }
        var ready = try look(wanted)
        while ready.isEmpty {
            if let deadline, ContinuousClock.now >= deadline { return [] }
            if core.looksOn(wanted, until: deadline) {
                ready = try look(wanted)
                continue
            }
            arm(wanted)
            ready = try look(wanted)
            if !ready.isEmpty { break }
            let start = nm_monotonic_ns()
            Port.sleep(on: [core.handle.socket.number], until: deadline)
            core.learn(fromSleepSince: start)
            core.drain()
            ready = try look(wanted)
        }
        return ready
    }

    /// Waits until either of two ports is ready, which is what a bridge does.
    ///
    /// - Parameters:
    ///   - first: a port.
    ///   - wanted: what to wait for at it.
    ///   - second: another one.
    ///   - other: what to wait for at that.
    ///   - timeout: how long to wait; nil for ever.
    /// - Returns: what each is ready for; nothing after the timeout.
    /// - Throws: when an engine has ended, or a ring was taken away.
    public static func poll(
        _ first: borrowing Port,
        _ wanted: Readiness,
        _ second: borrowing Port,
        _ other: Readiness,
        timeout: Duration? = nil
    ) throws(PortError) -> (Readiness, Readiness) {
        let deadline = timeout.map { ContinuousClock.now + $0 }
        let sockets = [first.core.handle.socket.number, second.core.handle.socket.number]
        while true {
            var ready = (try first.look(wanted), try second.look(other))
            if !ready.0.isEmpty || !ready.1.isEmpty { return ready }
            if let deadline, ContinuousClock.now >= deadline { return ([], []) }
            if first.core.looksOn(wanted, second.core, other, until: deadline) { continue }
            first.arm(wanted)
            second.arm(other)
            ready = (try first.look(wanted), try second.look(other))
            if !ready.0.isEmpty || !ready.1.isEmpty { return ready }
            let start = nm_monotonic_ns()
            Port.sleep(on: sockets, until: deadline)
            first.core.learn(fromSleepSince: start)
            second.core.learn(fromSleepSince: start)
            first.core.drain()
            second.core.drain()
        }
    }

    /// Waits as `poll` does, for a task: it is suspended meanwhile and holds no thread.
    ///
    /// - Throws: as the others, or `CancellationError` when the task is cancelled.
    public func wait(for wanted: Readiness, timeout: Duration? = nil) async throws -> Readiness {
        let deadline = timeout.map { ContinuousClock.now + $0 }
        var ready = try look(wanted)
        while ready.isEmpty {
            try Task.checkCancellation()
            if let deadline, ContinuousClock.now >= deadline { return [] }
            arm(wanted)
            ready = try look(wanted)
            if !ready.isEmpty { break }
            await DescriptorWaiter.shared.wait(core.handle.socket, until: deadline)
            core.drain()
            ready = try look(wanted)
        }
        return ready
    }

    /// Syncs and says what is ready (netmap-spec 2.8).
    private func look(_ wanted: Readiness) throws(PortError) -> Readiness {
        try core.requireEngine()
        var ready: Readiness = []
        let wantsRoom = wanted.contains(.transmit)
        if wantsRoom || !specification.flags.contains(.pollSendsNothing) {
            for index in core.transmitRings {
                let ring = RingNumber(.transmit, index)
                let needsRoom = wantsRoom && !ready.contains(.transmit)
                let hasPending = unsafe core.reference(ring).pointee.hasPending
                guard needsRoom || hasPending else { continue }
                switch core.sync(ring) {
                case .stopped: throw stopped(ring)
                case .fault, .failed: ready.insert(.failed)
                case .done, .busy:
                    let isReady = unsafe core.reference(ring).pointee.isReady
                    if needsRoom, isReady { ready.insert(.transmit) }
                }
            }
        }
        if wanted.contains(.receive) {
            let stamp = PortCore.stamp
            for index in core.receiveRings {
                let ring = RingNumber(.receive, index)
                switch core.sync(ring, stamp: stamp) {
                case .stopped: throw stopped(ring)
                case .failed: ready.insert(.failed)
                case .fault: ready.insert(.failed)
                case .done, .busy:
                    let isReady = unsafe core.reference(ring).pointee.isReady
                    if isReady { ready.insert(.receive) }
                }
            }
        }
        return ready
    }

    private func arm(_ wanted: Readiness) {
        if wanted.contains(.transmit) {
            for index in core.transmitRings {
                unsafe core.reference(RingNumber(.transmit, index)).pointee.arm()
            }
        }
        if wanted.contains(.receive) {
            for index in core.receiveRings {
                unsafe core.reference(RingNumber(.receive, index)).pointee.arm()
            }
        }
        // Pairs with the fence between publishing news and looking who wants it.
        nm_fence()
    }

    private static func sleep(
        on sockets: [Int32],
        until deadline: ContinuousClock.Instant?
    ) {
        guard let deadline else {
            _ = unsafe nm_wait_readable(sockets, Int32(sockets.count), -1)
            return
        }
        let (seconds, attoseconds) = max(.zero, deadline - .now).components
        let most: Int64 = 1_000_000  // seconds; who waits longer is woken and waits again
        _ = unsafe nm_wait_readable(
            sockets,
            Int32(sockets.count),
            min(seconds, most) * 1_000_000_000 + attoseconds / 1_000_000_000
        )
    }
}
