// QEMU's stream and socket netdevs from the other side: one connection at a time, that somebody makes to
// the engine, or the engine to somebody, again and again.

import CNetmap
import Control
import Glibc
import Logging
import Netmap
import Ports

/// A port at whose other end is a connection that carries frames behind their lengths.
///
/// Control thread only.
@safe final class StreamPort: SocketPort {
    private let plan: StreamPlan
    private let given: OwnedDescriptor?
    private let lookup: AddressLookup
    private var listener: OwnedDescriptor?
    private var listenToken: UInt64?
    private var connecting: (file: OwnedDescriptor, token: UInt64)?
    private var connection: OwnedDescriptor?
    private var source: HostQueue?
    private var timer: UInt64?
    private var attempts = 0
    private var connectedAt: UInt64 = 0
    /// Where the host of the plan is, as far as that was not tried in vain.
    private var candidates: [nm_address] = []
    /// Who is connected.
    private var peer: String?
    private var lastEnd: String?

    /// Makes a port.
    ///
    /// - Parameters:
    ///   - options: of the port.
    ///   - plan: how the two ends find each other.
    ///   - given: the socket, if there is one already.
    ///   - place: what the engine gives it.
    init(_ options: NetdevOptions, _ plan: StreamPlan, given: OwnedDescriptor?, _ place: PortPlace)
    {
        self.plan = plan
        self.given = given
        unsafe lookup = AddressLookup(place.loop)
        unsafe super.init(options, place)
    }

    /// Where the peer is found, for the event.
    var peerAddress: SocketAddress { plan.address }

    /// Whether a peer comes back to the next engine, though the port's life is a connection's.
    var comesBack: Bool { plan.isServer && given == nil }

    // MARK: Coming and going

    override func open(isRestored: Bool) throws {
        if let given { return try open(given) }
        guard plan.isServer else { return connect() }
        do {
            try listen()
        } catch {
            // What was there before this engine may come back as it went.
            guard isRestored else { throw error }
            retry("\(error)")
        }
    }

    override func close() {
        // Of a port that goes with its peer, clients hear this once, whichever end is seen first.
        if isConnected { onPeer(false) }
        if let timer { loop.cancel(timer) }
        timer = nil
        lookup.cancel()
        forgetAttempt()
        setListening(false)
        if let listener, case .unix(let path) = plan.address {
            _ = unsafe unlink(path)
            withExtendedLifetime(listener) {}
        }
        super.close()
    }

    private func open(_ file: OwnedDescriptor) throws {
        guard nm_socket_kind(file.number) == Int32(SOCK_STREAM.rawValue) else {
            throw QMPError("\(plan.address) is not a stream socket")
        }
        if nm_socket_is_listening(file.number) == 1 {
            _ = nm_set_nonblocking(file.number)
            listener = file
            setListening(true)
        } else {
            begin(file)
        }
    }

    // MARK: Listening

    private func listen() throws {
        switch plan.address {
        case .unix(let path):
            try SocketFile.clear(path)
            try listen(at: nm_address.unix(path))
        case .inet(let address):
            lookup.find(address, isListening: true) { [unowned self] result in
                do {
                    guard let first = try result.get().first else { return }
                    try listen(at: first)
                } catch {
                    // Reported to whoever adds the port only if it is known at once.
                    retry("\(error)")
                }
            }
            if let reason, listener == nil, timer != nil {
                if let timer { loop.cancel(timer) }
                timer = nil
                throw QMPError(reason)
            }
        case .file: break
        }
    }

    private func listen(at address: nm_address) throws {
        var address = address
        listener = OwnedDescriptor(
            try SystemError.check(
                unsafe nm_stream_listen(&address),
                "listen on \(plan.address)"
            )
        )
        setListening(true)
    }

    /// Accepts, or has whoever comes wait until the peer that is there has gone.
    private func setListening(_ isOn: Bool) {
        guard let listener else { return }
        if let listenToken { loop.unwatch(listener, listenToken) }
        listenToken = nil
        guard isOn else { return }
        listenToken = try? loop.watch(listener) { [unowned self] _ in accept() }
        reason =
            "waiting for a peer on \(plan.address)" + (lastEnd.map { "; the last: \($0)" } ?? "")
    }

    private func accept() {
        guard let listener, connection == nil else { return }
        let number = nm_stream_accept(listener.number)
        guard number >= 0 else { return }
        begin(OwnedDescriptor(number))
    }

    // MARK: Connecting

