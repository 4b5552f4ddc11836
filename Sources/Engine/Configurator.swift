// Configuration files at the engine's start and at SIGHUP: read, compared with what is there, carried out. The
// commands are those of the control socket, so nothing can be in a file that an operator could not have said.

import Control
import Logging

/// Makes an engine have what its configuration files want.
///
/// Control thread only.
final class Configurator {
    private unowned let engine: Engine
    private let paths: [String]
    private let mayBeMissing: Bool
    private let records: AppliedRecords
    /// What is under way, and for which files.
    private var current: (files: ConfigurationFiles, run: ConfigurationRun)?
    private var isWaiting = false
    private var isWorking = false
    private var isWantedAgain = false

    init(engine: Engine) {
        self.engine = engine
        paths = engine.configuration.files
        mayBeMissing = engine.configuration.mayFilesBeMissing
        records = AppliedRecords(engine.configuration.runtime)
    }

    /// Reads the files and begins; what a guest has to be asked for takes its time.
    func apply() {
        guard !paths.isEmpty else { return }
        // A plan is for what there is now; the files are read again after the one that is under way.
        guard current == nil else { return isWantedAgain = true }
        let files = ConfigurationFiles(paths, mayBeMissing: mayBeMissing)
        for error in files.errors { engine.logger.error("\(error); the file is left out") }
        let plan = ConfigurationPlan(
            files.configuration,
            from: RunningState(RunningState.queries.map(answer)),
            former: files.former(in: records.read())
        )
        for problem in plan.problems { engine.logger.error("\(problem)") }
        current = (files, ConfigurationRun(plan))
        work()
    }

    private func answer(_ query: String) -> JSONValue {
        (try? engine.perform(QMPRequest(query), client: 0)) ?? .null
    }

    private func work() {
        isWorking = true
        while !isWaiting, let request = current?.run.next() {
            isWaiting = true
            // No connection has this number, and nothing in a file goes with one.
            engine.perform(request, client: 0) { [weak self] result in
                guard let self else { return }
                isWaiting = false
                let error: QMPError? = if case .failure(let error) = result { error } else { nil }
                current?.run.finish(error)
                // One that was answered at once is still in the loop above.
                if !isWorking { work() }
            }
        }
        isWorking = false
        if !isWaiting { finish() }
    }

    private func finish() {
        guard let (files, run) = current else { return }
        current = nil
        for (index, change) in run.plan.changes.enumerated() where !run.hasFailed(index) {
            engine.logger.info("configuration: \(change.line)")
        }
        for failure in run.failures {
            let change = run.plan.changes[failure.change]
            engine.logger.error("configuration: \(change.kind) \(change.name): \(failure.message)")
        }
        for trouble in files.note(run, in: records) { engine.logger.warning("\(trouble)") }
        engine.logger.info(
            "configuration: \(run.summary(isDry: false))",
            metadata: ["files": "\(files.files.count)"]
        )
        if isWantedAgain {
            isWantedAgain = false
            apply()
        }
    }
}
