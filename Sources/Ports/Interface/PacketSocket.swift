// A packet socket on an interface: what both queues of such a port use.

import CNetmap
import Glibc
public import Netmap

/// A packet socket with a receive ring that the kernel fills (packet_mmap in the kernel's documentation).
@safe public final class PacketSocket: Sendable {
    /// Blocks of the ring.
    static let blocks = 32
    /// Bytes of a block: the longest frame that segmentation leaves whole fits.
    static let blockSize = 128 << 10

    /// The socket.
    public let file: OwnedDescriptor
    private let ring: Mapping?

    /// Opens a socket that hears `interface`.
    ///
    /// - Parameters:
    ///   - interface: whose frames are received and sent.
    ///   - hasRing: whether the kernel fills a ring, instead of being asked for each frame.
    ///   - bypassesQdisc: whether frames are sent past the queueing discipline.
    ///   - isPromiscuous: whether frames to all addresses are heard; ends with the socket.
    /// - Throws: when the kernel refuses.
    public init(
        _ interface: NetworkInterface,
        hasRing: Bool,
        bypassesQdisc: Bool,
        isPromiscuous: Bool
    ) throws(SystemError) {
        var flags: Int32 = 0
        if bypassesQdisc { flags |= Int32(NM_PACKET_BYPASS) }
        if isPromiscuous { flags |= Int32(NM_PACKET_PROMISCUOUS) }
        file = OwnedDescriptor(
            try SystemError.check(
                nm_packet_open(
                    interface.index,
                    flags,
                    hasRing ? UInt32(PacketSocket.blocks) : 0,
                    UInt32(PacketSocket.blockSize)
                ),
                "open a packet socket on \(interface.name)"
            )
        )
        let length = PacketSocket.blocks * PacketSocket.blockSize
        ring = hasRing ? try Mapping(file, length: length) : nil
    }

    /// The frames that come in; the socket must outlive it.
    public func makeSource(counters: DirectionCounters) -> HostQueue {
        guard let ring else {
            let reader = PacketReader(file: file.number)
            return unsafe HostQueue.make(InboxSource(.packet(reader), counters: counters))
        }
        // SAFETY: the mapping is as long as the ring.
        return unsafe HostQueue.make(
            PacketSource(
                unsafeBase: ring.base,
                blocks: PacketSocket.blocks,
                blockSize: PacketSocket.blockSize,
                file: file.number,
                counters: counters
            )
        )
    }

    /// Where frames go out; the socket must outlive it.
    public func makeSink() -> PacketSink { PacketSink(file: file.number) }
}
