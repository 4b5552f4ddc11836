// An engine of forty lines for the client's tests: a thread that accepts one connection and
// runs QMPSession on it, so that both ends of the protocol are checked against each other.

import Control
import Glibc
import Testing

/// Listens on a socket and answers with `answer`, on a thread of its own.
struct FakeEngine {
    let directory: RuntimeDirectory

    /// What the thread needs; handed over once.
    private final class Work: Sendable {
        let listener: Int32
        let body: @Sendable (Int32) -> Void
        init(_ listener: Int32, _ body: @escaping @Sendable (Int32) -> Void) {
            self.listener = listener
            self.body = body
        }
    }

    /// Starts an engine that does whatever `body` does with the connection.
    init(body: @escaping @Sendable (Int32) -> Void) throws {
        directory = RuntimeDirectory(path: try Self.temporaryDirectory())
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = directory.controlSocket
        unsafe withUnsafeMutableBytes(of: &address.sun_path) {
            unsafe $0.copyBytes(from: path.utf8)
        }
        let bound = unsafe withUnsafePointer(to: &address) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(bound == 0 && listen(listener, 4) == 0)
        let work = unsafe Unmanaged.passRetained(Work(listener, body))
        var thread = pthread_t()
        let code = unsafe pthread_create(
            &thread,
            nil,
            { raw in
                guard let raw = unsafe raw else { return nil }
                let work = unsafe Unmanaged<Work>.fromOpaque(raw).takeRetainedValue()
                let connection = accept(work.listener, nil, nil)
                work.body(connection)
                close(connection)
                close(work.listener)
                return nil
            },
            work.toOpaque()
        )
        try #require(code == 0)
        pthread_detach(thread)
    }

    /// Starts an engine that speaks the protocol and sends `event` before each answer.
    init(event: QMPEvent? = nil, answer: @escaping @Sendable (QMPRequest) -> JSONValue) throws {
        try self.init { connection in
            var session = QMPSession()
            Self.send(session.greeting.line, connection)
            var buffer = [UInt8](repeating: 0, count: 4096)
            while true {
                let count = unsafe buffer.withUnsafeMutableBytes {
                    unsafe recv(connection, $0.baseAddress, $0.count, 0)
                }
                guard count > 0 else { return }
                for input in session.receive(buffer[..<count]) {
                    if let event { Self.send(event.json.line, connection) }
                    switch input {
                    case .reply(let reply): Self.send(reply.line, connection)
                    case .request(let request): Self.send(answer(request).line, connection)
                    }
                }
            }
        }
    }

    static func send(_ bytes: [UInt8], _ descriptor: Int32) {
        _ = unsafe bytes.withUnsafeBytes {
            unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
    }

    static func temporaryDirectory() throws -> String {
        var template = Array("/tmp/wirevale-test-XXXXXX".utf8CString)
        let made = unsafe template.withUnsafeMutableBufferPointer { buffer in
            unsafe buffer.baseAddress.flatMap { unsafe mkdtemp($0) }
                .map { unsafe String(cString: $0) }
        }
        return try #require(made)
    }

    /// Removes what a test left in a directory of `temporaryDirectory`.
    static func remove(_ path: String) {
        for name in ["control.sock", "start.lock", "engine.log"] {
            unsafe unlink("\(path)/\(name)")
        }
        unsafe rmdir(path)
    }
}
