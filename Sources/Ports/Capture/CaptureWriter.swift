// The thread that writes what workers have captured. Everything that can take its time is here: looking
// up names for a filter, opening a FIFO, a slow disk, a reader that stops reading.

import CNetmap
import Glibc
public import Netmap
import Synchronization

/// Writes a ring's frames to files.
///
/// Made, stopped and asked by the control thread. The thread keeps the object alive as long as it runs;
/// workers must have let go of `ring` before the last owner does.
@safe public final class CaptureWriter: @unchecked Sendable {
    // Unchecked: the ring is made for several threads, `output` belongs to the writing thread alone, and
    // everything else is constant or behind a Mutex.

    /// How far a capture is.
    public struct State: Sendable {
        /// Stages of its life.
        public enum Phase: String, Sendable {
            /// The filter is being compiled, the file opened.
            case opening
            /// The FIFO has no reader yet.
            case waiting
            /// Frames are taken.
            case running
            /// It is over; `reason` may say why.
            case ended
        }

        /// The stage.
        public var phase = Phase.opening
        /// Why it is over, or never began.
        public var reason: String?
        /// Whether that is an error.
        public var hasFailed = false
        /// The file that is written now.
        public var file = ""
        /// How many there have been.
        public var files = 0
        /// Frames that were written.
        public var packets: UInt64 = 0
        /// Frames that were taken and could not be written.
        public var unwritten: UInt64 = 0
    }

    /// What it is to do.
    public let options: CaptureOptions
    /// Readable when the stage has changed.
    public let notice: OwnedDescriptor
    private let wake: OwnedDescriptor
    private let state = Mutex(State())
    private let interfaces = Mutex<[String]>([])
    private let isStopped = Atomic(false)
    /// Where workers put frames, from the stage `running` on.
    public private(set) var ring: CaptureRing

    /// Allocates the memory; `start` begins.
    public init(_ options: CaptureOptions) throws(SystemError) {
        self.options = options
        notice = OwnedDescriptor(try SystemError.check(nm_eventfd(), "eventfd"))
        wake = OwnedDescriptor(try SystemError.check(nm_eventfd(), "eventfd"))
        ring = .make(size: options.bufferSize, snapLength: options.snapLength)
    }

    deinit { ring.free() }

    /// Adds a port.
    ///
    /// - Returns: its number for `CaptureRing.add`, or nil if there have been too many.
    public func addInterface(_ name: String) -> UInt16? {
        interfaces.withLock { names in
            guard names.count < CaptureRing.interfaceCapacity else { return nil }
            names.append(name)
            return UInt16(names.count - 1)
        }
    }

