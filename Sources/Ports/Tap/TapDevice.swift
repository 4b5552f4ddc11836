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
    /// - Throws: what the kernel said.
    public init(
        name: String?,
        hasVnetHeader: Bool,
        isMultiQueue: Bool
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
            try SystemError.check(unsafe nm_tap_open(&buffer, flags), "open \(what)")
        )
        self.name = String(
            decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
            as: UTF8.self
        )
        self.hasVnetHeader = hasVnetHeader
        guard hasVnetHeader else { return }
        _ = try SystemError.check(
            nm_tap_set_offload(file.number, Int32(TapDevice.headerLength)),
            "set the offloads of \(what)"
        )
    }
}
