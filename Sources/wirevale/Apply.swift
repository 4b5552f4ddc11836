// wirevale apply: makes an engine have what files want.

internal import ArgumentParser
internal import Control

struct Apply: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make switches and ports as configuration files want them.",
        discussion: """
            EXAMPLES:
              wirevale apply lab.yaml               says what it does; a second time: nothing
              wirevale apply --dry-run lab.yaml     only says what it would do
              wirevale apply /etc/wirevale          all *.yaml and *.yml, by name
              wirevale apply lab.clab.yml           containerlab's links become wires
              wirevale export | wirevale apply -    changes nothing

            A FILE:
              switches:
                vale0:
                  ageing: 300                       what 'switch set' takes
                  ports:
                    vm1:                            a netmap port, as 'port add' makes it
                    vm2: {queues: 2, lossless: on}  QEMU's names for options
                    vm3: {type: vhost-user, chardev: vm3}
                  fdb:
                    - {mac: "52:54:00:00:00:01", port: vm1}
              chardevs:
                vm3: {path: /run/vm3.sock, server: off}

            What was made for a file and is not in it any more is removed. What others made stays, unless \
            --prune is given. What can be changed while frames pass is; the rest is removed and made again, \
            and the output says so.

            Marks: + made, ~ changed, ! made again (frames are interrupted), - removed.

            Exit status: 0 done, 1 the engine refused something (the rest is done), 65 a file is wrong \
            (nothing is done), 66 a file cannot be read.

            All of the format: docs/configuration.md. For editors: wirevale apply --schema.
            """
    )

    @Argument(help: "Files, directories of files, or - for standard input.")
    var files: [String] = []
    @Flag(name: [.short, .long], help: "Only say what would be done.")
    var dryRun = false
    @Flag(help: "Remove ports, sockets and static addresses that no file names, whoever made them.")
    var prune = false
    @Flag(help: "Print the JSON Schema of configuration files, for editors.")
    var schema = false
    @OptionGroup var output: OutputOptions
    @OptionGroup var engine: EngineOptions

    func validate() throws {
        if files.isEmpty, !schema {
            throw ValidationError("name a file, a directory, or - for standard input")
        }
    }

    func run() throws {
        if schema { return Terminal.output(ConfigurationSchema.text) }
        let wanted = ConfigurationFiles(files)
        guard wanted.errors.isEmpty else { throw failure(wanted.errors) }
        let records = AppliedRecords(engine.directory)
        // To start an engine only to compare would not be dry.
        let client =
            dryRun
            ? try EngineLauncher(engine.directory).connectIfRunning() : try engine.connectOrStart()
        let state = try client.map { try $0.runningState() } ?? RunningState()
        let plan = ConfigurationPlan(
            wanted.configuration,
            from: state,
            former: wanted.former(in: records.read()),
            prunes: prune
        )
        var run = ConfigurationRun(plan)
        if let client, !dryRun {
            try client.perform(&run)
            for trouble in wanted.note(run, in: records) { Terminal.diagnose(trouble) }
        }
        report(run)
        if !run.failures.isEmpty || !plan.problems.isEmpty { throw ExitCode.failure }
    }

    private func failure(_ errors: [ConfigurationError]) -> Failure {
        for error in errors.dropLast() { Terminal.diagnose(error.description) }
        let isUnreadable = errors.allSatisfy { $0.position == nil }
        return Failure(isUnreadable ? .noInput : .badData, errors.last?.description ?? "")
    }

    private func report(_ run: ConfigurationRun) {
        for problem in run.plan.problems { Terminal.diagnose(problem.description) }
        for failure in run.failures {
            let change = run.plan.changes[failure.change]
            Terminal.diagnose("\(change.kind) \(change.name): \(failure.message)")
        }
        if output.json { return print(run.json(isDry: dryRun).prettyDescription) }
        var text = ""
        for (index, change) in run.plan.changes.enumerated() {
            text += change.line + (run.hasFailed(index) ? "  (failed)\n" : "\n")
        }
        Terminal.output(text + run.summary(isDry: dryRun) + "\n")
    }
}

extension ControlClient {
    /// Carries out a plan.
    ///
    /// - Throws: `ConnectionError` when the engine went away; what it refuses is in `run`.
    fileprivate func perform(_ run: inout ConfigurationRun) throws {
        while let request = run.next() {
            do {
                let limit = PortCommand.Add.guestTimeout
                _ = try execute(request.command, request.arguments, timeout: limit)
                run.finish(nil)
            } catch let error as QMPError {
                run.finish(error)
            }
        }
    }
}
