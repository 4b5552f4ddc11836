// Starting an engine when a tool finds none. Ten tools may do it at once: a lock lets one of
// them start it, and the others find it running when their turn comes.

internal import Glibc

/// Finds the engine of a runtime directory, or starts it.
public struct EngineLauncher: Sendable {
    /// Why no engine could be had.
    public enum LaunchError: Error, Sendable, Hashable, CustomStringConvertible {
        /// The runtime directory is unusable.
        case directory(RuntimeDirectory.AccessError)
        /// Something listens but cannot be talked to.
        case connection(ControlClient.ConnectionError)
        /// The engine could not be started or died at once; the text has its last words.
        case failed(String)

        /// The sentence.
        public var description: String {
            switch self {
            case .directory(let error): error.description
            case .connection(let error): error.description
            case .failed(let text): text
            }
        }
    }

    /// The directory.
    public let directory: RuntimeDirectory
    /// The program to start.
    public let program: String
    /// Its arguments, without its name.
    public let arguments: [String]
    /// How long to wait for it.
    public let patience: Duration

    /// Makes a launcher; without a program it starts this very executable.
    public init(
        _ directory: RuntimeDirectory,
        program: String = "/proc/self/exe",
        arguments: [String]? = nil,
        patience: Duration = .seconds(10)
    ) {
        self.directory = directory
        self.program = program
        self.arguments = arguments ?? ["serve", "--on-demand", "--runtime-dir", directory.path]
        self.patience = patience
    }

    /// A client of the running engine, or nil when none runs.
    public func connectIfRunning() throws(LaunchError) -> ControlClient? {
        do throws(ControlClient.ConnectionError) {
            return try ControlClient(path: directory.controlSocket)
        } catch {
            guard error.kind == .notRunning else { throw .connection(error) }
            return nil
        }
    }

    /// A client of the engine, which is started if none runs.
    public func connect() throws(LaunchError) -> ControlClient {
        if let client = try connectIfRunning() { return client }
        do throws(RuntimeDirectory.AccessError) {
            try directory.create()
        } catch {
            throw .directory(error)
        }
        let deadline = ContinuousClock.now + patience
        let lock = try lock(until: deadline)
        defer { close(lock) }
        // Whoever held the lock before us may have started one.
        if let client = try connectIfRunning() { return client }
        return try start(until: deadline)
    }

    private func lock(until deadline: ContinuousClock.Instant) throws(LaunchError) -> Int32 {
        let path = directory.startLock
        let file = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else {
            throw .failed("cannot open '\(path)': \(ErrorText.of(errno))")
        }
        while flock(file, LOCK_EX | LOCK_NB) != 0 {
            guard ContinuousClock.now < deadline else {
                close(file)
                throw .failed("another tool has been starting an engine for \(patience); try again")
            }
            usleep(20_000)
        }
        return file
    }

    private func start(
        until deadline: ContinuousClock.Instant
    ) throws(LaunchError) -> ControlClient {
        let log = unsafe open(
            directory.log,
            O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
            0o600
        )
        guard log >= 0 else {
            throw .failed("cannot open '\(directory.log)': \(ErrorText.of(errno))")
        }
        defer { close(log) }
        // Logs of engines that are gone would pile up otherwise.
        if lseek(log, 0, SEEK_END) > 1 << 20 { ftruncate(log, 0) }
        let beginning = lseek(log, 0, SEEK_END)

        // The engine inherits the writing end without knowing: it closes when the engine dies,
        // whoever its parent is by then.
        var ends: [Int32] = [-1, -1]
        guard unsafe pipe(&ends) == 0 else { throw .failed("no pipe: \(ErrorText.of(errno))") }
        defer { close(ends[0]) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        let process: pid_t
        do throws(LaunchError) {
            process = try spawn(log: log, life: ends[1])
            close(ends[1])
        } catch {
            close(ends[1])
            throw error
        }
        Self.reap(process)
        while ContinuousClock.now < deadline {
            if let client = try? connectIfRunning() { return client }
            var poller = pollfd(fd: ends[0], events: Int16(POLLIN), revents: 0)
            if unsafe poll(&poller, 1, 10) > 0 {
                throw .failed("the engine did not start:" + tail(log, from: beginning))
            }
        }
        throw .failed(
            "the engine (process \(process)) does not answer after \(patience):"
                + tail(log, from: beginning)
        )
    }

    /// Takes an engine's exit status whenever it ends, so that who started it keeps no zombie.
    ///
    /// The engine outlives most who start it; those who live longer must not look after it.
    private static func reap(_ process: pid_t) {
        var thread = pthread_t()
        // SAFETY: the argument is a number in the form of a pointer; nothing is dereferenced.
        let result = unsafe pthread_create(
            &thread,
            nil,
            { argument in
                waitpid(pid_t(Int(bitPattern: argument)), nil, 0)
                return nil
            },
            UnsafeMutableRawPointer(bitPattern: Int(process))
        )
        if result == 0 { pthread_detach(thread) }
    }

    private func spawn(log: Int32, life: Int32) throws(LaunchError) -> pid_t {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        unsafe posix_spawn_file_actions_adddup2(&actions, log, 1)
        unsafe posix_spawn_file_actions_adddup2(&actions, log, 2)
        // Onto itself: that clears close-on-exec in the child only.
        unsafe posix_spawn_file_actions_adddup2(&actions, life, life)

        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        // A session of its own: no terminal's Ctrl-C ends the network of other guests.
        unsafe posix_spawnattr_setflags(
            &attributes,
            Int16(Self.newSession | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)
        )
        var none = sigset_t()
        unsafe sigemptyset(&none)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        var all = sigset_t()
        unsafe sigfillset(&all)
        unsafe posix_spawnattr_setsigdefault(&attributes, &all)

        var process: pid_t = 0
        let code = unsafe CStringArray.with(["wirevale"] + arguments) { words in
            unsafe posix_spawn(&process, program, &actions, &attributes, words, environ)
        }
        guard code == 0 else {
            throw .failed("cannot start '\(program)': \(ErrorText.of(code))")
        }
        return process
    }

    /// POSIX_SPAWN_SETSID, which the header shows only to GNU sources and Swift's import is none.
    private static let newSession: Int32 = 0x80

    /// The last lines that this engine wrote.
    private func tail(_ log: Int32, from beginning: off_t) -> String {
        let end = lseek(log, 0, SEEK_END)
        let start = max(beginning, end - 4096)
        var buffer = [UInt8](repeating: 0, count: Int(max(0, end - start)))
        // SAFETY: the buffer is alive during the call and its length is passed with it.
        let count = unsafe buffer.withUnsafeMutableBytes {
            unsafe pread(log, $0.baseAddress, $0.count, start)
        }
        guard count > 0 else { return " it said nothing (its log is \(directory.log))" }
        let lines = String(decoding: buffer[..<count], as: UTF8.self)
            .split(separator: "\n").suffix(10)
        return "\n  " + lines.joined(separator: "\n  ") + "\n(its log is \(directory.log))"
    }
}

/// Strings in the form that exec and its kin take.
public enum CStringArray {
    /// Calls `body` with a null-terminated array of C strings that is valid during the call.
    public static func with<Result>(
        _ strings: [String],
        _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
    ) -> Result {
        var pointers = unsafe strings.map { unsafe strdup($0) } + [nil]
        defer { unsafe pointers.forEach { unsafe free($0) } }
        // SAFETY: the array outlives the call and ends with nil.
        return unsafe pointers.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { fatalError("the array has its nil") }
            return unsafe body(UnsafePointer(base))
        }
    }
}
