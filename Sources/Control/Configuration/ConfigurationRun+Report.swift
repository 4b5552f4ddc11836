// A plan and how it went, for people and for programs.

extension ConfigurationPlan.Change {
    /// `+ port vale0:vm1 type=netmap`.
    public var line: String {
        let mark =
            switch action {
            case .add: "+"
            case .change: "~"
            case .replace: "!"
            case .remove: "-"
            }
        let text = ([mark, kind, name] + details).joined(separator: " ")
        return action == .replace && kind == "port"
            ? text + "  (made again: its frames are interrupted)" : text
    }
}

extension ConfigurationRun {
    /// How many of what, in one line.
    public func summary(isDry: Bool) -> String {
        guard !plan.isEmpty else { return "nothing to do" }
        let words: [(ConfigurationPlan.Change.Action, String)] = [
            (.add, "added"), (.change, "changed"), (.replace, "made again"), (.remove, "removed"),
        ]
        var parts: [String] = []
        for (action, word) in words {
            let count = plan.changes.indices.count {
                plan.changes[$0].action == action && !hasFailed($0)
            }
            if count > 0 { parts.append("\(count) \(word)") }
        }
        let failed = plan.changes.indices.count(where: hasFailed) + plan.problems.count
        if failed > 0 { parts.append("\(failed) failed") }
        return parts.joined(separator: ", ") + (isDry ? " (not really: --dry-run)" : "")
    }

    /// The same as JSON.
    public func json(isDry: Bool) -> JSONValue {
        let changes = plan.changes.enumerated().map { index, change -> JSONValue in
            var object: JSONObject = [
                "action": .string(change.action.rawValue), "kind": .string(change.kind),
                "name": .string(change.name),
                "details": .array(change.details.map { .string($0) }),
                "commands": .array(
                    plan.steps.filter { $0.change == index }.map(\.request.json)
                ),
            ]
            let errors = failures.filter { $0.change == index }.map(\.message)
            if !isDry { object["done"] = .bool(errors.isEmpty) }
            if let error = errors.first { object["error"] = .string(error) }
            return .object(object)
        }
        return [
            "dry-run": .bool(isDry), "changes": .array(changes),
            "problems": .array(plan.problems.map { .string($0.description) }),
        ]
    }
}