    /// Begins, on a thread of its own.
    public func start() throws(SystemError) {
        var thread = pthread_t()
        let box = unsafe Unmanaged.passRetained(self)
        // SAFETY: the thread takes over the reference that `passRetained` made.
        let result = unsafe pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let writer = unsafe Unmanaged<CaptureWriter>.fromOpaque(argument)
                    .takeRetainedValue()
                unsafe nm_name_thread("capture")
                writer.run()
                return nil
            },
            box.toOpaque()
        )
        guard result == 0 else {
            unsafe box.release()
            throw SystemError("pthread_create", result: -result)
        }
        pthread_detach(thread)
    }

    /// Has it write what it has and end; `notice` says when that is done.
    public func stop() {
        isStopped.store(true, ordering: .releasing)
        wakeUp()
    }

    /// Wakes the thread, as `CaptureRing.Outcome.takenWake` asks for.
    public func wakeUp() { _ = nm_eventfd_ring(wake.number) }

    /// The descriptor behind `wakeUp`, for workers.
    public var wakeNumber: Int32 { wake.number }

    /// How far it is.
    public var now: State { state.withLock { $0 } }

    /// What was counted.
    public var counts: CaptureCounts { ring.counts() }

    // MARK: The thread

    private func change(_ change: (inout State) -> Void) {
        let isNew = state.withLock { state in
            let before = state.phase
            change(&state)
            return state.phase != before
        }
        if isNew { _ = nm_eventfd_ring(notice.number) }
    }

    private var isAskedToStop: Bool { isStopped.load(ordering: .acquiring) }

    private func pause(nanoseconds: Int64) {
        var file = wake.number
        if unsafe nm_wait_readable(&file, 1, nanoseconds) > 0 { _ = nm_eventfd_drain(file) }
    }

    private func run() {
        var output = CaptureOutput(options)
        do throws(CaptureOutput.Ending) {
            try compile()
            try open(&output)
            change { state in
                state.phase = .running
                state.file = output.path
                state.files = 1
            }
            try write(&output)
        } catch {
            ring.close()
            let unwritten = UInt64(output.pending) + drainCount()
            change { state in
                state.phase = .ended
                state.reason = error.reason
                state.hasFailed = error.isFailure
                state.packets = output.packets - UInt64(output.pending)
                // Who asked for so many frames does not miss those behind them.
                state.unwritten = error.isComplete ? 0 : unwritten
            }
        }
    }

    private func compile() throws(CaptureOutput.Ending) {
        guard let filter = options.filter, !filter.isEmpty else { return }
        do throws(FilterCompiler.FilterError) {
            let program = try FilterCompiler.compile(filter)
            ring.filter = FilterProgram.make(program)
            guard ring.filter != nil else {
                throw FilterCompiler.FilterError(
                    description: "filter '\(filter)': libpcap made a program that is none"
                )
            }
        } catch {
            throw CaptureOutput.Ending(error.description, isFailure: true)
        }
    }

    private func open(_ output: inout CaptureOutput) throws(CaptureOutput.Ending) {
        while true {
            let names = interfaces.withLock { $0 }
            if try output.open(number: 0, names) { return }
            change { $0.phase = .waiting }
            pause(nanoseconds: 50_000_000)
            if isAskedToStop { throw CaptureOutput.Ending(nil, isFailure: false) }
        }
    }

    /// Writes until there is a reason to end.
    private func write(_ output: inout CaptureOutput) throws(CaptureOutput.Ending) {
        var idle = 0
        while true {
            // Asked before the ring is looked at: what came before the request is written.
            let isLast = isAskedToStop
            let count = try drain(&output)
            change { $0.packets = output.packets - UInt64(output.pending) }
            try rotate(&output)
            if count > 0 {
                idle = 0
                continue
            }
            try output.flush(isStopped: isLast)
            change { $0.packets = output.packets }
            if isLast {
                try finish(&output)
                throw CaptureOutput.Ending(nil, isFailure: false)
            }
            idle += 1
            // While frames come, workers need not wake us.
            if idle <= 8 {
                pause(nanoseconds: 2_000_000)
            } else {
                if !ring.arm() { pause(nanoseconds: output.nanosecondsToRotation) }
                ring.disarm()
            }
        }
    }

    /// Takes frames from the ring.
    ///
    /// - Returns: how many.
    private func drain(_ output: inout CaptureOutput) throws(CaptureOutput.Ending) -> Int {
        var count = 0
        // SAFETY: a record is read before it is released, and the frame behind it is as long as it says.
        while count < 4096, let record = unsafe ring.first() {
            let header = unsafe record.load(as: CaptureRing.Header.self)
            if unsafe Int(header.interface) >= output.interfaceCount {
                output.add(interfaces: interfaces.withLock { $0 })
            }
            if output.isFull { try nextFile(&output) }
            unsafe output.append(header, record + MemoryLayout<CaptureRing.Header>.size)
            unsafe ring.release(Int(header.size))
            count += 1
            if let limit = options.count, output.packets >= limit {
                try finish(&output)
                throw CaptureOutput.Ending(nil, isFailure: false, isComplete: true)
            }
            if output.isDue { try output.flush(isStopped: isAskedToStop) }
        }
        return count
    }

    private func drainCount() -> UInt64 {
        var count: UInt64 = 0
        while let record = unsafe ring.first() {
            unsafe ring.release(Int(record.load(as: CaptureRing.Header.self).size))
            count += 1
        }
        return count
    }

    private func rotate(_ output: inout CaptureOutput) throws(CaptureOutput.Ending) {
        guard output.isOld else { return }
        if let files = options.rotation.files, options.rotation.bytes == nil,
            output.files >= files
        {
            try finish(&output)
            throw CaptureOutput.Ending(nil, isFailure: false, isComplete: true)
        }
        try nextFile(&output)
    }

    private func nextFile(_ output: inout CaptureOutput) throws(CaptureOutput.Ending) {
        try finish(&output)
        _ = try output.open(
            number: output.isOld ? 0 : output.number + 1,
            interfaces.withLock { $0 }
        )
        change { state in
            state.file = output.path
            state.files = output.files
        }
    }

    /// Ends a file: its statistics, and everything that is not written yet.
    private func finish(_ output: inout CaptureOutput) throws(CaptureOutput.Ending) {
        for number in 0..<output.interfaceCount {
            output.appendStatistics(number, ring.counts(of: number))
        }
        try output.flush(isStopped: isAskedToStop)
    }
}
