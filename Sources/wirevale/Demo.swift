// `wirevale demo`: the whole thing in two minutes, for somebody who has never heard of netmap.

internal import ArgumentParser
internal import Control
internal import Glibc

/// Boots virtual machines on a switch and shows what they do there.
struct Demo: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Boot virtual machines on a switch and watch them talk.",
        discussion: """
            EXAMPLES
              wirevale demo              two machines: ping, TCP, counters
              wirevale demo --guests 3   a third one that sees none of the others' traffic
              wirevale demo --keep       leave them running to look around

            Needs no root and changes nothing on this machine: the switch, its sockets and its \
            logs live in a directory of their own, which is removed at the end. The guest image \
            comes from scripts/guest-image ('make demo' makes it).
            """
    )

    @Option(help: ArgumentHelp("How many machines, 2 to 8.", valueName: "n"))
    var guests = 2

    @Option(help: ArgumentHelp("The guest's kernel.", valueName: "file"))
    var kernel: String?

    @Option(help: ArgumentHelp("The guest's initramfs.", valueName: "file"))
    var initrd: String?

    @Option(
        help: ArgumentHelp(
            "kvm or tcg; by default kvm where guests boot under it.",
            valueName: "name"
        )
    )
    var accel: String?

    @Flag(help: "Leave everything running afterwards, until Ctrl-C.")
    var keep = false

    func validate() throws {
        guard (2...8).contains(guests) else {
            throw ValidationError("--guests takes 2 to 8, not \(guests)")
        }
        if let accel, accel != "kvm", accel != "tcg" {
            throw ValidationError("--accel takes 'kvm' or 'tcg', not '\(accel)'")
        }
    }

    func run() throws {
        let image = try findImage()
        let stage = try DemoStage(guests: guests)
        do {
            defer { stage.clear() }
            try play(on: stage, kernel: image.kernel, initrd: image.initrd)
        } catch let interruption as DemoStage.Interrupted {
            print("\n  stopped; machines and switch are gone, nothing is left behind")
            throw ExitCode(128 + interruption.signal)
        } catch let failure as DemoGuest.Failure {
            throw Failure(.failure, "demo: \(failure)")
        }
    }

    private func play(on stage: DemoStage, kernel: String, initrd: String) throws {
        introduce(stage, kernel: kernel, initrd: initrd)
        try stage.startEngine()
        stage.tell("the switch engine is up: one ordinary process, nothing in the kernel")
        try boot(stage, kernel: kernel, initrd: initrd)
        let report = try DemoMeasurement(stage: stage).run()
        print("\n  Result\n\n\(report.text)\n")
        if keep {
            print(
                """
                  All of it is still running. In another terminal:

                    export WIREVALE_RUNTIME_DIR=\(stage.runtime.path)
                    \(program) port list
                    \(program) fdb
                    \(program) monitor

                  Ctrl-C here ends it.
                """
            )
            try stage.waitForSignal()
        }
        for guest in stage.guests { guest.end() }
        try stage.wait(5, for: "the end of the ports") {
            try stage.ask("query-switches").isEmpty ? () : nil
        }
        stage.tell("machines off: their ports went with them, and the switch with its last port")
        print(
            """

              Your own machine joins the same way: \(program) qemu <your QEMU options>
              -netdev netmap,id=net0,ifname=vale0:me -device virtio-net-pci,netdev=net0

            """
        )
    }

    private func introduce(_ stage: DemoStage, kernel: String, initrd: String) {
        let first = stage.guests[0]
        var lines = first.command(kernel: kernel, initrd: initrd, accelerator: accel ?? "tcg")
        lines[0].insert(program, at: 0)
        print(
            """

              \(guests) virtual machines, one software switch

              A VALE switch is an Ethernet switch in a program. A machine joins it by naming a
              port: 'vale0:vm1' is port vm1 of switch vale0. A switch appears with its first port
              and is gone with its last one. Each machine here is a stock QEMU, started like this:

                \(ShellText.lines(lines).split(separator: "\n").joined(separator: "\n    "))


            """,
            terminator: ""
        )
    }

    // MARK: - Booting

    private func boot(_ stage: DemoStage, kernel: String, initrd: String) throws {
        func boot(_ accelerator: String, within seconds: Double) throws {
            for guest in stage.guests {
                let words = guest.command(kernel: kernel, initrd: initrd, accelerator: accelerator)
                try guest.start(Array(words.joined()), runtimeDirectory: stage.runtime.path)
            }
            for guest in stage.guests {
                let what = "waiting for \(guest.name) to boot"
                _ = try stage.wait(seconds, for: what) { guest.take(upTo: "@ready") }
                stage.tell("\(guest.name) is up: address \(guest.address), on port \(guest.port)")
            }
        }

        let names = stage.guests.map(\.name).joined(separator: ", ")
        if accel == "kvm" || accel == nil && FileProbe.opens("/dev/kvm") {
            stage.tell("booting \(names) with KVM")
            do {
                // An openable /dev/kvm proves little: inside another machine it may hang.
                return try boot("kvm", within: accel == nil ? 10 : 60)
            } catch let failure as DemoGuest.Failure where accel == nil {
                for guest in stage.guests { guest.end() }
                let reason = failure.description.prefix { $0 != "\n" && $0 != ":" }
                stage.tell("KVM does not work on this machine (\(reason)); emulating instead")
            }
        }
        stage.tell("booting \(names) (emulated processors: slow, but the same everywhere)")
        try boot("tcg", within: 90)
    }

    // MARK: - Files

    private var program: String { CommandLine.arguments.first ?? "wirevale" }

    private func findImage() throws -> (kernel: String, initrd: String) {
        // Beside the build, wherever it was started from: .build/<triple>/release/wirevale.
        var places: [String] = []
        if let named = unsafe getenv("WIREVALE_GUEST") {
            places.append(unsafe String(cString: named))
        }
        places.append(".build/guest")
        let folder = (program.split(separator: "/", omittingEmptySubsequences: false).dropLast())
            .joined(separator: "/")
        places += ["\(folder)/../guest", "\(folder)/../../guest"]
        let place = places.first { FileProbe.exists($0 + "/vmlinuz") } ?? ".build/guest"
        let found = (kernel: kernel ?? place + "/vmlinuz", initrd: initrd ?? place + "/initramfs")
        for file in [found.kernel, found.initrd] where !FileProbe.exists(file) {
            throw Failure(
                .noInput,
                "there is no guest image at '\(file)'; run 'scripts/guest-image .build/guest' "
                    + "('make demo' does it), or name your own with --kernel and --initrd"
            )
        }
        return found
    }
}
