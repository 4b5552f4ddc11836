// wirevale doctor: what this machine can do, what each thing is for, and what to install. It
// tries things instead of asking whether they are configured.

internal import ArgumentParser
internal import Control

struct Doctor: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what this machine can do and what to install.",
        discussion: """
            EXAMPLES:
              wirevale doctor
              wirevale doctor --json | jq -r '.[].install // empty'

            Exit status: 0 when guests can be connected to a switch here, else 69.
            """
    )

    @Option(help: ArgumentHelp("The QEMU to examine.", valueName: "bin"))
    var qemu: String?
    @OptionGroup var output: OutputOptions
    @OptionGroup var engine: EngineOptions

    func run() throws {
        let program = qemu ?? QemuProgram.standard
        let findings =
            HostFinding.machine() + HostFinding.qemu(program)
            + HostFinding.companions() + [HostFinding.engine(engine.directory)]
        let canWork = findings.allSatisfy { !$0.isNeeded || $0.state != .missing }
        if output.json {
            print(JSONValue.array(findings.map(\.json)).prettyDescription)
        } else {
            Terminal.output(text(findings, canWork))
        }
        if !canWork { throw ExitCode(ExitStatus.unavailable.rawValue) }
    }

    private func text(_ findings: [HostFinding], _ canWork: Bool) -> String {
        var table = TextTable([
            ("", .left), ("WHAT", .left), ("FOUND", .left), ("WHAT IT IS FOR", .left),
        ])
        for finding in findings {
            table.add([finding.state.mark, finding.name, finding.detail, finding.purpose])
        }
        let packages = findings.filter { $0.state == .missing }.compactMap(\.package)
        var text = table.text()
        if !packages.isEmpty { text += "\nTo install what is missing: apt-get install " }
        if !packages.isEmpty { text += packages.joined(separator: " ") + "\n" }
        let lacking = findings.filter { $0.isNeeded && $0.state == .missing }.map(\.name)
        return text
            + (canWork
                ? "\nGuests can be connected to a switch here; 'wirevale demo' shows it.\n"
                : "\nGuests cannot be connected here without \(lacking.joined(separator: ", ")).\n")
    }
}

/// One thing that the machine has or lacks.
struct HostFinding {
    enum State: String {
        case ok, limited, missing
        var mark: String {
            switch self {
            case .ok: "ok"
            case .limited: "!"
            case .missing: "-"
            }
        }
    }

    let name: String
    let state: State
    let detail: String
    let purpose: String
    var package: String?
    /// Whether the main job, guests on a switch, cannot be done without.
    var isNeeded = false

    var json: JSONValue {
        var object: JSONObject = [
            "name": .string(name), "state": .string(state.rawValue), "detail": .string(detail),
            "purpose": .string(purpose), "needed": .bool(isNeeded),
        ]
        if state == .missing, let package {
            object["install"] = .string("apt-get install \(package)")
        }
        return .object(object)
    }
}
