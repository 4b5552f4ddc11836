// What a program writes to name a port: the grammar of libnetmap's nmport (netmap-spec 2.12).

import CNetmap
import Glibc

/// Which port to open, which of its rings, and how.
///
///     netmap:eth0-2/Rx        ring 2 of eth0, receive only, exclusively
///     vale0:vm1@conf:rings=4  a port of switch vale0 with 4 rings a direction
///     vale0:a{1               the master's end of pipe 1 of that port
///     netmap:eth0/r           a monitor of what eth0 receives
public struct PortSpecification: Sendable, Hashable {
    /// Which rings are bound.
    public enum Rings: Sendable, Hashable {
        /// All of the interface or port.
        case all
        /// The host stack's (`^`).
        case host
        /// Both (`*`).
        case allAndHost
        /// A single one (`-N`).
        case one(Int)
        /// A single one of the host stack (`^N`).
        case hostOne(Int)
        /// None: memory alone; `name` is only a label.
        case none
    }

    /// How the port is bound; the numbers are netmap's NR_*.
    public struct Flags: OptionSet, Sendable, Hashable {
        /// NR_* as REGISTER takes them.
        public let rawValue: UInt64

        /// Makes a set of NR_* flags.
        public init(rawValue: UInt64) { self.rawValue = rawValue }

        /// Monitor what is sent (`/t`).
        public static let monitorTransmit = Flags(rawValue: UInt64(NR_MONITOR_TX))
        /// Monitor what is received (`/r`).
        public static let monitorReceive = Flags(rawValue: UInt64(NR_MONITOR_RX))
        /// Monitor by swapping buffers (`/z`).
        public static let zeroCopyMonitor = Flags(rawValue: UInt64(NR_ZCOPY_MON))
        /// Nobody else may bind these rings (`/x`).
        public static let exclusive = Flags(rawValue: UInt64(NR_EXCLUSIVE))
        /// No transmit rings (`/R`).
        public static let receiveOnly = Flags(rawValue: UInt64(NR_RX_RINGS_ONLY))
        /// No receive rings (`/T`).
        public static let transmitOnly = Flags(rawValue: UInt64(NR_TX_RINGS_ONLY))
        /// The program copes with virtio-net headers in front of frames.
        public static let acceptsHeader = Flags(rawValue: UInt64(NR_ACCEPT_VNET_HDR))
        /// Waiting for frames does not send any.
        public static let pollSendsNothing = Flags(rawValue: UInt64(NR_NO_TX_POLL))
    }

    /// How many rings and slots a port that is made shall have; 0 leaves it to the engine.
    public struct Configuration: Sendable, Hashable {
        /// Rings for frames from the program.
        public var transmitRings = 0
        /// Rings for frames to the program.
        public var receiveRings = 0
        /// Rings to the host stack.
        public var hostTransmitRings = 0
        /// Rings from the host stack.
        public var hostReceiveRings = 0
        /// Slots of each transmit ring.
        public var transmitSlots = 0
        /// Slots of each receive ring.
        public var receiveSlots = 0

        /// Leaves everything to the engine.
        public init() {}
    }

    /// The port's name as the engine knows it: `eth0`, `vale0:vm1`, `vale0:a{1`.
    public var name: String
    /// Which rings are bound.
    public var rings = Rings.all
    /// How.
    public var flags: Flags = []
    /// The memory region to use, 0 for the port's own.
    public var memoryID: UInt16 = 0
    /// Rings and slots of a port that is made.
    public var configuration = Configuration()
    /// The specification of a port whose memory to use (`@share=`).
    public var sharesMemoryWith: String?
    /// Buffers beyond those in rings.
    public var extraBuffers = 0

    /// Names a port by the engine's name for it, with everything else at its default.
    public init(name: String) { self.name = name }

    /// Takes a specification apart.
    ///
    /// - Throws: a `PortError` of kind `specification` that says which part is wrong.
    public init(_ text: String) throws(PortError) {
        var parser = SpecificationParser(text)
        name = try parser.name()
        try parser.rings(into: &self)
        try parser.options(into: &self)
    }

    /// nr_mode and nr_ringid.
    var mode: (mode: Int, ring: Int) {
        switch rings {
        case .all: (NR_REG_ALL_NIC, 0)
        case .host: (NR_REG_SW, 0)
        case .allAndHost: (NR_REG_NIC_SW, 0)
        case .one(let ring): (NR_REG_ONE_NIC, ring)
        case .hostOne(let ring): (NR_REG_ONE_SW, ring)
        case .none: (NR_REG_NULL, 0)
        }
    }
}
