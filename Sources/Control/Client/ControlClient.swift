// The other end of the control socket: blocking, one command at a time, with a deadline. All
// the tools are clients of this and of nothing else.

internal import Glibc

/// A connection to an engine.
///
/// Not thread-safe: one owner at a time.
public final class ControlClient {
    /// Why the engine could not be asked.
    public struct ConnectionError: Error, Sendable, Hashable, CustomStringConvertible {
        /// Kinds that a caller may tell apart.
        public enum Kind: Sendable, Hashable {
            /// No engine listens.
            case notRunning
            /// The socket is not ours to use.
            case permission
            /// No answer in time.
            case timeout
            /// The engine went away, or what listens is no engine.
            case broken
        }
        /// The kind.
        public let kind: Kind
        /// The sentence.
        public let description: String
    }

    /// The path that the client is connected to.
    public let path: String
    /// The first message of the engine.
    public private(set) var greeting: JSONValue = .null
    /// Called for each event that arrives while the client waits for something.
    public var onEvent: (QMPEvent) -> Void = { _ in }

    private let descriptor: Int32
    private var framer = QMPFramer(maximumSize: 64 << 20)
    private var pending: [Result<JSONValue, QMPError>] = []
    private let timeout: Duration
    private var lastId = 0

    /// Connects and negotiates.
    ///
    /// - Throws: `ConnectionError`.
    public init(path: String, timeout: Duration = .seconds(10)) throws(ConnectionError) {
        self.path = path
        self.timeout = timeout
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
        guard descriptor >= 0 else {
            throw ConnectionError(kind: .broken, description: "no socket: \(ErrorText.of(errno))")
        }
        try connect()
        greeting = try message(until: .now + timeout)
        guard greeting["QMP"] != nil else {
            throw failure(.broken, "what listens at '\(path)' is no Wirevale engine")
        }
        let answer = try reply(to: QMPRequest("qmp_capabilities"), until: .now + timeout)
        if case .failure(let error) = answer {
            throw failure(.broken, "the engine at '\(path)' does not negotiate: \(error)")
        }
    }

    deinit { close(descriptor) }

    /// Has the engine do a command and returns its result.
    ///
    /// - Parameters:
    ///   - command: what to do.
    ///   - arguments: its arguments.
    ///   - limit: how long the answer may take, where that is not the connection's time.
    /// - Returns: the result.
    /// - Throws: the engine's `QMPError`, or `ConnectionError` when there was no answer.
    public func execute(
        _ command: String,
        _ arguments: JSONObject = [:],
        timeout limit: Duration? = nil
    ) throws -> JSONValue {
        lastId += 1
        let request = QMPRequest(command, arguments, id: .integer(lastId))
        return try reply(to: request, until: .now + (limit ?? timeout)).get()
    }

    /// Waits for events until the deadline or until the engine goes away.
    public func waitForEvents(until deadline: ContinuousClock.Instant) throws(ConnectionError) {
        do throws(ConnectionError) {
            while true { _ = try message(until: deadline) }
        } catch {
            guard error.kind == .timeout else { throw error }
        }
    }

    /// Passes a descriptor to the engine, under a name for `netdev_add`.
    ///
    /// - Parameters:
    ///   - descriptor: of this process; the engine gets its own.
    ///   - name: not beginning with a digit.
    /// - Throws: as `execute`.
    public func pass(_ descriptor: Int32, as name: String) throws {
        lastId += 1
        let request = QMPRequest("getfd", ["fdname": .string(name)], id: .integer(lastId))
        try send(request.json.line, with: descriptor)
        _ = try answer(to: request, until: .now + timeout).get()
    }

    /// Lets the connection live on in a program that replaces this one.
    ///
    /// What the engine ties to the connection then lasts as long as that program.
    public func keepOpenAcrossExec() { _ = fcntl(descriptor, F_SETFD, 0) }

    // MARK: -

