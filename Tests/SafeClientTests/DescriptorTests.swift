// Ports cost descriptors only as long as they are there.

import Glibc
import Netmap
import Testing
import Vale

@Suite(.serialized) struct DescriptorTests {
    /// How many descriptors this process has among the first thousands; other tests may have some, too.
    private func count() -> Int {
        (0..<4096).count { fcntl($0, F_GETFD) >= 0 }
    }

    @Test func aPortThatCannotBeOpenedLeavesNone() throws {
        let space = PortSpace.embedded()
        let a = try Port("vale0:a/x", on: space)
        let before = count()
        for _ in 0..<500 {
            #expect(throws: PortError.self) { _ = try Port("vale0:a", on: space) }
            #expect(throws: PortError.self) { _ = try Port("netmap:nobody@9999", on: space) }
        }
        let after = count()
        let name = a.name
        #expect(after < before + 300, "\(before) before, \(after) after, of \(name)")
    }

    @Test func waitsThatEndAtOnceLeaveNone() async throws {
        let space = PortSpace.embedded()
        let before = count()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<4 {
                group.addTask {
                    let a = try Port("vale\(task):a", on: space)
                    let b = try Port("vale\(task):b", on: space)
                    for round in 0..<2000 {
                        // The frame comes while the task is about to wait for it.
                        async let sent: Void = {
                            if round % 3 == 0 { await Task.yield() }
                        }()
                        _ = try await b.wait(for: .receive, timeout: .microseconds(round % 50))
                        await sent
                        try a.send([frame(from: 1, to: 255)])
                        _ = try await b.wait(for: .receive)
                        _ = try b.receive()
                    }
                }
            }
            try await group.waitForAll()
        }
        let after = count()
        #expect(after < before + 300, "\(before) before, \(after) after")
    }
}
