// An AF_XDP socket on one queue of an interface: its memory, its four rings, and how it is bound
// (Documentation/networking/af_xdp.rst in the kernel's tree).

import CNetmap
import Glibc
public import Netmap

/// What cannot be done with an interface, for people.
public struct InterfaceError: Error, CustomStringConvertible {
    /// What is wrong, and what to do.
    public let description: String
    /// The errno behind it, or 0.
    public let errno: Int32

    init(_ description: String, errno: Int32 = 0) {
        self.description = description
        self.errno = errno
    }
}

/// A socket of one queue, with the memory that frames are in.
@safe public final class XDPSocket: @unchecked Sendable {
    // Unchecked: constant after init; what lies in the memory is the queues' business.

    /// Chunks for frames that come in, and entries of the rings that carry them.
    static let received = 2048
    /// Chunks for frames that go out, and entries of the rings that carry them.
    static let sent = 1024

    /// The socket.
    public let file: OwnedDescriptor
    /// Bytes of a chunk.
    public let chunk: Int
    /// Whether a frame may lie in several chunks.
    public let hasFragments: Bool
    /// Whether the card reads and writes the memory itself.
    public private(set) var isZeroCopy = false
    /// Which queue of the interface.
    public let queue: Int
    private let interface: NetworkInterface
    private let memory: Mapping
    private let mappings: [Mapping]
    private let rx, tx, fill, completion: XDPRingMemory

    /// Whether a descriptor of this process is an AF_XDP socket.
    public static func isOne(_ number: Int32) -> Bool { nm_xdp_is_socket(number) == 1 }

    /// The chunks that frames of an interface take.
    ///
    /// - Returns: bytes of a chunk, and whether the longest frame takes several.
    static func chunks(mtu: Int) -> (size: Int, areSeveral: Bool) {
        let frame = mtu + 14 + 8
        if frame <= 2048 - Int(NM_XDP_HEADROOM) { return (2048, false) }
        return (4096, frame > 4096 - Int(NM_XDP_HEADROOM))
    }

    /// Makes a socket for a queue; `bind` puts it there.
    ///
    /// - Parameters:
    ///   - interface: whose queue.
    ///   - queue: which.
    ///   - given: a socket that somebody else has made, and not bound.
    /// - Throws: when the kernel refuses.
    public init(
        _ interface: NetworkInterface,
        queue: Int,
        given: OwnedDescriptor? = nil
    ) throws {
        self.interface = interface
        self.queue = queue
        (chunk, hasFragments) = XDPSocket.chunks(mtu: interface.mtu)
        let file =
            try given
            ?? OwnedDescriptor(try SystemError.check(nm_xdp_socket(), "open an AF_XDP socket"))
        self.file = file
        let length = (XDPSocket.received + XDPSocket.sent) * chunk
        let memoryFile = OwnedDescriptor(
            try SystemError.check(
                unsafe nm_memfd_create("wirevale-umem", UInt64(length)),
                "make memory for \(interface.name)"
            )
        )
        memory = try Mapping(memoryFile, length: length)
        let number = file.number
        let what = "set up the AF_XDP socket of queue \(queue) of \(interface.name)"
        _ = try SystemError.check(
            unsafe nm_xdp_register(number, memory.base, UInt64(length), UInt32(chunk)),
            "\(what): register \(length >> 20) MiB"
        )
        let sizes = [
            (NM_XDP_FILL, XDPSocket.received), (NM_XDP_COMPLETION, XDPSocket.sent),
            (NM_XDP_RX, XDPSocket.received), (NM_XDP_TX, XDPSocket.sent),
        ]
        for (ring, size) in sizes {
            _ = try SystemError.check(
                nm_xdp_ring(number, Int32(ring), UInt32(size)),
                what
            )
        }
        var layout = nm_xdp_layout()
        _ = try SystemError.check(unsafe nm_xdp_layout(number, &layout), what)
        var mappings: [Mapping] = []
        func map(
            _ ring: Int,
            _ offsets: nm_xdp_offsets,
            _ size: Int,
            _ stride: Int
        ) throws -> XDPRingMemory {
            let mapping = try Mapping(
                file,
                length: Int(offsets.descriptors) + size * stride,
                offset: Int(nm_xdp_page_offset(Int32(ring)))
            )
            mappings.append(mapping)
            // SAFETY: the mapping is as long as the kernel's layout asks for.
            return unsafe XDPRingMemory(
                unsafeBase: mapping.base,
                offsets,
                size: UInt32(size)
            )
        }
        let wide = Int(NM_XDP_DESCRIPTOR)
        rx = try map(NM_XDP_RX, layout.rx, XDPSocket.received, wide)
        tx = try map(NM_XDP_TX, layout.tx, XDPSocket.sent, wide)
        fill = try map(NM_XDP_FILL, layout.fill, XDPSocket.received, 8)
        completion = try map(NM_XDP_COMPLETION, layout.completion, XDPSocket.sent, 8)
        self.mappings = mappings
    }

