// A program that works for a port as long as that is there: its end is noticed, and its last words are kept.

import CNetmap
import Glibc
import Netmap

/// A running program.
///
/// Control thread only. It is ended, and its status taken, when nobody holds the object any more.
final class WatchedProgram {
    let process: pid_t
    private let handle: OwnedDescriptor
    private let output: OwnedDescriptor
    private let loop: EventLoop
    private var tokens: [(OwnedDescriptor, UInt64)] = []
    private var pending: [UInt8] = []
    private var isRunning = true
    /// What it said last that was of use.
    private(set) var lastWords = ""
    /// Told how it ended, as the end of a sentence.
    var onEnd: (String) -> Void = { _ in }
    /// Told each line that it writes.
    var onLine: (String) -> Void = { _ in }

    /// Starts a program, which gets `file` as descriptor 3.
    init(
        _ arguments: [String],
        passing file: OwnedDescriptor,
        loop: EventLoop
    ) throws(SystemError) {
        self.loop = loop
        var pipe: [Int32] = [-1, -1]
        _ = try SystemError.check(unsafe nm_pipe(&pipe), "pipe")
        output = OwnedDescriptor(pipe[0])
        let theirs = OwnedDescriptor(pipe[1])
        process = try ChildProcess.spawn(
            arguments,
            passing: [(theirs, 1), (theirs, 2), (file, 3)]
        )
        let number = nm_process_file(process)
        if number < 0 { ChildProcess.end(process) }
        handle = OwnedDescriptor(try SystemError.check(number, "pidfd_open"))
        tokens = [
            (handle, try loop.watch(handle) { [unowned self] _ in ended() }),
            (output, try loop.watch(output) { [unowned self] _ in readOutput() }),
        ]
    }

    deinit {
        for (file, token) in tokens { loop.unwatch(file, token) }
        guard isRunning else { return }
        // It keeps nothing that it would have to put in order.
        _ = kill(process, SIGKILL)
        ChildProcess.reap(process)
    }

    private func ended() {
        var status: Int32 = 0
        guard unsafe waitpid(process, &status, WNOHANG) == process else { return }
        isRunning = false
        readOutput()
        for (file, token) in tokens { loop.unwatch(file, token) }
        tokens = []
        let signal = status & 0x7f
        let how =
            signal != 0
            ? "was ended by signal \(signal)" : "ended with status \(status >> 8 & 0xff)"
        onEnd(lastWords.isEmpty ? how : "\(how): \(lastWords)")
    }

    private func readOutput() {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let n = unsafe read(output.number, &buffer, buffer.count)
        guard n > 0 else {
            // It has closed it, or there is nothing now.
            if n == 0, let index = tokens.firstIndex(where: { $0.0 === output }) {
                loop.unwatch(output, tokens.remove(at: index).1)
            }
            return
        }
        pending += buffer.prefix(n)
        while let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
            note(String(decoding: pending[..<end], as: UTF8.self))
            pending.removeSubrange(...end)
        }
        // A line without an end.
        if pending.count > 4096 { pending = [] }
    }

    private func note(_ line: String) {
        let text = line.trimmed
        // A system without a syslog is not what anybody wants to know of.
        guard !text.isEmpty, !text.hasSuffix("bytes to syslog") else { return }
        lastWords = text
        onLine(text)
    }
}

extension String {
    fileprivate var trimmed: String {
        let start = drop { $0.isWhitespace }
        return String(start.prefix(start.count - start.reversed().prefix { $0.isWhitespace }.count))
    }
}
