// Where an engine's socket, lock, log and counters are, and the checks that keep one user from
// walking into a directory that another one laid out.

internal import Glibc

/// The directory that an engine and its clients share.
public struct RuntimeDirectory: Sendable, Hashable {
    /// The directory's path.
    public let path: String

    /// The longest path that fits a unix socket address.
    public static let maximumSocketPath = 107

    /// Names a directory without looking at it.
    public init(path: String) {
        // A client may have another working directory than the engine it starts.
        let absolute = path.hasPrefix("/") ? path : Self.workingDirectory + "/" + path
        self.path =
            absolute.count > 1 && absolute.hasSuffix("/") ? String(absolute.dropLast()) : absolute
    }

    /// Finds the directory: the option, the environment, then the user's standard place.
    public init(option: String?) {
        self.init(option: option, userID: geteuid()) { name in
            unsafe getenv(name).map { unsafe String(cString: $0) }
        }
    }

    /// Finds the directory with a given user and environment.
    public init(option: String?, userID: UInt32, environment: (String) -> String?) {
        func value(_ name: String) -> String? {
            environment(name).flatMap { $0.isEmpty ? nil : $0 }
        }
        if let path = option ?? value("WIREVALE_RUNTIME_DIR") {
            self.init(path: path)
        } else if userID == 0 {
            self.init(path: "/run/wirevale")
        } else if let directory = value("XDG_RUNTIME_DIR") {
            self.init(path: directory + "/wirevale")
        } else {
            self.init(path: "/tmp/wirevale-\(userID)")
        }
    }

    /// The socket of the control protocol.
    public var controlSocket: String { path + "/control.sock" }
    /// The socket that stands for /dev/netmap.
    public var netmapSocket: String { path + "/netmap.sock" }
    /// The file that the running engine holds a lock on.
    public var pidFile: String { path + "/engine.pid" }
    /// The page of counters that anybody may map.
    public var counters: String { path + "/counters" }
    /// What an engine needs to come back as it was.
    public var state: String { path + "/state.json" }
    /// The directory of what was made for configuration files.
    public var applied: String { path + "/applied" }
    /// The directory of the monitors of guests.
    public var guests: String { path + "/guests" }
    /// The lock under which a tool starts an engine.
    public var startLock: String { path + "/start.lock" }
    /// What an engine that was started on demand writes.
    public var log: String { path + "/engine.log" }

    /// The directory of a switch's sockets.
    public func directory(ofSwitch master: String) -> String { "\(path)/\(master)" }

    /// The forwarding table of a switch.
    public func table(ofSwitch master: String) -> String { directory(ofSwitch: master) + "/fdb" }

    /// The monitor of a guest, for the engine; what a file cannot be called becomes '-'.
    public func monitor(ofGuest name: String) -> String {
        let safe = name.unicodeScalars.map { scalar -> String in
            let isPlain =
                scalar.isASCII
                && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil)
            return isPlain || "-._".unicodeScalars.contains(scalar) ? String(scalar) : "-"
        }
        return "\(guests)/\(safe.joined()).qmp"
    }

    /// The vhost-user socket of a port.
    public func socket(of port: ValePortName) -> String {
        "\(directory(ofSwitch: port.master))/\(port.port).sock"
    }

    /// Where it is noted how far the packed rings of a port came.
    public func records(of port: ValePortName) -> String {
        "\(directory(ofSwitch: port.master))/\(port.port).rings"
    }

    /// Checks that a socket of this name can exist.
    public static func check(socketPath: String) throws(AccessError) {
        let length = socketPath.utf8.count
        guard length <= maximumSocketPath else {
            throw AccessError(
                .cannotCreate,
                "the socket path '\(socketPath)' has \(length) bytes and unix sockets take at most "
                    + "\(maximumSocketPath); use a shorter --runtime-dir"
            )
        }
    }

    /// Makes the directory if there is none and checks that it is safe to use.
    ///
    /// - Throws: `AccessError` when it cannot be made, belongs to somebody else or lets others
    ///   write.
    public func create() throws(AccessError) {
        try Self.check(socketPath: controlSocket)
        try Self.make(path, mode: 0o700)
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else { throw failure("cannot look at", errno) }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw AccessError(
                .cannotCreate,
                "'\(path)' is no directory; give another --runtime-dir"
            )
        }
        guard status.st_uid == geteuid() else {
            throw AccessError(
                .permission,
                "the directory '\(path)' belongs to user \(status.st_uid), not to you (user "
                    + "\(geteuid())); give another --runtime-dir"
            )
        }
        guard status.st_mode & 0o022 == 0 else {
            throw AccessError(
                .permission,
                "others may write to '\(path)'; run 'chmod go-w \(ShellText.quote(path))' or give "
                    + "another --runtime-dir"
            )
        }
    }

    private static func make(_ path: String, mode: mode_t) throws(AccessError) {
        if unsafe mkdir(path, mode) == 0 || errno == EEXIST { return }
        let code = errno
        if code == ENOENT, let slash = path.lastIndex(of: "/"), slash > path.startIndex {
            try make(String(path[..<slash]), mode: 0o755)
            // Once more and no more: in /proc nothing can be made, whatever is there.
            if unsafe mkdir(path, mode) == 0 || errno == EEXIST { return }
        }
        throw RuntimeDirectory(path: path).failure("cannot make the directory", code)
    }

    private func failure(_ what: String, _ code: Int32) -> AccessError {
        AccessError(
            code == EACCES || code == EPERM || code == EROFS ? .permission : .cannotCreate,
            "\(what) '\(path)': \(ErrorText.of(code)); give another --runtime-dir"
        )
    }

    private static var workingDirectory: String {
        guard let path = unsafe getcwd(nil, 0) else { return "" }
        defer { unsafe free(path) }
        let text = unsafe String(cString: path)
        return text == "/" ? "" : text
    }

    /// Why the directory cannot be used.
    public struct AccessError: Error, Sendable, Hashable, CustomStringConvertible {
        /// Kinds that a caller may tell apart.
        public enum Kind: Sendable, Hashable {
            /// It is not ours or not allowed.
            case permission
            /// It cannot be made.
            case cannotCreate
        }
        /// The kind.
        public let kind: Kind
        /// The sentence.
        public let description: String

        init(_ kind: Kind, _ description: String) {
            self.kind = kind
            self.description = description
        }
    }
}

/// The C library's words for an error number.
enum ErrorText {
    static func of(_ code: Int32) -> String {
        guard let text = unsafe strerror(code) else { return "error \(code)" }
        return unsafe String(cString: text)
    }
}
