// What a port may do, as a value; `PortGate` is what workers check frames against.

/// The VLANs of a port, in the terms of IEEE 802.1Q.
public enum VLANRule: Sendable, Hashable {
    /// One VLAN, whose frames leave untagged.
    case access(UInt16)
    /// Several; frames leave tagged, except those of the native VLAN.
    ///
    /// Without a native VLAN, untagged frames belong to VLAN 0, which has no tag.
    case trunk(VLANSet, native: UInt16?)

    /// What a port has that was told nothing: all VLANs, tagged.
    public static let everything = VLANRule.trunk(.all, native: nil)
}

/// A set of VLANs, 0 to 4094.
public struct VLANSet: Sendable, Hashable {
    /// 4096 bits.
    public private(set) var words: [UInt64]

    /// No VLAN.
    public init() { words = Array(repeating: 0, count: 64) }

    /// Every VLAN.
    public static let all: VLANSet = {
        var set = VLANSet()
        for vlan in UInt16(0)...4094 { set.insert(vlan) }
        return set
    }()

    /// Adds one.
    public mutating func insert(_ vlan: UInt16) {
        words[Int(vlan & 4095) / 64] |= 1 << UInt64(vlan % 64)
    }

    /// Whether one is in it.
    public func contains(_ vlan: UInt16) -> Bool {
        words[Int(vlan & 4095) / 64] >> UInt64(vlan % 64) & 1 != 0
    }
}

/// A limit on bytes a second, and how many may come at once.
public struct RateRule: Sendable, Hashable {
    /// Bits a second.
    public let bitsPerSecond: UInt64
    /// Bytes.
    public let burst: Int64

    /// Makes a limit.
    public init(bitsPerSecond: UInt64, burst: Int64) {
        self.bitsPerSecond = bitsPerSecond
        self.burst = burst
    }
}

/// Everything that a port was told.
public struct PortRules: Sendable, Hashable {
    /// Which sources a port's frames may have.
    public enum Sources: Sendable, Hashable {
        /// Any.
        case any
        /// The one that was heard first.
        case first
        /// These, as the low 48 bits of a little-endian load.
        case only([UInt64])
    }

    /// The VLANs that it is in.
    public var vlan = VLANRule.everything
    /// Whether it reaches only ports that are not isolated.
    public var isIsolated = false
    /// How many stations may be learned at it; 0 for any number.
    public var macLimit = 0
    /// The addresses that it may send from.
    public var sources = Sources.any
    /// How many frames to all it may send a second; 0 for any number.
    public var stormLimit: UInt64 = 0
    /// From the port.
    public var rx: RateRule?
    /// To the port.
    public var tx: RateRule?

    /// Rules that forbid nothing.
    public init() {}

    /// Whether nothing is forbidden and nothing changed.
    public var isEmpty: Bool { self == PortRules() }
    /// Whether it was told of VLANs.
    public var hasVLAN: Bool { vlan != .everything }
}

/// What a switch does with frames.
public enum SwitchMode: UInt8, Sendable, Hashable, CaseIterable {
    /// It learns where stations are.
    case learning = 0
    /// It joins two ports and is nothing else.
    case wire = 1
    /// Every frame goes to every other port.
    case hub = 2
}
