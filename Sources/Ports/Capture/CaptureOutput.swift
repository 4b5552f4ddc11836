// The file that a capture writes now, and what of it is still in memory. Used by the capture's thread.

import CNetmap
import Glibc
import Netmap
import Wire

/// One file after the other.
struct CaptureOutput {
    /// Why a capture is over.
    struct Ending: Error {
        /// For people; nil if it was asked for.
        let reason: String?
        /// Whether something went wrong.
        let isFailure: Bool
        /// Whether it has all that it was to have.
        let isComplete: Bool

        init(_ reason: String?, isFailure: Bool, isComplete: Bool = false) {
            self.reason = reason
            self.isFailure = isFailure
            self.isComplete = isComplete
        }
    }

    private let options: CaptureOptions
    private let encoder: CaptureEncoder
    private var file: OwnedDescriptor?
    private var isStream = false
    private var buffer: [UInt8] = []
    /// Bytes of the file that are written or in the buffer.
    private var size = 0
    private var opened = 0
    /// What the file is called.
    private(set) var path = ""
    /// Its number among those that end by size.
    private(set) var number = 0
    /// How many files there have been.
    private(set) var files = 0
    /// How many interfaces the file has.
    private(set) var interfaceCount = 0
    /// Frames that were appended, to any file.
    private(set) var packets: UInt64 = 0
    /// Frames in the buffer.
    private(set) var pending = 0

    init(_ options: CaptureOptions) {
        self.options = options
        encoder = CaptureEncoder(options.format, snapLength: options.snapLength)
        buffer.reserveCapacity(1 << 19)
    }

    /// Whether the buffer is worth a write.
    var isDue: Bool { buffer.count >= 1 << 18 }

    /// Whether the file is as long as it may be.
    var isFull: Bool { options.rotation.bytes.map { size >= $0 } ?? false }

    /// Whether it is time for another file.
    var isOld: Bool { options.rotation.seconds.map { time(nil) >= opened + $0 } ?? false }

    /// How long it is until then.
    var nanosecondsToRotation: Int64 {
        guard let seconds = options.rotation.seconds else { return -1 }
        return Int64(max(0, opened + seconds - time(nil))) * 1_000_000_000 + 10_000_000
    }

    /// Begins a file.
    ///
    /// - Returns: false for a FIFO that nobody reads yet.
    mutating func open(number: Int, _ names: [String]) throws(Ending) -> Bool {
        let now = time(nil)
        let path = options.rotation.name(options.path, number: number, time: now)
        let result = unsafe nm_open_output(path, 0o600)
        if result == -ENXIO { return false }
        guard result >= 0 else {
            throw Ending(
                SystemError("write \(path)", result: result).description,
                isFailure: true
            )
        }
        file = OwnedDescriptor(result)
        isStream = nm_file_is_stream(result) != 0
        guard !isStream || !options.rotation.isActive else {
            throw Ending(
                "\(path) is no plain file, so that there cannot be several",
                isFailure: true
            )
        }
        self.path = path
        self.number = number
        opened = now
        files += 1
        size = 0
        interfaceCount = 0
        buffer = []
        encoder.appendBeginning(application: "wirevale", to: &buffer)
        add(interfaces: names)
        size = buffer.count
        // Who reads along sees at once that there is a capture.
        try flush(isStopped: false)
        return true
    }

    /// Describes the interfaces that the file does not know yet.
    mutating func add(interfaces names: [String]) {
        for name in names.dropFirst(interfaceCount) {
            encoder.appendInterface(
                name: name,
                description: "switch port \(name); inbound is from it, outbound is to it",
                filter: options.filter,
                to: &buffer
            )
        }
        interfaceCount = max(interfaceCount, names.count)
    }

    /// Adds a frame.
    mutating func append(_ header: CaptureRing.Header, _ frame: UnsafeRawPointer) {
        // SAFETY: the record's header is ours, and `frame` has the bytes that it says.
        let captured = unsafe Int(header.captured)
        let mark = unsafe CaptureMark(
            time: header.time,
            captured: captured,
            length: Int(header.length),
            interface: Int(header.interface),
            direction: header.isInbound ? .inbound : .outbound,
            comment: comment(header)
        )
        let before = buffer.count
        encoder.appendHead(mark, to: &buffer)
        unsafe buffer.append(contentsOf: UnsafeRawBufferPointer(start: frame, count: captured))
        encoder.appendTail(mark, to: &buffer)
        size += buffer.count - before
        packets += 1
        pending += 1
    }

    private func comment(_ header: CaptureRing.Header) -> String? {
        guard unsafe header.reason != FrameSight.delivered else { return nil }
        let name = unsafe DropReason(rawValue: header.reason)?.name ?? "unknown reason"
        let parts = unsafe header.lostParts
        return parts > 1 ? "dropped: \(name) (\(parts) of its segments)" : "dropped: \(name)"
    }

    /// Adds the counters of an interface.
    mutating func appendStatistics(_ number: Int, _ counts: CaptureCounts) {
        encoder.appendStatistics(
            interface: number,
            time: nm_realtime_ns(),
            received: counts.received,
            dropped: counts.lost,
            accepted: counts.accepted,
            to: &buffer
        )
    }

    /// Writes the buffer.
    ///
    /// - Parameter isStopped: whether the capture was asked to end; a reader that takes nothing gets a
    ///   second then.
    /// - Throws: `Ending` when no more can be written.
    mutating func flush(isStopped: Bool) throws(Ending) {
        guard let file else { return }
        var done = 0
        let end = nm_monotonic_ns() + 1_000_000_000
        while done < buffer.count {
            // SAFETY: the buffer is alive during the call and its count is passed with it.
            let n = unsafe buffer.withUnsafeBytes { bytes in
                unsafe write(
                    file.number,
                    bytes.baseAddress.map { unsafe $0 + done },
                    bytes.count - done
                )
            }
            if n >= 0 {
                done += n
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                guard !isStopped || nm_monotonic_ns() < end else {
                    throw Ending("the reader of \(path) takes nothing", isFailure: true)
                }
                var waiter = pollfd(fd: file.number, events: Int16(POLLOUT), revents: 0)
                unsafe poll(&waiter, 1, 100)
                // So that a stop is seen by whoever called us.
                if !isStopped, nm_monotonic_ns() >= end {
                    buffer.removeFirst(done)
                    return
                }
            case EPIPE:
                throw Ending("the reader of \(path) has gone", isFailure: false)
            case let code:
                throw Ending(
                    SystemError("write \(path)", result: -code).description,
                    isFailure: true
                )
            }
        }
        buffer.removeAll(keepingCapacity: true)
        pending = 0
    }
}