    private func connect() throws(ConnectionError) {
        guard path.utf8.count <= RuntimeDirectory.maximumSocketPath else {
            throw failure(
                .broken,
                "the socket path '\(path)' is longer than "
                    + "\(RuntimeDirectory.maximumSocketPath) bytes; use a shorter --runtime-dir"
            )
        }
        // A connection to an engine whose queue is full waits as long as a send may.
        let seconds = max(1, Int(timeout.components.seconds))
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        unsafe setsockopt(
            descriptor,
            SOL_SOCKET,
            SO_SNDTIMEO,
            &limit,
            socklen_t(MemoryLayout<timeval>.size)
        )
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        // SAFETY: the length was checked against the room, and the struct starts as zeros.
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { room in
            unsafe room.copyBytes(from: path.utf8)
        }
        var code: Int32
        repeat {
            code = unsafe withUnsafePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    let length = socklen_t(MemoryLayout<sockaddr_un>.size)
                    return unsafe Glibc.connect(descriptor, $0, length) == 0 ? 0 : errno
                }
            }
        } while code == EINTR
        switch code {
        case 0: return
        case ENOENT, ECONNREFUSED, ENOTDIR:
            throw failure(.notRunning, "no engine is running at '\(path)'")
        case EACCES, EPERM:
            throw failure(.permission, "the socket '\(path)' is not yours to use")
        case EAGAIN:
            throw failure(.timeout, "the engine at '\(path)' takes no connection")
        default:
            throw failure(.broken, "cannot connect to '\(path)': \(ErrorText.of(code))")
        }
    }

    private func failure(_ kind: ConnectionError.Kind, _ text: String) -> ConnectionError {
        ConnectionError(kind: kind, description: text)
    }

    private func reply(
        to request: QMPRequest,
        until deadline: ContinuousClock.Instant
    ) throws(ConnectionError) -> Result<JSONValue, QMPError> {
        try send(request.json.line)
        return try answer(to: request, until: deadline)
    }

    private func answer(
        to request: QMPRequest,
        until deadline: ContinuousClock.Instant
    ) throws(ConnectionError) -> Result<JSONValue, QMPError> {
        while true {
            let answer = try message(until: deadline)
            guard answer["id"] == request.id else { continue }
            if let result = answer["return"] { return .success(result) }
            if let error = answer["error"] {
                let name = error["class"]?.stringValue ?? ""
                let text = error["desc"]?.stringValue ?? "unknown error"
                return .failure(QMPError(QMPError.Class(rawValue: name) ?? .genericError, text))
            }
        }
    }

    /// The next message that is no event.
    private func message(
        until deadline: ContinuousClock.Instant
    ) throws(ConnectionError) -> JSONValue {
        while true {
            while !pending.isEmpty {
                switch pending.removeFirst() {
                case .success(let message):
                    guard let event = QMPEvent(message) else { return message }
                    onEvent(event)
                case .failure(let error):
                    throw failure(.broken, "the engine at '\(path)' sent no JSON: \(error)")
                }
            }
            pending = framer.append(try receive(until: deadline))
        }
    }

    private func send(_ bytes: [UInt8]) throws(ConnectionError) {
        var sent = 0
        while sent < bytes.count {
            // SAFETY: the span is alive during the call and its length is passed with it.
            let count = unsafe bytes[sent...].withUnsafeBytes {
                unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count >= 0 {
                sent += count
            } else if errno == EAGAIN {
                throw failure(.timeout, "the engine at '\(path)' does not read its socket")
            } else if errno != EINTR {
                throw failure(.broken, "the engine at '\(path)' went away")
            }
        }
    }

    /// Sends a line with a descriptor, which comes with its first byte.
    private func send(_ bytes: [UInt8], with file: Int32) throws(ConnectionError) {
        // A control message is a length, a level and a type of 16 bytes together, then the descriptor, padded to 8.
        var control: (UInt64, Int32, Int32, Int32, Int32) = (20, SOL_SOCKET, 0x01, file, 0)
        var first = bytes.first ?? 0
        // SAFETY: all that the header points to lives during the call.
        let count = unsafe withUnsafeMutablePointer(to: &control) { control in
            unsafe withUnsafeMutablePointer(to: &first) { byte in
                var piece = unsafe iovec(iov_base: byte, iov_len: 1)
                return unsafe withUnsafeMutablePointer(to: &piece) { piece in
                    var header = unsafe msghdr()
                    unsafe header.msg_iov = unsafe piece
                    unsafe header.msg_iovlen = 1
                    unsafe header.msg_control = UnsafeMutableRawPointer(control)
                    unsafe header.msg_controllen = 24
                    return unsafe sendmsg(descriptor, &header, Int32(MSG_NOSIGNAL))
                }
            }
        }
        guard count == 1 else {
            throw failure(.broken, "cannot pass descriptor \(file): \(ErrorText.of(errno))")
        }
        try send(Array(bytes.dropFirst()))
    }

    private func receive(
        until deadline: ContinuousClock.Instant
    ) throws(ConnectionError) -> ArraySlice<UInt8> {
        var buffer = [UInt8](repeating: 0, count: 16384)
        while true {
            let left = (deadline - .now).components
            let milliseconds = left.seconds * 1000 + left.attoseconds / 1_000_000_000_000_000
            var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let ready = unsafe poll(&poller, 1, Int32(clamping: max(0, milliseconds)))
            if ready < 0, errno == EINTR { continue }
            guard ready > 0 else {
                throw failure(.timeout, "the engine at '\(path)' does not answer")
            }
            // SAFETY: the buffer is alive during the call and its length is passed with it.
            let count = unsafe buffer.withUnsafeMutableBytes {
                unsafe recv(descriptor, $0.baseAddress, $0.count, 0)
            }
            if count > 0 { return buffer[..<count] }
            if count < 0, errno == EINTR { continue }
            throw failure(.broken, "the engine at '\(path)' closed the connection")
        }
    }
}
