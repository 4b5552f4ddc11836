// Running another program and reading what it says: QEMU's version, a guest that boots or not.

internal import Control
internal import Glibc

/// What a program did.
struct ProgramRun {
    /// The exit status; nil when it was killed, by us after the timeout or by itself.
    let status: Int32?
    /// What it wrote to standard output and standard error.
    let output: String

    /// Runs a program to its end, or kills it after the timeout; nil when it cannot be started.
    static func run(_ words: [String], timeout: Duration = .seconds(5)) -> ProgramRun? {
        var ends: [Int32] = [-1, -1]
        guard let program = words.first, unsafe pipe(&ends) == 0 else { return nil }
        defer { close(ends[0]) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        unsafe posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        unsafe posix_spawn_file_actions_adddup2(&actions, ends[1], 2)
        var process: pid_t = 0
        let code = unsafe CStringArray.with(words) {
            unsafe posix_spawnp(&process, program, &actions, nil, $0, environ)
        }
        close(ends[1])
        guard code == 0 else { return nil }
        let output = read(ends[0], until: .now + timeout)
        let status = wait(for: process, until: .now + (output == nil ? .zero : .seconds(1)))
        return ProgramRun(status: status, output: output ?? "")
    }

    /// All that comes before the end; nil when the deadline comes first.
    private static func read(
        _ descriptor: Int32,
        until deadline: ContinuousClock.Instant
    ) -> String? {
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let left = (deadline - .now).components
            let milliseconds = left.seconds * 1000 + left.attoseconds / 1_000_000_000_000_000
            var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard unsafe poll(&poller, 1, Int32(clamping: max(0, milliseconds))) > 0 else {
                return nil
            }
            // SAFETY: the buffer is alive during the call and its size is passed with it.
            let count = unsafe buffer.withUnsafeMutableBytes {
                unsafe Glibc.read(descriptor, $0.baseAddress, $0.count)
            }
            guard count > 0 else { return String(decoding: text, as: UTF8.self) }
            // Nobody needs more; a program that babbles must not fill our memory.
            if text.count < 1 << 20 { text += buffer[..<count] }
        }
    }

    private static func wait(
        for process: pid_t,
        until deadline: ContinuousClock.Instant
    ) -> Int32? {
        var status: Int32 = 0
        while unsafe waitpid(process, &status, WNOHANG) == 0 {
            if ContinuousClock.now >= deadline {
                kill(process, SIGKILL)
                unsafe waitpid(process, &status, 0)
                return nil
            }
            usleep(5000)
        }
        // The C macros WIFEXITED and WEXITSTATUS do not import.
        return status & 0x7F == 0 ? (status >> 8) & 0xFF : nil
    }

    /// Where a program is, as the shell would find it.
    static func find(_ name: String) -> String? {
        if name.contains("/") { return unsafe access(name, X_OK) == 0 ? name : nil }
        guard let path = unsafe getenv("PATH") else { return nil }
        // Tools for administrators are often outside an ordinary user's PATH.
        let listed = unsafe String(cString: path).split(separator: ":")
        return (listed + ["/usr/sbin", "/sbin"]).map { "\($0)/\(name)" }
            .first { unsafe access($0, X_OK) == 0 }
    }
}
