// Files and directories as they are named, and the records of what was made for them.

import Control
import Foundation
import Testing

@Suite struct ConfigurationFilesTests {
    /// A directory of its own, which goes with the test.
    private final class Directory {
        let path =
            FileManager.default.temporaryDirectory.path + "/wvc-\(UUID().uuidString.prefix(8))"

        init() throws {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        }

        deinit { try? FileManager.default.removeItem(atPath: path) }

        func write(_ name: String, _ text: String) throws -> String {
            try text.write(toFile: path + "/" + name, atomically: true, encoding: .utf8)
            return path + "/" + name
        }

        func remove(_ name: String) throws {
            try FileManager.default.removeItem(atPath: path + "/" + name)
        }
    }

    private func ports(_ names: String...) -> String {
        "switches: {vale0: {ports: {" + names.map { $0 + ": " }.joined(separator: ", ") + "}}}"
    }

    @Test func aDirectoryIsItsFilesByName() throws {
        let directory = try Directory()
        _ = try directory.write("20-b.yaml", ports("b"))
        _ = try directory.write("10-a.yml", ports("a"))
        _ = try directory.write(".hidden.yaml", "x: 1")
        _ = try directory.write("notes.txt", "x: 1")
        let files = ConfigurationFiles([directory.path])
        #expect(files.errors == [])
        #expect(files.configuration.ports.map(\.name.port) == ["a", "b"])
    }

    @Test func whatCannotBeReadIsNamed() throws {
        let directory = try Directory()
        let missing = directory.path + "/missing.yaml"
        #expect(
            ConfigurationFiles([missing]).errors.map(\.description) == [
                "\(missing): No such file or directory"
            ]
        )
        #expect(ConfigurationFiles([missing], mayBeMissing: true).errors == [])
        #expect(unsafe mkfifo(directory.path + "/fifo.yaml", 0o600) == 0)
        #expect(
            ConfigurationFiles([directory.path]).errors.map(\.description) == [
                "\(directory.path)/fifo.yaml: it is no file"
            ]
        )
    }

    @Test func whatWasMadeForAFileThatHasGoneMayGo() throws {
        let directory = try Directory()
        let runtime = RuntimeDirectory(path: directory.path)
        let records = AppliedRecords(runtime)
        let one = try directory.write("1.yaml", ports("a", "b"))
        let two = try directory.write("2.yaml", ports("c"))
        func apply(_ paths: [String]) -> (former: AppliedObjects, troubles: [String]) {
            let files = ConfigurationFiles(paths)
            let former = files.former(in: records.read())
            let run = ConfigurationRun(ConfigurationPlan(files.configuration, from: RunningState()))
            return (former, files.note(run, in: records))
        }
        #expect(apply([directory.path]).former.isEmpty)
        #expect(records.read().keys.sorted() == [one, two])
        #expect(apply([two]).former.ports.keys.sorted() == ["vale0:c"])
        #expect(
            apply([directory.path]).former.ports.keys.sorted() == ["vale0:a", "vale0:b", "vale0:c"]
        )

        // A file that is broken keeps what it has; another file's is not this file's.
        _ = try directory.write("1.yaml", "nonsense")
        #expect(apply([directory.path]).former.ports.keys.sorted() == ["vale0:c"])
        _ = try directory.write("1.yaml", ports("b"))
        #expect(
            ConfigurationFiles([one]).former(in: records.read()).ports.keys.sorted() == [
                "vale0:a", "vale0:b",
            ]
        )
        try directory.remove("1.yaml")
        let gone = apply([directory.path])
        #expect(gone.former.ports.keys.sorted() == ["vale0:a", "vale0:b", "vale0:c"])
        #expect(gone.troubles == [])
        #expect(records.read().keys.sorted() == [two])
        _ = try directory.write("2.yaml", "")
        _ = apply([two])
        #expect(records.read().isEmpty)
        #expect(!FileManager.default.fileExists(atPath: runtime.applied))
    }

    @Test func whatCouldNotBeRemovedIsNotForgotten() throws {
        let directory = try Directory()
        let records = AppliedRecords(RuntimeDirectory(path: directory.path))
        let path = try directory.write("1.yaml", ports("a"))
        var engine = ModelEngine()
        engine.apply(ports("a"))
        _ = ConfigurationFiles([path]).note(
            ConfigurationRun(ConfigurationPlan(Configuration(), from: RunningState())),
            in: records
        )
        _ = try directory.write("1.yaml", "")
        engine.refused = ["netdev_del": 1]
        for left in [["vale0:a"], []] {
            let files = ConfigurationFiles([path])
            let former = files.former(in: records.read())
            let run = engine.carryOut(
                ConfigurationPlan(files.configuration, from: engine.state, former: former)
            )
            _ = files.note(run, in: records)
            #expect(engine.ports.keys.sorted() == left)
            #expect(records.read()[path]?.ports.keys.sorted() ?? [] == left)
        }
    }

    @Test(
        "only an engine in its usual place has a usual configuration",
        arguments: [
            (0, "/run/wirevale", [:], "/etc/wirevale"),
            (0, "/tmp/x", [:], nil),
            (0, "/tmp/x", ["WIREVALE_RUNTIME_DIR": "/tmp/x"], nil),
            (
                7, "/run/u/wirevale", ["XDG_RUNTIME_DIR": "/run/u", "HOME": "/h"],
                "/h/.config/wirevale"
            ),
            (7, "/tmp/wirevale-7", ["HOME": "/h", "XDG_CONFIG_HOME": "/c"], "/c/wirevale"),
            (7, "/tmp/wirevale-7", [:], nil),
        ] as [(UInt32, String, [String: String], String?)]
    )
    func places(user: UInt32, runtime: String, environment: [String: String], path: String?) {
        let found = ConfigurationFiles.defaultPath(
            for: RuntimeDirectory(path: runtime),
            userID: user
        ) { environment[$0] }
        #expect(found == path)
    }
}
