// Commands that may have to ask a guest: those that need not are answered at once, and a guest that
// is not there is an error that says so.

import Control
import Testing

@testable import Engine

/// What a request is answered with, if it is answered before this returns.
private func answer(
    _ engine: Engine,
    _ command: String,
    _ arguments: JSONObject = [:]
) -> Result<JSONValue, QMPError>? {
    var result: Result<JSONValue, QMPError>?
    engine.perform(QMPRequest(command, arguments), client: 1) { result = $0 }
    return result
}

extension EngineTests {
    @Suite("Guests")
    struct GuestTests {
        @Test func `a port without a guest is removed at once, by request and by line`() throws {
            let directory = TemporaryDirectory()
            let engine = try makeEngine(directory)
            defer { engine.shutDown() }
            for name in ["a", "b"] {
                let netdev: JSONObject = [
                    "type": "netmap", "id": .string(name), "ifname": .string("vale0:\(name)"),
                ]
                #expect(answer(engine, "netdev_add", netdev) == .success([:]))
            }
            #expect(answer(engine, "netdev_del", ["id": "a"]) == .success([:]))
            #expect(engine.ports.count == 1)
            let line: JSONObject = ["command-line": "netdev_del b"]
            #expect(answer(engine, "human-monitor-command", line) == .success(""))
            #expect(engine.ports.isEmpty)
            #expect(
                answer(engine, "netdev_del", ["id": "b"]) == .failure(.deviceNotFound("b"))
            )
        }

        @Test func `plugging into a guest that does not answer leaves no port`() throws {
            let directory = TemporaryDirectory()
            let engine = try makeEngine(directory)
            defer { engine.shutDown() }
            let netdev: JSONObject = [
                "type": "netmap", "id": "h", "ifname": "vale0:h", "guest": "vm1",
            ]
            guard case .failure(let unknown)? = answer(engine, "netdev_add", netdev) else {
                Issue.record("an unknown guest was found")
                return
            }
            #expect(unknown.description.contains("Guest 'vm1' not found"))
            let guest: JSONObject = ["name": "vm1", "qmp": "/nonexistent/vm1.qmp"]
            #expect(answer(engine, "guest-add", guest) == .success([:]))
            #expect(
                answer(engine, "guest-add", guest)
                    == .failure(QMPError("Duplicate ID 'vm1' for guest"))
            )
            guard case .failure(let silent)? = answer(engine, "netdev_add", netdev) else {
                Issue.record("a guest without a monitor took a NIC")
                return
            }
            #expect(silent.description.contains("/nonexistent/vm1.qmp"))
            #expect(engine.ports.isEmpty && engine.switches.isEmpty)
            #expect(answer(engine, "guest-del", ["name": "vm1"]) == .success([:]))
        }
    }
}
