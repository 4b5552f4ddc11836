// What a switch can be told: how it forwards, and how long it remembers.

/// The settings of a switch.
public struct SwitchOptions: Sendable, Hashable {
    /// What it does with frames.
    public enum Mode: String, Sendable, Hashable, CaseIterable {
        /// It learns where stations are.
        case learning
        /// It joins two ports, and passes on all but pause frames.
        case wire
        /// Every frame goes to every other port.
        case hub
    }

    /// What it does with frames.
    public var mode = Mode.learning
    /// Seconds until an address is forgotten; 0 for never.
    public var ageing = 300
    /// Whether frames to the addresses that bridges keep, 01:80:c2:00:00:00 to 0f, go to all.
    public var forwardsGroups = true

    /// The settings of a switch that a port brought along.
    public init() {}

    /// The settings of a hub.
    public static let hub = {
        var options = SwitchOptions()
        options.mode = .hub
        return options
    }()

    /// Takes the arguments of `switch-add` or `switch-set`; what is not in them stays.
    public init(
        _ arguments: JSONObject,
        changing old: SwitchOptions = SwitchOptions()
    ) throws(QMPError) {
        self = old
        if let name = arguments["mode"]?.stringValue {
            guard let mode = Mode(rawValue: name) else { throw .badValue("mode", name) }
            self.mode = mode
        }
        if let seconds = arguments["ageing"]?.integerValue {
            guard (0...Int(Int32.max)).contains(seconds) else {
                throw .expects("ageing", "a number of seconds, 0 for never")
            }
            ageing = seconds
        }
        forwardsGroups = arguments["group-forward"]?.boolValue ?? forwardsGroups
    }

    /// The arguments that make these settings, with the ageing time always, without others at their defaults.
    public var members: JSONObject {
        var object: JSONObject = ["ageing": .integer(ageing)]
        if mode != .learning { object["mode"] = .string(mode.rawValue) }
        if !forwardsGroups { object["group-forward"] = false }
        return object
    }

    /// Why a port cannot have its rules on such a switch; nil if it can.
    public func objection(to policy: PortPolicy) -> String? {
        guard mode != .learning else { return nil }
        if policy.hasVLAN { return "a \(mode.rawValue) knows no VLANs" }
        if policy.macLimit != 0 { return "a \(mode.rawValue) learns no addresses" }
        return nil
    }
}
