// Opening tap interfaces.

import CNetmap
import Glibc
public import Netmap

/// One queue of a tap interface (Documentation/networking/tuntap in the kernel's tree).
public struct TapDevice {
    /// The descriptor: one frame a read, one a write, each behind its virtio-net header if there is one.
    public let file: OwnedDescriptor
    /// What the interface is called.
    public let name: String
    /// Whether frames have virtio-net headers.
    public let hasVnetHeader: Bool

    /// Bytes of a virtio-net header here: without `num_buffers`, which a tap does not use.
    @inlinable public static var headerLength: Int { @_noLocks get { 10 } }

    /// Opens one queue of an interface, which is made if there is none.
    ///
    /// - Parameters:
    ///   - name: the interface; nil for a new one that the kernel names.
    ///   - hasVnetHeader: whether checksums and segmentation may be left open.
    ///   - isMultiQueue: whether the interface has several queues; all of one have to say the same.
    ///   - namespace: the network namespace that it is in; nil for this process's.
    /// - Throws: what the kernel said.
    public init(
        name: String?,
        hasVnetHeader: Bool,
        isMultiQueue: Bool,
        namespace: OwnedDescriptor? = nil
    ) throws(SystemError) {
        var buffer = Array(repeating: CChar(0), count: 16)
        for (index, byte) in (name ?? "").utf8.prefix(15).enumerated() {
            buffer[index] = CChar(bitPattern: byte)
        }
        var flags: Int32 = 0
        if hasVnetHeader { flags |= Int32(NM_TAP_VNET_HEADER) }
        if isMultiQueue { flags |= Int32(NM_TAP_MULTI_QUEUE) }
        let what = name.map { "tap interface \($0)" } ?? "a tap interface"
        file = OwnedDescriptor(
            try SystemError.check(
                unsafe nm_tap_open_in(namespace?.number ?? -1, &buffer, flags),
                "open \(what)"
            )
        )
        self.name = Self.text(buffer)
        self.hasVnetHeader = hasVnetHeader
        try setOffloads()
    }

    /// Takes over an interface's descriptor that somebody else opened.
    ///
    /// - Throws: what the kernel said, or what about the interface is of no use.
    public init(adopting file: OwnedDescriptor) throws(SystemError) {
        var buffer = Array(repeating: CChar(0), count: 16)
        let flags = unsafe nm_tap_inspect(file.number, &buffer)
        if flags == -EMEDIUMTYPE {
            throw SystemError(
                "the descriptor is of a tun interface, which has no Ethernet frames",
                result: -EMEDIUMTYPE
            )
        }
        if flags == -EPROTO {
            throw SystemError(
                "the descriptor's frames begin with packet information (no IFF_NO_PI)",
                result: -EPROTO
            )
        }
        _ = try SystemError.check(flags, "the descriptor is of no tap interface")
        self.file = file
        name = Self.text(buffer)
        hasVnetHeader = flags & Int32(NM_TAP_VNET_HEADER) != 0
        try setOffloads()
    }

    private func setOffloads() throws(SystemError) {
        guard hasVnetHeader else { return }
        _ = try SystemError.check(
            nm_tap_set_offload(file.number, Int32(TapDevice.headerLength)),
            "set the offloads of \(name)"
        )
    }

    /// Sets the interface up.
    ///
    /// - Parameters:
    ///   - mtu: its MTU; nil leaves it.
    ///   - bridge: what it joins, if anything.
    ///   - namespace: where it is.
    /// - Throws: what the kernel said.
    public func setUp(
        mtu: Int?,
        bridge: String?,
        namespace: OwnedDescriptor?
    ) throws(SystemError) {
        let what = bridge.map { "set \(name) up on bridge \($0)" } ?? "set \(name) up"
        let result = unsafe nm_interface_set_up(
            namespace?.number ?? -1,
            name,
            Int32(mtu ?? 0),
            bridge
        )
        _ = try SystemError.check(result, what)
    }

    /// Has the interface stay, or go, when nobody has it open.
    ///
    /// - Throws: what the kernel said.
    public func setPersistent(_ isPersistent: Bool) throws(SystemError) {
        _ = try SystemError.check(
            nm_tap_set_persistent(file.number, isPersistent ? 1 : 0),
            "make \(name) persistent"
        )
    }

    /// The interface's MTU, wherever it is now; nil if the kernel does not say.
    public static func mtu(of file: OwnedDescriptor) -> Int? {
        let mtu = nm_tap_mtu(file.number)
        return mtu > 0 ? Int(mtu) : nil
    }

    private static func text(_ buffer: [CChar]) -> String {
        String(
            decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
            as: UTF8.self
        )
    }
}
