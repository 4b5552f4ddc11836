// What the traffic tools share: threads, counters, the end by ^C, port names, big numbers.

internal import ArgumentParser
internal import CNetmap
internal import Control
internal import Glibc
internal import Netmap
internal import Synchronization

/// Whether somebody pressed ^C, or all that was asked for is done.
enum Ending {
    private static let flag = Atomic<Bool>(false)

    static var isDue: Bool { flag.load(ordering: .relaxed) }
    static func come() { flag.store(true, ordering: .relaxed) }

    /// Ends the tools in an orderly way at SIGINT and SIGTERM; a second one ends them at once.
    static func watchSignals() {
        _ = isDue  // the handler must not be the first to touch it
        for number in [SIGINT, SIGTERM] {
            signal(number) { number in
                signal(number, SIG_DFL)
                Ending.come()
            }
        }
    }
}

/// What a thread has done so far; others read it while it goes on.
final class ToolCounters: Sendable {
    private let packetCell = Atomic<UInt64>(0)
    private let byteCell = Atomic<UInt64>(0)
    private let eventCell = Atomic<UInt64>(0)

    var packets: UInt64 { packetCell.load(ordering: .relaxed) }
    var bytes: UInt64 { byteCell.load(ordering: .relaxed) }
    /// Batches.
    var events: UInt64 { eventCell.load(ordering: .relaxed) }

    private let firstCell = Atomic<UInt64>(0)
    private let lastCell = Atomic<UInt64>(0)

    /// When it began and ended.
    var span: (first: UInt64, last: UInt64) {
        let first = firstCell.load(ordering: .relaxed)
        let last = lastCell.load(ordering: .relaxed)
        return (first, max(first, last == 0 ? Clock.now : last))
    }
    func begin() { firstCell.store(Clock.now, ordering: .relaxed) }
    func end() { lastCell.store(Clock.now, ordering: .relaxed) }

    private let keptCell = Atomic<UInt64>(0)

    /// Keeps what was worked out of frames, so that no compiler finds that it need not be.
    func keep(_ value: UInt64) { keptCell.store(value, ordering: .relaxed) }

    /// Adds a batch; one thread only.
    func add(packets: Int, bytes: Int) {
        packetCell.store(self.packets + UInt64(packets), ordering: .relaxed)
        byteCell.store(self.bytes + UInt64(bytes), ordering: .relaxed)
        eventCell.store(events + 1, ordering: .relaxed)
    }
}

/// A thread of a tool, on a processor of its own if that is asked for.
final class ToolThread: Sendable {
    private let body: @Sendable () throws -> Void
    private let processor: Int?
    private let result = Mutex<(any Error)?>(nil)
    private let isOver = Atomic<Bool>(false)
    private let thread = Mutex<pthread_t>(0)

    init(processor: Int?, _ body: @escaping @Sendable () throws -> Void) throws {
        self.body = body
        self.processor = processor
        var made = pthread_t()
        let code = unsafe pthread_create(
            &made,
            nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                // SAFETY: retained for the thread below.
                unsafe Unmanaged<ToolThread>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            },
            Unmanaged.passRetained(self).toOpaque()
        )
        guard code == 0 else { throw Failure(.tryAgain, "cannot make a thread: error \(code)") }
        thread.withLock { $0 = made }
    }

    private func run() {
        if let processor { _ = nm_pin_thread(Int32(processor)) }
        do { try body() } catch { result.withLock { $0 = error } }
        isOver.store(true, ordering: .releasing)
    }

    var hasEnded: Bool { isOver.load(ordering: .acquiring) }

    /// Waits for its end and throws what it threw.
    func join() throws {
        pthread_join(thread.withLock { $0 }, nil)
        if let error = result.withLock({ $0 }) { throw error }
    }
}

/// Waiting for a moment, without a thread's attention.
enum Clock {
    static var now: UInt64 { nm_monotonic_ns() }

    /// Has this thread woken when it is time, not up to 50 microseconds later as the kernel likes.
    static func sharpen() {
        // The kernel's other way to say so, prctl, has arguments that Swift cannot pass.
        guard let file = unsafe fopen("/proc/thread-self/timerslack_ns", "w") else { return }
        unsafe fputs("1", file)
        unsafe fclose(file)
    }

    /// A moment for others.
    static func nap() { usleep(50) }

    /// Sleeps until `deadline`, or until the tool ends.
    static func sleep(until deadline: UInt64) {
        while !Ending.isDue {
            let now = Clock.now
            guard now < deadline else { return }
            let left = min(deadline - now, 100_000_000)
            var time = timespec(tv_sec: 0, tv_nsec: Int(left))
            unsafe nanosleep(&time, nil)
        }
    }
}

/// Names and numbers as netmap's tools take and print them.
enum ToolText {
    /// A port's specification; what is no port of a switch is an interface.
    static func specification(_ text: String) throws -> PortSpecification {
        let isComplete = text.hasPrefix("netmap:") || text.hasPrefix("vale")
        return try PortSpecification(isComplete ? text : "netmap:" + text)
    }

    /// Numbers of zero or more between commas.
    static func numbers(
        _ text: String,
        most: Int,
        _ wrong: (String) -> String
    ) throws -> [Int] {
        let all = text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
        let numbers = all.compactMap { $0 }
        guard (1...most).contains(all.count), numbers.count == all.count,
            numbers.allSatisfy({ $0 >= 0 })
        else { throw ValidationError(wrong(text)) }
        return numbers
    }

    /// The rings and slots of -C: tx slots, rx slots, tx rings, rx rings; what is missing is as before it.
    static func geometry(_ text: String?) throws -> PortSpecification.Configuration {
        var all = PortSpecification.Configuration()
        guard let text else { return all }
        let values = try numbers(text, most: 4) {
            "-C '\($0)' is no geometry; write up to four numbers, tx slots, rx slots, tx rings, rx "
                + "rings: '1024,1024,1,1'"
        }
        all.transmitSlots = values[0]
        all.receiveSlots = values.count > 1 ? values[1] : values[0]
        all.transmitRings = values.count > 2 ? values[2] : 0
        all.receiveRings = values.count > 3 ? values[3] : all.transmitRings
        return all
    }

    /// `14.88 M`, or the plain number.
    static func scaled(_ value: Double, plainly: Bool) -> String {
        if plainly { return fixed(value, 3) + " " }
        let units = ["", "K", "M", "G", "T"]
        var value = value
        var unit = 0
        while value >= 1000, unit < units.count - 1 {
            value /= 1000
            unit += 1
        }
        return "\(fixed(value, 3)) \(units[unit])"
    }

    /// A number with so many digits behind the point.
    static func fixed(_ value: Double, _ digits: Int) -> String {
        let scale = (0..<digits).reduce(1.0) { product, _ in product * 10 }
        let rounded = (value * scale).rounded()
        guard rounded.isFinite, abs(rounded) < 9e18 else { return "\(value)" }
        let whole = Int64(rounded) / Int64(scale)
        let rest = String(abs(Int64(rounded) % Int64(scale)))
        if digits == 0 { return "\(whole)" }
        let zeros = String(repeating: "0", count: digits - rest.count)
        return "\(whole).\(zeros)\(rest)"
    }
}

extension Failure {
    /// A port's failure with the exit status that fits.
    init(_ error: PortError) {
        let status: ExitStatus =
            switch error.kind {
            case .specification: .usage
            case .noEngine, .engineGone: .unavailable
            case .refused, .stopped: .failure
            case .resources: .tryAgain
            }
        self.init(status, error.description)
    }
}
