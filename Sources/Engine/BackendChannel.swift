// The socket on which a front-end is asked by its back-end (`SET_BACKEND_REQ_FD`).

import CNetmap
import Netmap
import VhostUser

/// Sends requests and reads away what comes back: nothing here waits for an answer.
///
/// Control thread only.
final class BackendChannel {
    private let connection: Connection
    private let loop: EventLoop
    private var token: UInt64?

    init(_ file: OwnedDescriptor, loop: EventLoop) throws(SystemError) {
        _ = nm_set_nonblocking(file.number)
        connection = Connection(file)
        self.loop = loop
        token = try loop.watch(file) { [unowned self] _ in advance() }
    }

    /// Ends it; nothing is sent any more.
    func close() {
        if let token { loop.unwatch(connection.file, token) }
        token = nil
    }

    /// Sends a request, if the front-end still listens.
    func send(_ request: BackendRequest) {
        guard token != nil else { return }
        do throws(Connection.Ended) {
            try connection.send(request.bytes)
            watch()
        } catch {
            close()
        }
    }

    private func advance() {
        do {
            try connection.flush()
            // Replies, if the front-end sends any unasked; nobody depends on them.
            for _ in 0..<64 where try connection.next() != nil {}
            watch()
        } catch {
            close()
        }
    }

    private func watch() {
        guard let token else { return }
        loop.rewatch(
            connection.file,
            token,
            for: connection.unsent.isEmpty ? .readable : [.readable, .writable]
        )
    }
}
