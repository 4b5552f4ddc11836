// The XDP program of a port: six instructions that give each frame to the socket of its queue, or, if there
// is none, to the stack. It hangs on the interface by a link of the kernel's (BPF_LINK_CREATE), which goes with its last
// descriptor, however this process ends; a program that libxdp attaches stays.

import CNetmap
import Glibc
public import Netmap

/// How frames of an interface find our sockets.
public final class XDPProgram: Sendable {
    private let map: OwnedDescriptor
    /// Keeps our program attached; nil if somebody else's is.
    private let link: OwnedDescriptor?
    /// Whether the program runs in the driver; nil if it is somebody else's.
    public let isNative: Bool?

    /// Attaches a program of our own.
    ///
    /// - Parameters:
    ///   - interface: what to attach it to.
    ///   - wanted: whether it is to run in the driver; nil for there if possible.
    ///   - queues: how many queues its map has room for.
    /// - Throws: what is wrong, for people.
    public init(
        _ interface: NetworkInterface,
        isNative wanted: Bool?,
        queues: Int
    ) throws {
        map = OwnedDescriptor(
            try SystemError.check(
                nm_bpf_socket_map(UInt32(queues)),
                "make a BPF map (needs CAP_BPF and CAP_NET_ADMIN, and memlock before Linux 5.11)"
            )
        )
        let areSeveral = XDPSocket.chunks(mtu: interface.mtu).areSeveral
        let program = OwnedDescriptor(
            try SystemError.check(
                nm_bpf_redirect_program(map.number, areSeveral ? 1 : 0),
                "load an XDP program"
            )
        )
        var result: Int32 = -EOPNOTSUPP
        var isNative = wanted ?? true
        if isNative {
            result = nm_bpf_attach(program.number, interface.index, UInt32(NM_XDP_DRV_MODE))
        }
        // Taken already, or not allowed: elsewhere it is the same.
        if wanted != true, result < 0, ![-EBUSY, -EEXIST, -EPERM, -ENODEV].contains(result) {
            isNative = false
            result = nm_bpf_attach(program.number, interface.index, UInt32(NM_XDP_SKB_MODE))
        }
        guard result >= 0 else {
            throw XDPProgram.explain(-result, interface, isNative: isNative)
        }
        link = OwnedDescriptor(result)
        self.isNative = isNative
    }

    /// Uses the map of a program that somebody else has loaded.
    ///
    /// - Parameter path: where the map is pinned, below a bpf file system.
    /// - Throws: what is wrong, for people.
    public init(pinned path: String) throws {
        let result = unsafe nm_bpf_open_pinned(path)
        guard result != -EMEDIUMTYPE else {
            throw InterfaceError("map-path \(path) is no map of AF_XDP sockets (XSKMAP)")
        }
        map = OwnedDescriptor(try SystemError.check(result, "open the map at \(path)"))
        link = nil
        isNative = nil
    }

    /// Sends the frames of a queue to a socket that is bound to it.
    public func enter(_ socket: XDPSocket) throws(SystemError) {
        _ = try SystemError.check(
            nm_bpf_map_set(map.number, UInt32(socket.queue), UInt32(socket.file.number)),
            "enter queue \(socket.queue) into the XDP program's map"
        )
    }

    /// Ends what `enter` began; where the program is our own, it goes too.
    public func remove(_ socket: XDPSocket) {
        _ = nm_bpf_map_delete(map.number, UInt32(socket.queue))
    }

    private static func explain(
        _ code: Int32,
        _ interface: NetworkInterface,
        isNative: Bool
    ) -> InterfaceError {
        let name = interface.name
        let what =
            switch code {
            case EBUSY, EEXIST:
                "\(name) has an XDP program already; 'ip link set \(name) xdp off' ends it, or "
                    + "inhibit=on,map-path=... uses it"
            case EINVAL where !isNative:
                "this kernel cannot attach XDP programs by links (Linux 5.9 can); use type=packet"
            case EOPNOTSUPP, EINVAL:
                "the driver of \(name) (\(interface.driver)) runs no XDP programs as it is; use mode=skb, "
                    + "or leave mode out"
            case ERANGE:
                "the MTU of \(name) is too large for XDP in its driver; lower it, or use mode=skb"
            case ENOSPC:
                "\(name) has fewer receive queues than its peer has transmit queues; make them equal "
                    + "(ethtool -L), or use mode=skb"
            default: "\(SystemError("attach an XDP program to \(name)", result: -code))"
            }
        return InterfaceError(what, errno: code)
    }
}
