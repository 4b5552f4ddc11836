// Carrying out a plan, one command after the other, without knowing who takes them: the engine itself does it
// at its start, and the tool over the socket.

/// The state of a plan that is carried out.
public struct ConfigurationRun: Sendable {
    /// A command that was refused.
    public struct Failure: Sendable {
        /// The index of the change that it was for.
        public let change: Int
        /// The command.
        public let request: QMPRequest
        /// Why, and what has become of the thing.
        public let message: String
    }

    /// The plan.
    public let plan: ConfigurationPlan
    /// What was refused so far.
    public private(set) var failures: [Failure] = []
    private var index = 0
    private var undoing: QMPError?

    /// Begins.
    public init(_ plan: ConfigurationPlan) { self.plan = plan }

    /// The next command; nil when all is done.
    ///
    /// What depends on something that was refused is left out.
    public mutating func next() -> QMPRequest? {
        if undoing != nil { return plan.steps[index].undo }
        while index < plan.steps.count, hasFailed(plan.steps[index].change) { index += 1 }
        return index < plan.steps.count ? plan.steps[index].request : nil
    }

    /// Says how the last command ended; nil for well.
    public mutating func finish(_ error: QMPError?) {
        let step = plan.steps[index]
        if let first = undoing {
            undoing = nil
            let fate =
                error.map { "what was there before is gone, too: \($0.description)" }
                ?? "what was there before is there again"
            fail(step, first.description + "; " + fate)
            index += 1
            return
        }
        if let error {
            if step.undo != nil { return undoing = error }
            fail(step, error.description)
        }
        index += 1
    }

    /// Whether a change has been refused.
    public func hasFailed(_ change: Int) -> Bool { failures.contains { $0.change == change } }

    private mutating func fail(_ step: ConfigurationPlan.Step, _ message: String) {
        failures.append(Failure(change: step.change, request: step.request, message: message))
    }

    /// The names of what should have been removed and is still there.
    var notRemoved: Set<String> {
        Set(
            failures.map { plan.changes[$0.change] }.filter { $0.action == .remove }
                .map { "\($0.kind) \($0.name)" }
        )
    }
}

extension AppliedObjects {
    /// Those whose kind and name are among these.
    func intersection(_ names: Set<String>) -> AppliedObjects {
        var kept = AppliedObjects()
        kept.ports = ports.filter { names.contains("port \($0.key)") }
        kept.chardevs = chardevs.filter { names.contains("chardev \($0.key)") }
        kept.stations = stations.filter { key, port in
            names.contains("address \(key.drop { $0 != " " }.dropFirst()) on \(port)")
        }
        kept.switches = switches.filter { names.contains("switch \($0)") }
        return kept
    }
}
