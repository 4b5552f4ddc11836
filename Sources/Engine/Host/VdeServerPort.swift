// A directory that VDE's clients plug into, as into vde_switch's: QEMU, vde_plug, every program with libvdeplug.

import CNetmap
import Control
import Glibc
import Logging
import Netmap
import Ports

/// A `vde` netdev with server=on: no frames pass through it, but its clients are ports of its switch.
@safe final class VdeServerPort: Port {
    private let options: NetdevOptions
    private let vde: VdeOptions
    private let loop: EventLoop
    private let access: SocketAccess
    private var listener: (file: OwnedDescriptor, token: UInt64)?
    private var plugs: [UInt64: Plug] = [:]
    private var nextPlug: UInt64 = 1
    private var sockets = 0
    /// Whether the directory was not there before this port.
    private var isDirectoryOurs = false
    private var retryTimer: UInt64?
    /// Makes a client's port; `Engine.addPlugged`.
    var add: (NetdevOptions, (PortPlace) -> Port) throws -> Port = { _, _ in throw QMPError("") }
    /// Takes it away.
    var remove: (UInt16) -> Void = { _ in }

    /// One connection to the control socket.
    private final class Plug {
        let file: OwnedDescriptor
        var token: UInt64 = 0
        /// The client's port of the VDE switch, once it has one.
        var place: Int?
        var port: UInt16?
        var timer: UInt64?

        init(_ file: OwnedDescriptor) { self.file = file }
    }

    private static let maximumPlugs = 255
    private static let patience = 5.0

    init(_ options: NetdevOptions, _ vde: VdeOptions, _ place: PortPlace) {
        self.options = options
        self.vde = vde
        unsafe loop = place.loop
        access = SocketAccess(mode: vde.mode, group: vde.group)
        unsafe super.init(
            ifname: "\(options.port)",
            master: options.port.master,
            id: options.id,
            owner: place.owner,
            lossless: nil,
            plane: PortPlane.make(
                place.number,
                vale: place.vale,
                pairs: 1,
                page: place.page,
                lossless: nil
            ),
            pool: place.pool,
            logger: place.logger
        )
    }

    override var netdev: NetdevOptions? { options }
    override var type: String { options.type }
    override var carriesFrames: Bool { false }
    override var isConnected: Bool { clients > 0 }
    override var isRunning: Bool { listener != nil }
    private var path: String { vde.directory + "/ctl" }
    private var clients: Int { plugs.values.count { $0.port != nil } }

    override func open(isRestored: Bool) throws {
        // Made by an engine before this one, then; and it goes only if nobody has put anything in.
        isDirectoryOurs = isRestored
        do {
            try listen()
        } catch {
            guard isRestored else { throw error }
            reason = "\(error)"
            tryAgain()
        }
    }

    private func listen() throws {
        let isNew = unsafe mkdir(vde.directory, 0o700) == 0
        if isNew { isDirectoryOurs = true }
        try SocketFile.clear(path)
        if !isNew && isDirectoryOurs { removeLeftovers() }
        let file = OwnedDescriptor(
            try SystemError.check(unsafe nm_unix_listen(path), "listen on \(path)")
        )
        if isNew { try access.apply(to: vde.directory, isDirectory: true) }
        try access.apply(to: path)
        listener = (file, try loop.watch(file) { [unowned self] _ in accept() })
        reason = nil
    }