    /// Puts the socket on its queue.
    ///
    /// - Parameter copies: whether frames are to be copied even if the driver could do without.
    /// - Throws: what is wrong, for people.
    public func bind(copies: Bool) throws(InterfaceError) {
        var producer = XDPProducer(fill)
        for number in 0..<XDPSocket.received { producer.push(UInt64(number * chunk)) }
        producer.publish()
        var flags = NM_XDP_WAKEUP
        if copies { flags |= NM_XDP_COPY }
        if hasFragments { flags |= NM_XDP_FRAGMENTS }
        var result = nm_xdp_bind(file.number, interface.index, UInt32(queue), UInt16(flags))
        // The kernel lets go of a socket that was closed just now a little later, on a thread of its own.
        for _ in 0..<10 where -result == EBUSY {
            usleep(5000)
            result = nm_xdp_bind(file.number, interface.index, UInt32(queue), UInt16(flags))
        }
        guard result < 0 else {
            isZeroCopy = nm_xdp_is_zero_copy(file.number) == 1
            nm_xdp_raise_budget(file.number, UInt32(FrameBatch.frameCapacity))
            return
        }
        let place = "queue \(queue) of \(interface.name)"
        if -result == EBUSY {
            throw InterfaceError("\(place) has an AF_XDP socket already", errno: EBUSY)
        }
        if -result == EINVAL, hasFragments {
            let longest = 4096 - Int(NM_XDP_HEADROOM) - 14 - 8
            throw InterfaceError(
                "an MTU of \(interface.mtu) makes frames of several chunks, which this kernel or driver "
                    + "does not have (Linux 6.6 has); set the MTU of \(interface.name) to at most "
                    + "\(longest), or use type=packet",
                errno: EINVAL
            )
        }
        throw InterfaceError(
            "\(SystemError("bind an AF_XDP socket to \(place)", result: result))",
            errno: -result
        )
    }

    /// The frames that come in; the socket must outlive it.
    ///
    /// - Parameters:
    ///   - counters: of the direction from the port.
    ///   - repairs: whether checksums of local senders may be missing.
    /// - Returns: what a worker serves.
    public func makeSource(counters: DirectionCounters, repairs: Bool) -> XDPSource {
        // SAFETY: the memory holds all chunks.
        unsafe XDPSource(
            unsafeBase: memory.base,
            size: memory.length,
            chunk: chunk,
            rx: XDPConsumer(rx),
            fill: XDPProducer(fill),
            tx: tx,
            file: file.number,
            hasFragments: hasFragments,
            repairs: repairs,
            counters: counters
        )
    }

    /// Where frames go out; the socket must outlive it.
    public func makeSink(counters: DirectionCounters) -> XDPSink {
        // SAFETY: the second part of the memory holds the chunks for it.
        unsafe XDPSink(
            unsafeBase: memory.base,
            first: XDPSocket.received * chunk,
            count: XDPSocket.sent,
            chunk: chunk,
            longest: interface.mtu + 14 + 8,
            tx: XDPProducer(tx),
            completion: XDPConsumer(completion),
            file: file.number,
            hasFragments: hasFragments,
            isZeroCopy: isZeroCopy,
            counters: counters
        )
    }
}
