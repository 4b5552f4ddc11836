// A port to the outside: a passt process of its own does NAT, DHCP and DNS, as QEMU's slirp does inside QEMU.

import CNetmap
import Control
import Glibc
import Logging
import Netmap
import Ports

/// A `user` port and its passt.
@safe final class UserPort: SocketPort {
    private let user: UserOptions
    private var passt: WatchedProgram?
    private var confirmation: UInt64?
    /// While passt has closed its socket, but not ended.
    private var farewell: UInt64?
    private var socket: OwnedDescriptor?
    private var restarts = 0
    /// How long it has to run until it counts as running.
    private static let probation = 1.0
    private static let farewellTime = 0.5

    init(_ options: NetdevOptions, _ user: UserOptions, _ place: PortPlace) {
        self.user = user
        unsafe super.init(options, place)
    }

    override var mtu: Int { user.mtu }

    override func open(isRestored: Bool) throws {
        // What would only come out when passt has ended is better said at once.
        if !isRestored { try checkPorts() }
        try super.open(isRestored: isRestored)
    }

    private func checkPorts() throws {
        for rule in user.forwards {
            let code = unsafe nm_can_bind(
                rule.isUDP ? 1 : 0,
                rule.hostAddress ?? "0.0.0.0",
                "\(rule.hostPort)"
            )
            guard code < 0 else { continue }
            throw QMPError(
                "Parameter 'hostfwd' expects a free port of this host: "
                    + SystemError("\(rule)", result: code).description
            )
        }
    }

    override func attach() throws {
        var pair: [Int32] = [-1, -1]
        _ = try SystemError.check(unsafe nm_socket_pair(&pair), "socketpair")
        let ours = OwnedDescriptor(pair[0])
        let theirs = OwnedDescriptor(pair[1])
        // It ends when the socket does: with this port, and with an engine that is killed.
        let child = try start(theirs)
        child.onLine = { [logger] line in logger.debug("passt: \(line)") }
        child.onEnd = { [unowned self] how in
            restarts += 1
            lose("passt \(how)")
        }
        passt = child
        confirmation = loop.after(UserPort.probation) { [unowned self] in
            confirmation = nil
            noteAttached()
        }
        socket = ours
        unsafe begin(
            source: HostQueue.make(StreamSource(file: ours.number, counters: rx)),
            sink: HostQueue.make(
                SocketSink(file: ours.number, filter: outsideFilter, counters: tx)
            ),
            files: [ours]
        )
    }

    /// What passt hears of the frames to all: without an IPv4 network there is nothing that it answers for.
    private var outsideFilter: OutsideFilter {
        let bytes = { (text: String?) in
            (text ?? "0.0.0.0").split(separator: ".").compactMap { UInt8($0) }
        }
        return OutsideFilter(bytes(user.network?.host), bytes(user.network?.dns))
    }

    private func start(_ socket: OwnedDescriptor) throws -> WatchedProgram {
        do throws(SystemError) {
            return try WatchedProgram(
                ["passt", "-f", "-F", "3"] + user.passtOptions,
                passing: socket,
                loop: loop
            )
        } catch {
            guard error.errno == ENOENT else { throw error }
            throw QMPError("passt is not installed: install the package passt (in Debian since 12)")
        }
    }

    /// All is well only when it has stayed: what is wrong with its options it says after its start.
    override func noteAttached() {
        if confirmation == nil { super.noteAttached() }
    }

    override func explain(_ code: Int32) -> String {
        code == SocketFault.badLength
            ? "passt has sent a length that no frame has" : UserPort.closed
    }

    private static let closed = "passt has closed its socket"

    /// A socket that is closed is the first sign of an end, which says more than that.
    override func lose(_ why: String) {
        guard why == UserPort.closed, passt != nil, farewell == nil else { return loseNow(why) }
        stopAll()
        if let confirmation { loop.cancel(confirmation) }
        farewell = loop.after(UserPort.farewellTime) { [unowned self] in loseNow(why) }
    }

    private func loseNow(_ why: String) { super.lose(why) }

    override func roomFile() -> OwnedDescriptor? { socket }

    override func detach() {
        if let confirmation { loop.cancel(confirmation) }
        confirmation = nil
        if let farewell { loop.cancel(farewell) }
        farewell = nil
        passt = nil
        socket = nil
    }

    override func describe(_ object: inout JSONObject) {
        if let passt { object["process"] = .integer(Int(passt.process)) }
        object["restarts"] = .integer(restarts)
        if let network = user.network {
            object["guest-address"] = .string(network.guest)
            object["host-address"] = .string(network.host)
            object["dns-address"] = .string(network.dns)
        }
        object["hostfwd"] = .array(user.forwards.map { .string("\($0)") })
    }
}
