// What a port may do: its VLANs, who may send from it, and how much. Members of netdev_add, which
// port-set changes while frames pass.

/// The rules of one port, as an operator says them.
public struct PortPolicy: Sendable, Hashable {
    /// Which sources frames from the port may have.
    public enum SourceCheck: Sendable, Hashable {
        /// Any.
        case off
        /// The one that is heard first.
        case first
        /// These, in the usual notation, lower case.
        case only([String])
    }

    /// A limit of bytes a second.
    public struct Rate: Sendable, Hashable {
        /// Bits a second.
        public let bitsPerSecond: UInt64
        /// Bytes that may come at once; nil for what suits the rate.
        public let burst: UInt64?

        /// Bytes that may come at once.
        public var bytes: UInt64 { burst ?? max(65536, bitsPerSecond / 8 / 20) }
    }

    /// The VLAN of an access port; nil if it is none.
    public private(set) var vlan: Int?
    /// The VLANs of a trunk, as ranges in rising order; nil for all.
    public private(set) var trunks: [ClosedRange<Int>]?
    /// The VLAN of a trunk's untagged frames, if any.
    public private(set) var nativeVLAN: Int?
    /// Whether it reaches only ports that are not isolated.
    public private(set) var isIsolated = false
    /// How many stations may be learned at it; 0 for any number.
    public private(set) var macLimit = 0
    /// The addresses that it may send from.
    public private(set) var sources = SourceCheck.off
    /// How many frames to all it may send a second; 0 for any number.
    public private(set) var stormLimit = 0
    /// From the port.
    public private(set) var rx: Rate?
    /// To the port.
    public private(set) var tx: Rate?

    /// Rules that forbid nothing.
    public init() {}

    /// Whether it was told of VLANs.
    public var hasVLAN: Bool { vlan != nil || trunks != nil || nativeVLAN != nil }
    /// Whether it forbids nothing.
    public var isEmpty: Bool { self == PortPolicy() }

    /// The members of `netdev_add` and `port-set` that are about it.
    public static let names = [
        "vlan", "trunks", "native-vlan", "isolated", "mac-limit", "source-check", "storm-limit",
        "rx-rate", "rx-burst", "tx-rate", "tx-burst",
    ]

    /// Takes the arguments of `netdev_add` or `port-set`.
    ///
    /// - Parameters:
    ///   - arguments: what is not in them stays.
    ///   - old: what they change.
    /// - Throws: which of them is wrong.
    public init(_ arguments: JSONObject, changing old: PortPolicy = PortPolicy()) throws(QMPError) {
        self = old
        try takeVLANs(arguments)
        isIsolated = arguments["isolated"]?.boolValue ?? isIsolated
        macLimit = try Self.number(arguments, "mac-limit", 0...8192) ?? macLimit
        stormLimit = try Self.number(arguments, "storm-limit", 0...1_000_000_000) ?? stormLimit
        if let text = arguments["source-check"]?.stringValue { sources = try Self.sources(text) }
        rx = try Self.rate(arguments, "rx", rx)
        tx = try Self.rate(arguments, "tx", tx)
    }

    private mutating func takeVLANs(_ arguments: JSONObject) throws(QMPError) {
        let own = try Self.number(arguments, "vlan", 0...4094)
        let native = try Self.number(arguments, "native-vlan", 0...4094)
        let list = arguments["trunks"]?.stringValue
        if let own, own != 0 {
            guard list == nil, native ?? 0 == 0 else {
                throw QMPError(
                    "Parameters 'vlan' and '\(list != nil ? "trunks" : "native-vlan")' exclude each "
                        + "other: vlan makes an access port, trunks and native-vlan make a trunk"
                )
            }
            (vlan, trunks, nativeVLAN) = (own, nil, nil)
            return
        }
        if own == 0 { vlan = nil }
        if list == nil, native == nil { return }
        if let list {
            trunks = list == "all" ? nil : try Self.ranges(list)
            vlan = nil
        }
        if let native {
            nativeVLAN = native == 0 ? nil : native
            if native != 0 { vlan = nil }
        }
    }

    private static func number(
        _ arguments: JSONObject,
        _ name: String,
        _ range: ClosedRange<Int>
    ) throws(QMPError) -> Int? {
        guard let value = arguments[name]?.integerValue else { return nil }
        guard range.contains(value) else {
            throw .expects(
                name,
                "a number from \(range.lowerBound) (none) to \(range.upperBound), not \(value)"
            )
        }
        return value
    }

