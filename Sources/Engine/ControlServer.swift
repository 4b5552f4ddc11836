// The control socket: accepts clients, feeds their bytes to QMP sessions, sends replies and events.

import CNetmap
import Control
import Glibc
import Netmap
import Logging

/// Serves the QMP-shaped protocol on a unix socket.
///
/// Control thread only.
final class ControlServer {
    private unowned let engine: Engine
    private var listener: (file: OwnedDescriptor, token: UInt64, path: String)?
    private var clients: [UInt64: Client] = [:]
    private var nextClient: UInt64 = 1

    /// One connection: its conversation, and what has not been sent or done yet.
    private final class Client {
        let file: OwnedDescriptor
        var session = QMPSession()
        var unsent: [UInt8] = []
        var token: UInt64 = 0
        /// What arrived while a command was under way: replies keep the order of requests.
        var waiting: [QMPSession.Input] = []
        var isBusy = false
        var isWorking = false
        /// Descriptors that came and that no `getfd` has named yet.
        var arrived: [OwnedDescriptor] = []
        /// Those that `getfd` has named.
        var named: [String: OwnedDescriptor] = [:]

        init(_ file: OwnedDescriptor) { self.file = file }
    }

    /// Beyond this much unread output a client gets no more events, and with replies is let go.
    private static let maximumUnsent = 1 << 20
    /// So many requests may wait for one before them.
    private static let maximumWaiting = 10_000
    /// So many descriptors may a client leave with us.
    private static let maximumFiles = 64

    init(engine: Engine) { self.engine = engine }

    /// Whether anybody is connected.
    var hasClients: Bool { !clients.isEmpty }

    /// Begins to accept clients at `path`.
    func listen(_ path: String) throws {
        try SocketFile.clear(path)
        let file = OwnedDescriptor(
            try SystemError.check(unsafe nm_unix_listen(path), "listen on \(path)")
        )
        let token = try engine.loop.watch(file) { [unowned self] _ in accept() }
        listener = (file, token, path)
    }

    /// Lets all clients go and removes the socket.
    func close() {
        if let listener {
            engine.loop.unwatch(listener.file, listener.token)
            _ = unsafe unlink(listener.path)
        }
        listener = nil
        for client in clients.values { engine.loop.unwatch(client.file, client.token) }
        clients = [:]
    }

    /// Sends an event to all clients that have negotiated and read what they are sent.
    func broadcast(_ name: String, _ data: JSONObject) {
        var now = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &now)
        let event = QMPEvent(name, data, microseconds: now.tv_sec * 1_000_000 + now.tv_nsec / 1000)
        let line = event.json.line
        for (id, client) in clients where client.session.isNegotiated {
            // A client that never reads (a QEMU that inherited the connection) misses events only.
            guard client.unsent.count < 65_536 else { continue }
            client.unsent += line
            flush(id)
        }
    }

    private func accept() {
        guard let listener else { return }
        let number = nm_unix_accept(listener.file.number)
        guard number >= 0 else { return }
        let client = Client(OwnedDescriptor(number))
        let id = nextClient
        nextClient += 1
        do {
            client.token = try engine.loop.watch(client.file) { [unowned self] readiness in
                handle(id, readiness)
            }
        } catch {
            engine.logger.error("\(error)")
            return
        }
        clients[id] = client
        engine.reconsiderLingering()
        client.unsent += client.session.greeting.line
        flush(id)
    }

    private func handle(_ id: UInt64, _ readiness: EventLoop.Readiness) {
        guard let client = clients[id] else { return }
        if readiness.contains(.writable) { flush(id) }
        guard readiness.contains(.readable) || readiness.contains(.closed) else { return }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        var numbers = [Int32](repeating: -1, count: 8)
        var fileCount: Int32 = 8
        let n = unsafe nm_receive(client.file.number, &buffer, buffer.count, &numbers, &fileCount)
        if n == -Int64(EAGAIN) { return }
        client.arrived += numbers.prefix(Int(fileCount)).filter { $0 >= 0 }.map {
            OwnedDescriptor(received: $0)
        }
        guard n > 0, client.arrived.count + client.named.count <= ControlServer.maximumFiles else {
            end(id)
            return
        }
        client.waiting += client.session.receive(buffer.prefix(Int(n)))
        guard client.waiting.count <= ControlServer.maximumWaiting else {
            engine.logger.warning("let a control client go that does not wait for replies")
            end(id)
            return
        }
        work(id)
    }

    /// Does what waits, in order, up to a command that takes its time.
    private func work(_ id: UInt64) {
        guard let client = clients[id] else { return }
        client.isWorking = true
        while !client.isBusy, !client.waiting.isEmpty {
            switch client.waiting.removeFirst() {
            case .reply(let message): client.unsent += message.line
            case .request(let request):
                client.isBusy = true
                engine.perform(request, client: id) { [weak self, weak client] result in
                    guard let self, let client else { return }
                    switch result {
                    case .success(let value): client.unsent += request.reply(value).line
                    case .failure(let error): client.unsent += request.reply(error).line
                    }
                    client.isBusy = false
                    // One that was answered at once is still in the loop above.
                    if !client.isWorking { work(id) }
                }
            }
        }
        client.isWorking = false
        flush(id)
    }

    // MARK: Descriptors

    /// Gives the descriptor that came with a client's message a name (`getfd`).
    func name(file: String, of id: UInt64) throws(QMPError) {
        guard let client = clients[id], !client.arrived.isEmpty else {
            throw QMPError("No file descriptor supplied via SCM_RIGHTS")
        }
        guard let first = file.unicodeScalars.first, !("0"..."9").contains(first) else {
            throw .expects("fdname", "a name not starting with a digit")
        }
        client.named[file] = client.arrived.removeFirst()
    }

    /// Takes a descriptor that a client has named, which is the taker's from then on.
    func take(file: String, of id: UInt64) throws(QMPError) -> OwnedDescriptor {
        guard let taken = clients[id]?.named.removeValue(forKey: file) else {
            throw QMPError(
                .genericError,
                "File descriptor named '\(file)' not found; pass it with getfd first"
            )
        }
        return taken
    }

    private func flush(_ id: UInt64) {
        guard let client = clients[id] else { return }
        while !client.unsent.isEmpty {
            let n = unsafe nm_send(client.file.number, client.unsent, client.unsent.count, nil, 0)
            if n == -Int64(EAGAIN) { break }
            guard n > 0 else {
                end(id)
                return
            }
            client.unsent.removeFirst(Int(n))
        }
        guard client.unsent.count <= ControlServer.maximumUnsent else {
            engine.logger.warning("let a control client go that does not read replies")
            end(id)
            return
        }
        engine.loop.rewatch(
            client.file,
            client.token,
            for: client.unsent.isEmpty ? .readable : [.readable, .writable]
        )
    }

    private func end(_ id: UInt64) {
        guard let client = clients.removeValue(forKey: id) else { return }
        engine.loop.unwatch(client.file, client.token)
        engine.connectionEnded(id)
    }
}
