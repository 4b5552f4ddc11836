// What has to be done so that an engine has what files want: a value, so that it can be shown, tested and
// carried out by whoever has the engine.

/// The difference between what an engine has and what is wanted, as commands.
public struct ConfigurationPlan: Sendable {
    /// Something that becomes different.
    public struct Change: Sendable {
        /// What becomes of it.
        public enum Action: String, Sendable {
            /// It is made.
            case add
            /// It is changed while it works.
            case change
            /// It is removed and made again, because it cannot be changed; frames are lost meanwhile.
            case replace
            /// It is removed.
            case remove
        }
        /// What becomes of it.
        public let action: Action
        /// What kind of thing it is: port, switch, chardev or address.
        public let kind: String
        /// Which one.
        public let name: String
        /// What is different, in a few words each.
        public let details: [String]
    }

    /// A command, and what it is for.
    public struct Step: Sendable {
        /// The index of the change that it belongs to.
        public let change: Int
        /// The command.
        public let request: QMPRequest
        /// What puts back what was there, if the command is refused.
        public let undo: QMPRequest?
        let phase: Phase
    }

    /// Commands of one phase do not depend on each other.
    enum Phase: Int, Sendable, Comparable {
        case removeAddress, removePort, removeSwitch, removeChardev
        // What a switch does not forbid any more is before its ports, what it forbids after they have changed.
        case addChardev, addSwitch, openSwitch, setPort, setSwitch, addPort, settleSwitch
        case setLink, addAddress

        static func < (left: Phase, right: Phase) -> Bool { left.rawValue < right.rawValue }
    }

    /// What becomes different, in the order in which people read it.
    public internal(set) var changes: [Change] = []
    /// The commands, in order.
    public internal(set) var steps: [Step] = []
    /// What is wanted and cannot be had, whatever is done.
    public internal(set) var problems: [ConfigurationError] = []

    /// Whether there is nothing to do.
    public var isEmpty: Bool { changes.isEmpty && problems.isEmpty }

    /// Compares.
    ///
    /// - Parameters:
    ///   - wanted: what files want.
    ///   - state: what the engine has.
    ///   - former: what was made for these files before; what of it they do not want any more is removed.
    ///   - prunes: whether to remove everything else that files could describe, too.
    public init(
        _ wanted: Configuration,
        from state: RunningState,
        former: AppliedObjects = AppliedObjects(),
        prunes: Bool = false
    ) {
        var planner = ConfigurationPlanner(wanted, state, former, prunes: prunes)
        planner.compare()
        self = planner.plan
        steps = steps.enumerated().sorted {
            ($0.element.phase, $0.offset) < ($1.element.phase, $1.offset)
        }.map(\.element)
    }

    init() {}

    mutating func add(
        _ action: Change.Action,
        _ kind: String,
        _ name: String,
        _ details: [String] = []
    ) -> Int {
        changes.append(Change(action: action, kind: kind, name: name, details: details))
        return changes.count - 1
    }

    mutating func step(
        _ change: Int,
        _ phase: Phase,
        _ command: String,
        _ arguments: JSONObject,
        undo: QMPRequest? = nil
    ) {
        let request = QMPRequest(command, arguments)
        steps.append(Step(change: change, request: request, undo: undo, phase: phase))
    }
}
