// Looking on for a moment before sleeping: who sleeps is woken 50 microseconds late and costs the other
// side a system call. Only a pipe's end does so, and only if its last sleep was short: an idle one uses no
// processor. Behind a switch there is a worker that looks on itself and wants a processor, too: with two
// of them for three threads, looking on here cost more than it brought (5.3 against 1.3 million frames/s).

import CNetmap
import Glibc
import Synchronization

extension PortCore {
    /// How long to look on.
    private static let moment: UInt64 = 30_000
    /// A sleep that was shorter could have been looked through.
    private static let shortSleep: UInt64 = 150_000

    /// Looks on, if it is worth while, for news of the rings that are waited for.
    ///
    /// - Returns: whether there is some.
    func looksOn(_ wanted: Readiness, until deadline: ContinuousClock.Instant?) -> Bool {
        guard isPipe, isPatient.load(ordering: .relaxed) else { return false }
        let end = Self.end(deadline)
        repeat {
            for _ in 0..<32 {
                if hasNews(wanted) { return true }
                nm_pause()
            }
            // Who brings the news may need this very processor.
            sched_yield()
        } while nm_monotonic_ns() < end
        return false
    }

    /// The same for two ports.
    func looksOn(
        _ wanted: Readiness,
        _ other: PortCore,
        _ otherWanted: Readiness,
        until deadline: ContinuousClock.Instant?
    ) -> Bool {
        guard isPipe, other.isPipe,
            isPatient.load(ordering: .relaxed) || other.isPatient.load(ordering: .relaxed)
        else { return false }
        let end = Self.end(deadline)
        repeat {
            for _ in 0..<16 {
                if hasNews(wanted) || other.hasNews(otherWanted) { return true }
                nm_pause()
            }
            sched_yield()
        } while nm_monotonic_ns() < end
        return false
    }

    /// Who has less time looks on for no longer than that.
    private static func end(_ deadline: ContinuousClock.Instant?) -> UInt64 {
        let now = nm_monotonic_ns()
        guard let deadline else { return now &+ moment }
        let (seconds, attoseconds) = max(.zero, deadline - .now).components
        guard seconds == 0 else { return now &+ moment }
        return now &+ min(moment, UInt64(clamping: attoseconds / 1_000_000_000))
    }

    /// Learns from a sleep that began at `start`.
    func learn(fromSleepSince start: UInt64) {
        isPatient.store(nm_monotonic_ns() &- start < Self.shortSleep, ordering: .relaxed)
    }

    private func hasNews(_ wanted: Readiness) -> Bool {
        if wanted.contains(.transmit) {
            for index in transmitRings {
                if unsafe reference(RingNumber(.transmit, index)).pointee.hasNews { return true }
            }
        }
        if wanted.contains(.receive) {
            for index in receiveRings {
                if unsafe reference(RingNumber(.receive, index)).pointee.hasNews { return true }
            }
        }
        return false
    }
}
