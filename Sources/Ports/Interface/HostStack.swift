// The host's own stack as a port beside its interface, as netmap has it (eth0^): what the host sends by the
// interface comes out of a tap instead, and what is written to the tap comes into the host as if by the interface.
// Two programs of one instruction each do that; they hang on links that end with this process.

import CNetmap
import Glibc
import Netmap

/// Parts an interface from its host stack while it exists.
public final class HostStack {
    /// Where the stack's frames come and go.
    public let tap: TapDevice
    private let links: [OwnedDescriptor]

    /// Puts a tap between an interface and the host's stack.
    ///
    /// - Throws: what is wrong, for people.
    public init(_ interface: NetworkInterface) throws {
        let name = "\(interface.name)^"
        guard name.utf8.count < 16 else {
            throw InterfaceError(
                "the name \(interface.name) is too long by one character for a host stack \(name)"
            )
        }
        tap = try TapDevice(name: name, hasVnetHeader: true, isMultiQueue: false)
        // Its addresses are the interface's; of its own it has nothing to say.
        HostStack.write("1", to: "/proc/sys/net/ipv6/conf/\(name)/disable_ipv6")
        try tap.setUp(mtu: interface.mtu, bridge: nil, namespace: nil)
        let other = try NetworkInterface(name)
        links = [
            try HostStack.forward(from: other, to: interface, isEgress: false),
            try HostStack.forward(from: interface, to: other, isEgress: true),
        ]
    }

    private static func forward(
        from: NetworkInterface,
        to: NetworkInterface,
        isEgress: Bool
    ) throws(InterfaceError) -> OwnedDescriptor {
        let program = nm_bpf_forward_program(to.index, isEgress ? 0 : 1)
        guard program >= 0 else {
            throw InterfaceError(
                "\(SystemError("load a tc program for \(from.name)", result: program))",
                errno: -program
            )
        }
        let owner = OwnedDescriptor(program)
        let link = nm_bpf_attach_tc(owner.number, from.index, isEgress ? 1 : 0)
        guard link >= 0 else {
            let why = link == -EINVAL ? "this kernel cannot (Linux 6.6 can)" : nil
            let said = SystemError("attach a tc program to \(from.name)", result: link)
            throw InterfaceError(
                "the host stack of an interface cannot be a port: \(why ?? said.description)",
                errno: -link
            )
        }
        return OwnedDescriptor(link)
    }

    private static func write(_ text: String, to path: String) {
        let file = unsafe nm_open_read_write(path)
        guard file >= 0 else { return }
        _ = unsafe Glibc.write(file, text, text.utf8.count)
        close(file)
    }
}
