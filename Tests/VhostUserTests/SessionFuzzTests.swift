// A front-end that says anything at all: nothing traps, leaks, or breaks a rule of the session.

import Glibc
import Netmap
import TestSupport
import Testing

@testable import VhostUser

@Suite("A front-end that sends anything at all")
struct SessionFuzzTests {
    @Test("does not trap, leak or break a rule", arguments: 0..<10)
    func fuzz(seed: Int) throws {
        var frontEnd = RandomFrontEnd(seed: seed)
        var talk = Conversation()
        var handled = 0
        var starts = 0
        for _ in 0..<10_000 {
            do {
                try talk.send(frontEnd.next())
                handled += 1
            } catch {
                // The engine closes the connection; the front-end comes back.
                if frontEnd.random.chance(20) {
                    talk.session.close(&talk.controller)
                    #expect(talk.controller.running.isEmpty, "seed \(seed)")
                    talk = Conversation()
                }
            }
            starts += talk.controller.take().count { $0.hasPrefix("start") }
            // Keep what the test itself holds open small.
            if talk.farEnds.count > 400 {
                talk.farEnds.removeAll { Pipe.isHungUp($0.number, patience: 0) }
            }
            #expect(talk.controller.violations.isEmpty, "seed \(seed)")
        }
        #expect(handled > 3000 && starts > 100, "seed \(seed): \(handled), \(starts)")
        talk.session.close(&talk.controller)
        let farEnds = talk.farEnds
        talk = Conversation()
        #expect(farEnds.allSatisfy { Pipe.isHungUp($0.number) }, "seed \(seed)")
    }

    @Test("with descriptors of any kind, really mapped, leaves none behind in the process")
    func descriptorsOfTheProcess() async {
        await #expect(processExitsWith: .success) {
            func count() -> Int {
                guard let directory = unsafe opendir("/proc/self/fd") else { return -1 }
                defer { unsafe closedir(directory) }
                var n = 0
                while unsafe readdir(directory) != nil { n += 1 }
                return n
            }
            func mappings() throws -> Int {
                var lines = 0
                let file = unsafe fopen("/proc/self/maps", "r")
                defer { unsafe fclose(file) }
                while unsafe fgetc(file) != EOF { lines += 1 }
                return lines
            }
            let before = count()
            var mapped = 0
            for seed in 0..<20 {
                var frontEnd = RandomFrontEnd(seed: seed)
                var talk = Conversation()
                talk.controller.mapsMemory = true
                try talk.negotiate()
                for _ in 0..<500 {
                    let message = frontEnd.next()
                    let files = try (0..<message.files).map { _ in try frontEnd.file() }
                    do { _ = try talk.send(message, files) } catch {
                        // A new connection, while the old one's rings may still run.
                        talk.session.close(&talk.controller)
                        talk = Conversation()
                        talk.controller.mapsMemory = true
                        try talk.negotiate()
                    }
                    if talk.controller.memory != nil { mapped += 1 }
                }
                if seed % 2 == 0 { talk.session.close(&talk.controller) }
            }
            precondition(mapped > 500, "otherwise no memory was ever accepted")
            // A leak would show by the hundred; the runtime opens one or two of its own.
            precondition(count() <= before + 4)
            exit(0)
        }
    }
}