    /// Removes the data sockets of an engine that was killed: their clients have seen its end.
    private func removeLeftovers() {
        guard let directory = unsafe opendir(vde.directory) else { return }
        defer { unsafe closedir(directory) }
        while let entry = unsafe readdir(directory) {
            // SAFETY: the entry is valid until the next call, and its name ends in a zero.
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
            }
            let parts = name.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count == 2, parts.allSatisfy({ UInt($0) != nil }) else { continue }
            _ = unsafe unlink("\(vde.directory)/\(name)")
        }
    }

    private func tryAgain() {
        retryTimer = loop.after(5) { [unowned self] in
            retryTimer = nil
            do {
                try listen()
            } catch {
                reason = "\(error)"
                tryAgain()
            }
        }
    }

    override func close() {
        if let retryTimer { loop.cancel(retryTimer) }
        for id in Array(plugs.keys) { end(id) }
        if let listener {
            loop.unwatch(listener.file, listener.token)
            _ = unsafe unlink(path)
            if isDirectoryOurs { _ = unsafe rmdir(vde.directory) }
        }
        listener = nil
        super.close()
    }

    // MARK: Clients

    private func accept() {
        guard let listener else { return }
        let number = nm_unix_accept(listener.file.number)
        guard number >= 0 else { return }
        let plug = Plug(OwnedDescriptor(number))
        guard plugs.count < VdeServerPort.maximumPlugs else {
            logger.warning("refused a VDE client: \(plugs.count) are plugged in already")
            return
        }
        let id = nextPlug
        nextPlug += 1
        guard
            let token = try? loop.watch(plug.file, { [unowned self] _ in read(id) })
        else { return }
        plug.token = token
        plug.timer = loop.after(VdeServerPort.patience) { [unowned self] in
            plugs[id]?.timer = nil
            end(id, "it asked for nothing")
        }
        plugs[id] = plug
    }

    private func read(_ id: UInt64) {
        guard let plug = plugs[id] else { return }
        var buffer = [UInt8](repeating: 0, count: 1024)
        let n = unsafe nm_receive(plug.file.number, &buffer, buffer.count, nil, nil)
        if n == -Int64(EAGAIN) { return }
        guard n > 0 else { return end(id) }
        // Later it says nothing, and what it says means nothing.
        guard plug.port == nil else { return }
        do {
            // A request has no length of its own: clients write it at once, and wait for the answer.
            try connect(plug, VdeRequest(Array(buffer.prefix(Int(n)))), id)
        } catch {
            end(id, "\(error)")
        }
    }

    private func connect(_ plug: Plug, _ request: VdeRequest, _ id: UInt64) throws {
        var user: UInt32 = 0
        var process: Int32 = 0
        _ = try SystemError.check(
            unsafe nm_unix_peer_uid(plug.file.number, &user, &process),
            "look at a VDE client"
        )
        let place = try place(request.port)
        sockets += 1
        let name = "\(place)"
        let padding = String(repeating: "0", count: max(0, 3 - name.count))
        let data = try DatagramSocket("\(vde.directory)/\(padding)\(name).\(sockets)")
        try access.apply(to: data.path)
        _ = try SystemError.check(
            unsafe nm_unix_datagram_connect_to(data.file.number, request.path, user),
            "connect to \(request.path)"
        )
        let options = NetdevOptions(
            id: "\(options.id).\(place)",
            port: try portName(request.description, process),
            lossless: options.lossless,
            backend: options.backend
        )
        let port = unsafe try add(options) { place in
            unsafe VdePlugPort(options, data: data, client: request.description, place)
        }
        (port as? VdePlugPort)?.onEnd = { [weak self] why in self?.end(id, why) }
        plug.place = place
        plug.port = port.number
        if let timer = plug.timer { loop.cancel(timer) }
        plug.timer = nil
        let answer = VdeAddress(data.path).bytes
        let sent = unsafe nm_send(plug.file.number, answer, answer.count, nil, 0)
        if sent != Int64(answer.count) { end(id, "it takes no answer") }
    }

    /// A free port of the VDE switch, or the one that is wanted.
    private func place(_ wanted: Int) throws -> Int {
        let taken = Set(plugs.values.compactMap(\.place))
        guard wanted == 0 || (wanted <= 0xffff && !taken.contains(wanted)) else {
            throw QMPError("port \(wanted) of the VDE switch is taken")
        }
        return wanted != 0 ? wanted : (1...).first { !taken.contains($0) } ?? 1
    }

    /// What a client's port is called: what it calls itself, and its process.
    private func portName(_ description: String, _ process: Int32) throws -> ValePortName {
        let word = description.unicodeScalars.prefix { $0 != " " && $0 != ":" }.filter {
            $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0))
        }
        let first = word.isEmpty ? "vde" : String(String.UnicodeScalarView(word))
        var count = 1
        while true {
            let suffix = count == 1 ? "-\(process)" : "-\(process)-\(count)"
            let room = max(1, ValePortName.maximumLength - suffix.count)
            let name = "\(options.port.master):\(first.prefix(room))\(suffix)"
            if !isTaken(name) { return try ValePortName(name) }
            count += 1
        }
    }

    /// Whether a port of that name is there already.
    var isTaken: (String) -> Bool = { _ in false }

    /// Ends a connection, and the port that came with it.
    private func end(_ id: UInt64, _ why: String? = nil) {
        guard let plug = plugs.removeValue(forKey: id) else { return }
        if let why { logger.warning("let a VDE client go: \(why)") }
        if let timer = plug.timer { loop.cancel(timer) }
        loop.unwatch(plug.file, plug.token)
        if let port = plug.port { remove(port) }
    }

    override func describe(_ object: inout JSONObject) {
        object["socket"] = .string(path)
        object["clients"] = .integer(clients)
    }
}