    private func connect() {
        timer = nil
        guard candidates.isEmpty else { return connectToNext("") }
        switch plan.address {
        case .unix(let path):
            do {
                candidates = [try nm_address.unix(path)]
                connectToNext("")
            } catch {
                retry("\(error)")
            }
        case .inet(let address):
            if reason == nil { reason = "looking \(address.host) up" }
            lookup.find(address, isListening: false) { [unowned self] result in
                switch result {
                case .success(let found):
                    candidates = found
                    connectToNext("")
                case .failure(let error): retry("\(error)")
                }
            }
        case .file: break
        }
    }

    /// Tries the next of the addresses that the host has.
    private func connectToNext(_ why: String) {
        guard !candidates.isEmpty else { return retry(why) }
        var address = candidates.removeFirst()
        var isPending: Int32 = 0
        let number = unsafe nm_stream_connect(&address, &isPending)
        guard number >= 0 else { return failed(number) }
        let file = OwnedDescriptor(number)
        guard isPending != 0 else { return connected(file) }
        do {
            let token = try loop.watch(file, for: .writable) { [unowned self] _ in
                let result = nm_socket_error(file.number)
                forgetAttempt()
                if result < 0 { failed(result) } else { connected(file) }
            }
            connecting = (file, token)
            if reason == nil { reason = "connecting to \(plan.address)" }
        } catch {
            retry("\(error)")
        }
    }

    private func failed(_ result: Int32) {
        connectToNext(SystemError("connect to \(plan.address)", result: result).description)
    }

    private func connected(_ file: OwnedDescriptor) {
        candidates = []
        begin(file)
    }

    private func forgetAttempt() {
        if let connecting { loop.unwatch(connecting.file, connecting.token) }
        connecting = nil
    }

    /// Says why there is no connection, and tries again: soon at first, then as often as was asked for.
    private func retry(_ why: String) {
        if reason != why { logger.info("\(why)") }
        reason = why
        guard plan.isServer || plan.reconnect > 0, timer == nil else { return }
        let interval = Double(plan.isServer ? 1000 : plan.reconnect) / 1000
        let delay = min(interval, 0.05 * Double(1 << min(attempts, 12)))
        attempts += 1
        timer = loop.after(delay) { [unowned self] in
            timer = nil
            guard plan.isServer else { return connect() }
            do {
                try listen()
            } catch {
                retry("\(error)")
            }
        }
    }

    // MARK: Being connected

    private func begin(_ file: OwnedDescriptor) {
        var keepsAlive = false
        if case .inet(let address) = plan.address { keepsAlive = address.keepsAlive }
        _ = nm_stream_prepare(file.number, keepsAlive ? Int32(NM_SOCKET_KEEP_ALIVE) : 0)
        setListening(false)
        connection = file
        peer = StreamPort.name(ofPeer: file)
        reason = nil
        connectedAt = nm_monotonic_ns()
        let source = unsafe HostQueue.make(StreamSource(file: file.number, counters: rx))
        unsafe self.source = unsafe source
        unsafe begin(
            source: source,
            sink: HostQueue.make(SocketSink(file: file.number, counters: tx)),
            files: [file]
        )
        logger.info("connected", metadata: ["peer": "\(peer ?? "unknown")"])
        onPeer(true)
    }

    private static func name(ofPeer file: OwnedDescriptor) -> String? {
        var address = nm_address()
        guard unsafe nm_socket_peer(file.number, &address) == 0 else { return nil }
        if let text = address.text { return text }
        var user: UInt32 = 0
        var pid: Int32 = 0
        guard unsafe nm_unix_peer_uid(file.number, &user, &pid) == 0, pid > 0 else { return nil }
        return "pid \(pid)"
    }

    override func roomFile() -> OwnedDescriptor? { connection }

    override func lose(_ why: String) {
        guard connection != nil else { return }
        stopAll()
        connection = nil
        unsafe source = nil
        peer = nil
        lastEnd = why
        logger.info("disconnected: \(why)")
        onPeer(false)
        if listener != nil { return setListening(true) }
        let text = "not connected to \(plan.address); the last: \(why)"
        guard given == nil else { return reason = text }
        // One that is let go again and again is not one that is about to come back.
        if nm_monotonic_ns() - connectedAt > 1_000_000_000 { attempts = 0 }
        retry(text)
    }

    override func explain(_ code: Int32) -> String {
        switch code {
        case SocketFault.ended: "the peer closed the connection"
        case SocketFault.cut: "the peer closed the connection within a frame"
        case SocketFault.badLength:
            "the peer announced a frame of \(unsafe source?.badLength ?? 0) bytes; 1 to "
                + "\(StreamDeframer.maximumLength) are possible"
        default: SystemError("the connection", result: -code).description
        }
    }

    override func describe(_ object: inout JSONObject) {
        if case .unix(let path) = plan.address { object["socket"] = .string(path) }
        object["role"] = plan.isServer ? "server" : "client"
        if let peer { object["peer"] = .string(peer) }
    }
}
