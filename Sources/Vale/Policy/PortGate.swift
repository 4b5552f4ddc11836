// What workers check a port's frames against: made by the control plane of the port's rules, replaced as
// a whole, freed after a grace period.

import CNetmap
import Netmap

/// The rules of one port in plain memory, with the state of its limits.
@safe public struct PortGate {
    /// Held by whoever classifies frames from the port, for the length of one batch.
    var rxLock: UInt32 = 0
    /// Held by whoever delivers frames to the port.
    var txLock: UInt32 = 0
    let isIsolated: Bool
    /// Whether frames with a source that is not allowed are dropped.
    let checksSource: Bool
    /// Whether the port was told of VLANs.
    let hasVLAN: Bool
    /// The VLAN of untagged frames, either way; `noVLAN` if there is none.
    let untagged: UInt16
    /// 4096 bits: the VLANs that the port is in.
    let members: UnsafeMutablePointer<UInt64>
    let sources: UnsafeMutablePointer<UInt64>
    let sourceCount: Int
    /// The only source of a port that takes the first, or 0 as long as there was none.
    var first: UInt64 = 0
    let macLimit: Int
    /// How many stations are learned at it, or were; never too low.
    var learned: Int
    /// The second in which they were counted.
    var countedAt: UInt32 = 0
    var rx: TokenBucket
    var storm: TokenBucket
    var tx: TokenBucket

    static var noVLAN: UInt16 { @_noLocks get { 0xffff } }

    private init(_ rules: PortRules, learned: Int, now: UInt64) {
        self.learned = learned
        isIsolated = rules.isIsolated
        hasVLAN = rules.hasVLAN
        macLimit = rules.macLimit
        var set: VLANSet
        switch rules.vlan {
        case .access(let vlan):
            set = VLANSet()
            set.insert(vlan)
            untagged = vlan
        case .trunk(let vlans, let native):
            set = vlans
            if let native { set.insert(native) }
            untagged = native ?? (vlans.contains(0) ? 0 : PortGate.noVLAN)
        }
        unsafe members = .allocate(capacity: 64)
        for word in 0..<64 { unsafe (members + word).initialize(to: set.words[word]) }
        var allowed: [UInt64] = []
        if case .only(let list) = rules.sources { allowed = list }
        checksSource = rules.sources != .any
        sourceCount = allowed.count
        unsafe sources = .allocate(capacity: max(1, allowed.count))
        for (index, source) in allowed.enumerated() {
            unsafe (sources + index).initialize(to: source)
        }
        let bucket = { (rule: RateRule?) in
            rule.map { TokenBucket(rate: $0.bitsPerSecond / 8, depth: $0.burst, now: now) }
                ?? .unlimited
        }
        rx = bucket(rules.rx)
        tx = bucket(rules.tx)
        let storm = rules.stormLimit
        self.storm = TokenBucket(rate: storm, depth: Int64(clamping: storm), now: now)
    }

    /// Makes a gate.
    ///
    /// - Parameters:
    ///   - rules: what the port was told.
    ///   - old: the gate that this one replaces, whose first source it keeps.
    ///   - learned: how many stations are learned at the port.
    ///   - now: nanoseconds.
    /// - Returns: the gate, or nil if the rules forbid nothing.
    public static func make(
        _ rules: PortRules,
        replacing old: UnsafeMutablePointer<PortGate>? = nil,
        learned: Int = 0,
        now: UInt64
    ) -> UnsafeMutablePointer<PortGate>? {
        guard !rules.isEmpty else { return nil }
        let gate = UnsafeMutablePointer<PortGate>.allocate(capacity: 1)
        unsafe gate.initialize(to: PortGate(rules, learned: learned, now: now))
        // SAFETY: `old` was made here and is not freed yet.
        if rules.sources == .first, let old = unsafe old {
            unsafe gate.pointee.first = nm_load64(&old.pointee.first)
        }
        return unsafe gate
    }

    /// Frees a gate that no worker can hold any more.
    public static func free(_ gate: UnsafeMutablePointer<PortGate>?) {
        // SAFETY: made by `make`.
        guard let gate = unsafe gate else { return }
        unsafe gate.pointee.members.deallocate()
        unsafe gate.pointee.sources.deallocate()
        unsafe gate.deallocate()
    }

    // SAFETY (from here on): `members` has 64 words and `sources` `sourceCount`; both live as long as the gate.

    /// Whether the port is in a VLAN.
    @_noLocks func contains(_ vlan: UInt16) -> Bool {
        unsafe members[Int(vlan & 4095) &>> 6] &>> UInt64(vlan & 63) & 1 != 0
    }

    /// Whether a frame of the port may come from `source`.
    @_noLocks mutating func allows(_ source: UInt64) -> Bool {
        // A group sends nothing, and nobody has no address.
        guard source & 1 == 0, source != 0 else { return false }
        if sourceCount == 0 {
            if first == 0 { first = source }
            return first == source
        }
        for index in 0..<sourceCount where unsafe sources[index] == source { return true }
        return false
    }

    /// The source that a port has which takes the first, if it has one.
    public mutating func firstSource() -> UInt64? {
        let first = unsafe nm_load64(&first)
        return checksSource && sourceCount == 0 && first != 0 ? first : nil
    }

    /// Has the next source count as the first: somebody else is behind the port.
    public mutating func forgetFirst() { first = 0 }

    /// Makes it known which source was the first, before an engine that came back has heard it.
    public mutating func remember(first source: UInt64) { first = source }
}

/// The gates of all ports by number: addresses that the control plane publishes and workers load.
///
/// A handle.
@safe public struct GateTable: BitwiseCopyable, @unchecked Sendable {
    private let addresses: UnsafeMutablePointer<UInt64>

    /// Takes memory for 65536 addresses, all 0, that outlives every copy of the handle.
    public init(unsafeAddresses addresses: UnsafeMutablePointer<UInt64>) {
        unsafe self.addresses = unsafe addresses
    }

    /// The gate of a port; nil for one without rules.
    @_noLocks @unsafe public func gate(_ port: UInt16) -> UnsafeMutablePointer<PortGate>? {
        // SAFETY: room for every 16-bit number (init); what is there was published by `set`.
        unsafe UnsafeMutablePointer(bitPattern: UInt(nm_load64_acquire(addresses + Int(port))))
    }

    /// Publishes the gate of a port.
    public func set(_ port: UInt16, _ gate: UnsafeMutablePointer<PortGate>?) {
        unsafe nm_store64_release(addresses + Int(port), UInt64(UInt(bitPattern: gate)))
    }

    /// The gate of a port, with the right to classify its frames, which another worker may have for the length of a
    /// batch.
    @_noLocks @unsafe public func lock(_ port: UInt16) -> UnsafeMutablePointer<PortGate>? {
        guard let gate = unsafe gate(port) else { return nil }
        while unsafe nm_try_lock(&gate.pointee.rxLock) == 0 { nm_pause() }
        return unsafe gate
    }

    /// Ends `lock`, with what that returned.
    @_noLocks @unsafe public func unlock(_ gate: UnsafeMutablePointer<PortGate>?) {
        if let gate = unsafe gate { unsafe nm_unlock(&gate.pointee.rxLock) }
    }
}
