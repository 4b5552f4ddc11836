// The client's side: where the engine is, how it is talked to, how it is started.

import Control
import Glibc
import Testing

@Suite struct RuntimeDirectoryTests {
    @Test(
        "the directory is the option's, the environment's or the user's",
        arguments: [
            ("/a/b/", 0, ["WIREVALE_RUNTIME_DIR": "/c"], "/a/b"),
            (nil, 0, ["WIREVALE_RUNTIME_DIR": "/c"], "/c"),
            (nil, 0, ["XDG_RUNTIME_DIR": "/x"], "/run/wirevale"),
            (nil, 7, ["XDG_RUNTIME_DIR": "/x"], "/x/wirevale"),
            (nil, 7, ["XDG_RUNTIME_DIR": "", "WIREVALE_RUNTIME_DIR": ""], "/tmp/wirevale-7"),
        ] as [(String?, UInt32, [String: String], String)]
    )
    func resolves(option: String?, user: UInt32, environment: [String: String], path: String) {
        let directory = RuntimeDirectory(option: option, userID: user) { environment[$0] }
        #expect(directory.path == path)
        #expect(directory.controlSocket == path + "/control.sock")
    }

    @Test func aRelativeOptionIsMeantFromHere() {
        #expect(RuntimeDirectory(path: "here").path.hasPrefix("/"))
    }

    @Test func portsHaveTheirSocketsBelowTheirSwitch() throws {
        let directory = RuntimeDirectory(path: "/r")
        #expect(directory.socket(of: try ValePortName("vale0:vm1")) == "/r/vale0/vm1.sock")
    }

    @Test func aDirectoryIsMadeForTheUserAlone() throws {
        let base = try FakeEngine.temporaryDirectory()
        let directory = RuntimeDirectory(path: base + "/deep/er")
        try directory.create()
        try directory.create()
        var status = stat()
        #expect(unsafe stat(directory.path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o700)
        unsafe chmod(directory.path, 0o777)
        refuses(directory, "others may write")
        unsafe rmdir(directory.path)
        unsafe rmdir(base + "/deep")
        unsafe symlink("/tmp", base + "/link")
        refuses(RuntimeDirectory(path: base + "/link"), "is no directory")
        unsafe unlink(base + "/link")
        unsafe rmdir(base)
    }

    @Test func whatCannotBeMadeIsExplained() {
        refuses(RuntimeDirectory(path: "/proc/nope"), "cannot make the directory")
        let long = "/tmp/" + String(repeating: "x", count: 100)
        refuses(RuntimeDirectory(path: long), "at most 107")
    }

    private func refuses(_ directory: RuntimeDirectory, _ part: String) {
        do throws(RuntimeDirectory.AccessError) {
            try directory.create()
            Issue.record("accepted \(directory.path)")
        } catch {
            #expect(error.description.contains(part), "\(error.description)")
        }
    }
}

@Suite struct ControlClientTests {
    @Test func aCommandReturnsItsResultAndEventsGoTheirOwnWay() throws {
        let event = QMPEvent("NETDEV_ERROR", ["netdev-id": "n0", "reason": "x"], microseconds: 5)
        let engine = try FakeEngine(event: event) { request in
            request.reply(["command": .string(request.command)])
        }
        defer { FakeEngine.remove(engine.directory.path) }
        let client = try ControlClient(path: engine.directory.controlSocket)
        var events: [QMPEvent] = []
        client.onEvent = { events.append($0) }
        #expect(try client.execute("query-ports") == ["command": "query-ports"])
        #expect(try client.execute("query-fdb", ["switch": "vale0"])["command"] == "query-fdb")
        #expect(events == [event, event])
        #expect(client.greeting["QMP"] != nil)
    }

    @Test func anErrorOfTheEngineIsThrownAsItIs() throws {
        let engine = try FakeEngine { $0.reply(QMPError.deviceNotFound("n0")) }
        defer { FakeEngine.remove(engine.directory.path) }
        let client = try ControlClient(path: engine.directory.controlSocket)
        #expect(throws: QMPError.deviceNotFound("n0")) {
            try client.execute("netdev_del", ["id": "n0"])
        }
        #expect(throws: QMPError.missing("id")) { try client.execute("netdev_del") }
        #expect(throws: QMPError.commandNotFound("nope")) { try client.execute("nope") }
    }

    @Test func whatIsNoEngineIsToldFromWhatIsNotThere() throws {
        #expect(kind(try FakeEngine { FakeEngine.send(Array("{\"a\": 1}\n".utf8), $0) }) == .broken)
        #expect(kind(try FakeEngine { FakeEngine.send(Array("HTTP/1.1\n".utf8), $0) }) == .broken)
        #expect(kind(try FakeEngine { (_: Int32) in }) == .broken)
        #expect(kind(try FakeEngine { (_: Int32) in usleep(600_000) }) == .timeout)
        #expect(kind(path: "/nonexistent/control.sock") == .notRunning)
        #expect(kind(path: "/" + String(repeating: "x", count: 200)) == .broken)
    }

    private func kind(_ engine: FakeEngine) -> ControlClient.ConnectionError.Kind? {
        defer { FakeEngine.remove(engine.directory.path) }
        return kind(path: engine.directory.controlSocket)
    }

    private func kind(path: String) -> ControlClient.ConnectionError.Kind? {
        do throws(ControlClient.ConnectionError) {
            _ = try ControlClient(path: path, timeout: .milliseconds(300))
            return nil
        } catch {
            return error.kind
        }
    }
}

@Suite struct EngineLauncherTests {
    private func failure(_ script: String, patience: Duration = .seconds(5)) throws -> String {
        let directory = RuntimeDirectory(path: try FakeEngine.temporaryDirectory())
        defer { FakeEngine.remove(directory.path) }
        let launcher = EngineLauncher(
            directory,
            program: "/bin/sh",
            arguments: ["-c", script],
            patience: patience
        )
        do throws(EngineLauncher.LaunchError) {
            _ = try launcher.connect()
            return ""
        } catch {
            return error.description
        }
    }

    @Test func anEngineThatDiesIsReportedAtOnceWithItsLastWords() throws {
        let start = ContinuousClock.now
        let text = try failure("echo first; echo no room for counters >&2; exit 3")
        #expect(text.contains("the engine did not start"))
        #expect(text.contains("no room for counters"))
        #expect(text.contains("engine.log"))
        #expect(ContinuousClock.now - start < .seconds(3))
    }

    @Test func anEngineThatSaysNothingIsWaitedForOnlySoLong() throws {
        let text = try failure("sleep 1", patience: .milliseconds(200))
        #expect(text.contains("does not answer"))
        #expect(text.contains("it said nothing"))
    }

    @Test func aRunningEngineIsFoundAndNoneIsStarted() throws {
        let engine = try FakeEngine { $0.reply() }
        defer { FakeEngine.remove(engine.directory.path) }
        let launcher = EngineLauncher(engine.directory, program: "/nonexistent")
        #expect(throws: Never.self) { try launcher.connect() }
    }

    @Test func withoutAnEngineThereIsNoClient() throws {
        let launcher = EngineLauncher(RuntimeDirectory(path: "/nonexistent"))
        #expect(try launcher.connectIfRunning() == nil)
    }
}