    /// `10,20-30` as ranges that neither overlap nor touch.
    private static func ranges(_ text: String) throws(QMPError) -> [ClosedRange<Int>] {
        let problem = QMPError.expects(
            "trunks",
            "'all', or VLANs from 0 (untagged frames) to 4094 such as 10,20-30; not '\(text)'"
        )
        var ranges: [ClosedRange<Int>] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false).map {
                $0.allSatisfy { ("0"..."9").contains($0) } ? Int($0) : nil
            }
            guard ends.count <= 2, let first = ends.first.flatMap({ $0 }),
                let last = ends.last.flatMap({ $0 }), first <= last, last <= 4094
            else { throw problem }
            ranges.append(first...last)
        }
        ranges.sort { $0.lowerBound < $1.lowerBound }
        var joined: [ClosedRange<Int>] = []
        for range in ranges {
            if let last = joined.last, range.lowerBound <= last.upperBound + 1 {
                joined[joined.count - 1] =
                    last.lowerBound...max(last.upperBound, range.upperBound)
            } else {
                joined.append(range)
            }
        }
        return joined
    }

    private static func sources(_ text: String) throws(QMPError) -> SourceCheck {
        if text == "off" { return .off }
        if text == "first" { return .first }
        let addresses = text.lowercased().split(separator: ",", omittingEmptySubsequences: false)
            .map { String($0) }
        guard addresses.allSatisfy(PlugOptions.isStation) else {
            throw .expects(
                "source-check",
                "'off', 'first', or addresses of stations such as 52:54:00:12:34:56 with commas "
                    + "between them; not '\(text)'"
            )
        }
        guard addresses.count <= maximumSources else {
            throw .expects(
                "source-check",
                "at most \(maximumSources) addresses, not \(addresses.count)"
            )
        }
        return .only(addresses)
    }

    /// How many addresses `source-check` takes: they are looked through for each frame.
    public static let maximumSources = 32

    private static func rate(
        _ arguments: JSONObject,
        _ way: String,
        _ old: Rate?
    ) throws(QMPError) -> Rate? {
        var rate = old?.bitsPerSecond
        var burst = old?.burst
        if let text = arguments["\(way)-rate"]?.stringValue {
            guard let bits = text == "off" ? 0 : TrafficUnits.rate(text),
                bits == 0 || (8...1_000_000_000_000).contains(bits)
            else {
                throw .expects(
                    "\(way)-rate",
                    "'off', or bits a second from 8bit to 1tbit as tc writes them, such as 10mbit; "
                        + "not '\(text)'"
                )
            }
            rate = bits == 0 ? nil : bits
            if bits == 0 { burst = nil }
        }
        if let text = arguments["\(way)-burst"]?.stringValue {
            guard let bytes = TrafficUnits.size(text), (1...(1 << 30)).contains(bytes) else {
                throw .expects(
                    "\(way)-burst",
                    "bytes from 1 to 1gb as tc writes them, such as 64kb; not '\(text)'"
                )
            }
            guard rate != nil else {
                throw QMPError(
                    "Parameter '\(way)-burst' says nothing without '\(way)-rate'; "
                        + "add \(way)-rate=10mbit"
                )
            }
            burst = bytes
        }
        return rate.map { Rate(bitsPerSecond: $0, burst: burst) }
    }

    /// The arguments that make these rules, without those at their defaults.
    public var members: JSONObject {
        var object = JSONObject()
        if let vlan { object["vlan"] = .integer(vlan) }
        if let trunks {
            object["trunks"] = .string(
                trunks.map {
                    $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)"
                }.joined(separator: ",")
            )
        }
        if let nativeVLAN { object["native-vlan"] = .integer(nativeVLAN) }
        if isIsolated { object["isolated"] = true }
        if macLimit != 0 { object["mac-limit"] = .integer(macLimit) }
        switch sources {
        case .off: break
        case .first: object["source-check"] = "first"
        case .only(let list): object["source-check"] = .string(list.joined(separator: ","))
        }
        if stormLimit != 0 { object["storm-limit"] = .integer(stormLimit) }
        for (way, rate) in [("rx", rx), ("tx", tx)] {
            guard let rate else { continue }
            object["\(way)-rate"] = .string(TrafficUnits.text(rate: rate.bitsPerSecond))
            if let burst = rate.burst {
                object["\(way)-burst"] = .string(TrafficUnits.text(size: burst))
            }
        }
        return object
    }

    /// Checks that the rules and what else the port was told do not contradict each other.
    public func check(lossless: LosslessOptions?) throws(QMPError) {
        guard tx != nil, lossless != nil else { return }
        throw QMPError(
            "Parameters 'tx-rate' and 'lossless' exclude each other: one drops what is too much, the "
                + "other promises that nothing is; limit its senders with rx-rate instead"
        )
    }
}
