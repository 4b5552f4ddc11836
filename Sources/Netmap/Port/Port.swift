// A port of a switch, a pipe's end, an interface, a monitor: opened by its specification.

import CNetmap

/// An open port: rings that frames come from and go to.
///
///     let port = try Port("vale0:a")
///     while try port.poll(.receive) != [] {
///         var ring = port.receiveRing()
///         ring.receive { frame in print(frame.length) }
///     }
///
/// One thread at a time may use a ring; different rings may be used by different threads. The port is
/// unbound at the end of its life.
@safe public struct Port: ~Copyable, Sendable {
    let core: PortCore
    /// The name under which the engine knows it.
    public let name: String
    /// What it was opened with.
    public let specification: PortSpecification
    private let registered: nmreq_register

    /// Opens a port by its specification, such as `vale0:a` or `netmap:eth0-2/R`.
    ///
    /// - Throws: what is wrong with the specification, or why the engine does not open it.
    public init(_ text: String, on space: PortSpace = .engine()) throws(PortError) {
        try self.init(try PortSpecification(text), on: space)
    }

    /// Opens a port.
    public init(
        _ specification: PortSpecification,
        on space: PortSpace = .engine()
    ) throws(PortError) {
        let body = try Port.registration(specification, space)
        let handle = try space.backend.open()
        do throws(PortError) {
            let result = try space.backend.request(
                handle,
                NETMAP_REQ_REGISTER,
                specification.name,
                body,
                "cannot open '\(specification.name)'"
            )
            core = try PortCore(space.backend, handle)
            registered = result.body ?? body
        } catch {
            space.backend.close(handle)
            throw error
        }
        name = specification.name
        self.specification = specification
    }

    private static func registration(
        _ port: PortSpecification,
        _ space: PortSpace
    ) throws(PortError) -> nmreq_register {
        var body = nmreq_register()
        let (mode, ring) = port.mode
        body.nr_mode = UInt32(mode)
        body.nr_ringid = UInt16(clamping: ring)
        body.nr_flags = port.flags.rawValue
        body.nr_mem_id = port.memoryID
        body.nr_extra_bufs = UInt32(clamping: port.extraBuffers)
        body.nr_tx_rings = UInt16(clamping: port.configuration.transmitRings)
        body.nr_rx_rings = UInt16(clamping: port.configuration.receiveRings)
        body.nr_host_tx_rings = UInt16(clamping: port.configuration.hostTransmitRings)
        body.nr_host_rx_rings = UInt16(clamping: port.configuration.hostReceiveRings)
        body.nr_tx_slots = UInt32(clamping: port.configuration.transmitSlots)
        body.nr_rx_slots = UInt32(clamping: port.configuration.receiveSlots)
        if let other = port.sharesMemoryWith {
            body.nr_mem_id = try space.info(of: other).memoryID
        }
        return body
    }

    // MARK: What it has

    /// The bound transmit rings: numbers for `transmitRing`.
    public var transmitRings: Range<Int> { core.transmitRings }
    /// The bound receive rings: numbers for `receiveRing`.
    public var receiveRings: Range<Int> { core.receiveRings }
    /// The number of the memory region; ports with the same one can exchange buffers.
    public var memoryID: UInt16 { UInt16(clamping: core.binding.mem_id) }
    /// Bytes of the memory region.
    public var memorySize: Int { Int(core.binding.region_size) }
    /// Bytes a buffer.
    public var bufferSize: Int { Int(core.binding.buffer_size) }
    /// Rings and slots of the whole port, whatever of it is bound.
    public var configuration: PortSpecification.Configuration {
        var all = PortSpecification.Configuration()
        all.transmitRings = Int(registered.nr_tx_rings)
        all.receiveRings = Int(registered.nr_rx_rings)
        all.hostTransmitRings = Int(registered.nr_host_tx_rings)
        all.hostReceiveRings = Int(registered.nr_host_rx_rings)
        all.transmitSlots = Int(registered.nr_tx_slots)
        all.receiveSlots = Int(registered.nr_rx_slots)
        return all
    }

    /// A bound transmit ring; by default the first.
    @_lifetime(borrow self)
    public func transmitRing(_ index: Int? = nil) -> TransmitRing {
        TransmitRing(self, index ?? core.transmitRings.lowerBound)
    }

    /// A bound receive ring; by default the first.
    @_lifetime(borrow self)
    public func receiveRing(_ index: Int? = nil) -> ReceiveRing {
        ReceiveRing(self, index ?? core.receiveRings.lowerBound)
    }

    // MARK: Syncs

    /// Sends what is in the transmit rings and takes back what was sent (NIOCTXSYNC).
    ///
    /// - Throws: when the engine has ended, or the ring was taken away.
    public func syncTransmit() throws(PortError) {
        for index in core.transmitRings { try sync(RingNumber(.transmit, index), nil) }
    }

    /// Gives released slots back and takes what has come (NIOCRXSYNC).
    public func syncReceive() throws(PortError) {
        let stamp = PortCore.stamp
        for index in core.receiveRings { try sync(RingNumber(.receive, index), stamp) }
    }

    private func sync(_ ring: RingNumber, _ stamp: (Int64, Int64)?) throws(PortError) {
        try core.requireEngine()
        if core.sync(ring, stamp: stamp) == .stopped { throw stopped(ring) }
    }

    func stopped(_ ring: RingNumber) -> PortError {
        PortError(
            .stopped,
            errno: 5,
            "ring \(ring.index) of '\(name)' was taken away; open the port again"
        )
    }

    // MARK: Extra buffers

    /// Extra buffers that are left.
    public var extraBuffers: Int { core.extraCount }

    /// Takes one of the extra buffers that the specification asked for; nil if none is left.
    public func takeExtraBuffer() -> ExtraBuffer? { ExtraBuffer(core) }
}
