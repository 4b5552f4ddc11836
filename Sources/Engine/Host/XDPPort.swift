// A port on an interface of the host, by AF_XDP.

import Control
import Glibc
import Logging
import Netmap
import Ports

/// AF_XDP sockets on some queues of an interface, whose frames the host's own stack does not see any more.
@safe final class XDPPort: InterfacePort {
    private let xdp: XDPOptions
    private var program: XDPProgram?
    /// Sockets that were passed for the port, and are not bound yet.
    private var passed: [OwnedDescriptor] = []
    private var sockets: [XDPSocket] = []
    private var hold: PromiscuousHold?
    private var mtuOfSockets = 0

    init(_ options: NetdevOptions, _ xdp: XDPOptions, _ place: PortPlace) throws(QMPError) {
        self.xdp = xdp
        for name in xdp.sockets {
            let file = try unsafe place.takeFile(name)
            guard XDPSocket.isOne(file.number) else {
                throw QMPError("sock-fds: '\(name)' is no AF_XDP socket")
            }
            passed.append(file)
        }
        unsafe super.init(options, interface: xdp.ifname, pairs: xdp.queues, place)
    }

    override func connect(_ interface: NetworkInterface) throws {
        let last = xdp.startQueue + xdp.queues - 1
        guard last < interface.queues else {
            throw QMPError(
                "\(xdp.ifname) has \(interface.queues) receive queues, and queue \(last) is not one of them; "
                    + "see start-queue and queues"
            )
        }
        guard xdp.sockets.isEmpty || !passed.isEmpty else {
            throw QMPError(
                "the sockets that were passed for \(ifname) were those of an interface that is gone; "
                    + "remove the port and add it with new ones"
            )
        }
        let given = passed
        passed = []
        let program = try makeProgram(interface)
        self.program = program
        mtuOfSockets = interface.mtu
        for index in 0..<xdp.queues {
            let socket = try XDPSocket(
                interface,
                queue: xdp.startQueue + index,
                given: given.isEmpty ? nil : given[index]
            )
            try socket.bind(copies: xdp.forcesCopy || program?.isNative == false)
            sockets.append(socket)
        }
        hold = try PromiscuousHold(interface)
        let inStack = program?.isNative == false
        // What is known of a frame besides its bytes does not reach an AF_XDP socket.
        let isLocal = inStack || ["veth", "tun", "virtio_net"].contains(interface.driver)
        lookAtOffloads(interface, inStack: inStack)
        for (index, socket) in sockets.enumerated() {
            unsafe start(
                index,
                source: HostQueue.make(socket.makeSource(counters: rx, repairs: isLocal)),
                sink: HostQueue.make(socket.makeSink(counters: tx)),
                files: [socket.file]
            )
            try program?.enter(socket)
        }
        logger.info("on \(xdp.ifname): \(manner)")
    }

    private func makeProgram(_ interface: NetworkInterface) throws -> XDPProgram? {
        if let path = xdp.mapPath { return try XDPProgram(pinned: path) }
        if xdp.inhibits { return nil }
        return try XDPProgram(
            interface,
            isNative: xdp.mode.map { $0 == .native },
            queues: interface.queues
        )
    }

    private func lookAtOffloads(_ interface: NetworkInterface, inStack: Bool) {
        switchOff(.lro, because: "frames that the card joins are no frames any more")
        if interface.driver == "veth" {
            warn(
                "VLAN tags that interfaces on a veth's other end add do not arrive by AF_XDP: there, "
                    + "'ethtool -K IFNAME txvlan off'; or use type=packet"
            )
            if inStack {
                warn(
                    "long frames that a veth's other end leaves whole do not arrive in mode=skb: "
                        + "there, 'ethtool -K IFNAME tso off gso off'; or use mode=native"
                )
            }
        } else {
            switchOff(.receiveVLAN, because: "VLAN tags that the card takes off are lost by AF_XDP")
        }
        if inStack {
            switchOff(.gro, because: "frames that the stack joins do not fit into a chunk")
        }
        let served = xdp.startQueue..<xdp.startQueue + xdp.queues
        if served.count < interface.queues, xdp.mapPath == nil, !xdp.inhibits {
            warn(
                "\(xdp.ifname) has \(interface.queues) receive queues, of which \(served.count) are the "
                    + "port's; frames of the others go to the host: 'ethtool -L \(xdp.ifname) combined "
                    + "\(served.count)', or queues=\(interface.queues)"
            )
        }
    }

    override func disconnect() {
        if let program { for socket in sockets { program.remove(socket) } }
        program = nil
        sockets = []
        hold = nil
    }

    override func suits(_ interface: NetworkInterface) -> Bool { interface.mtu == mtuOfSockets }

    /// How frames come and go, in the words of AF_XDP.
    private var manner: String {
        let mode = program.flatMap(\.isNative).map { $0 ? "native" : "skb" } ?? "inhibit"
        return "\(mode), \(sockets.allSatisfy(\.isZeroCopy) ? "zero-copy" : "copy")"
    }

    override func describe(_ object: inout JSONObject) {
        super.describe(&object)
        if !sockets.isEmpty { object["xdp"] = .string(manner) }
    }
}
