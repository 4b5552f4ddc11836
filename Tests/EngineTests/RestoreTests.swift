// An engine that ends and the one that comes after it: what goes on, what goes, and what a damaged
// file can do.

import CNetmap
import Control
import Glibc
import Netmap
import Testing
import Vale

@testable import Engine

func write(_ text: String, to path: String) {
    let file = OwnedDescriptor(unsafe creat(path, 0o600))
    let bytes = Array(text.utf8)
    _ = unsafe Glibc.write(file.number, bytes, bytes.count)
}

private func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

private func addPort(_ engine: Engine, _ name: String, _ more: JSONObject = [:]) throws {
    var arguments: JSONObject = [
        "type": "netmap", "id": .string(name.split(separator: ":").joined(separator: "-")),
        "ifname": .string(name),
    ]
    for (key, value) in more { arguments[key] = value }
    _ = try ask(engine, "netdev_add", arguments)
}

func readText(_ path: String) -> String? {
    let file = OwnedDescriptor(unsafe nm_open_read(path))
    guard file.number >= 0 else { return nil }
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    let count = unsafe read(file.number, &bytes, bytes.count)
    return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
}

// One family with the engine's tests, which count the descriptors of the whole process.
extension EngineTests {
    @Suite("Restore")
    struct RestoreTests {
        @Test
        func `a port that exists keeps the records of its rings when it is asked for again`() throws
        {
            let directory = TemporaryDirectory()
            let engine = try makeEngine(directory)
            try addPort(engine, "vale0:a")
            let records = engine.configuration.runtime.records(
                of: try ValePortName("vale0:a")
            )
            write("", to: records)
            #expect(throws: (any Error).self) { try addPort(engine, "vale0:a") }
            #expect(exists(records))
            // They go with the port, and are not there for the next one of its name.
            _ = try ask(engine, "netdev_del", ["id": "vale0-a"])
            #expect(!exists(records))
            engine.shutDown()
        }

        @Test
        func `ports, sockets, links, settings and static addresses come back with their numbers`()
            throws
        {
            let directory = TemporaryDirectory()
            var before: JSONValue = .null
            do {
                let engine = try makeEngine(directory)
                for name in ["vale0:a", "vale0:b", "vale1:c"] { try addPort(engine, name) }
                _ = try ask(engine, "netdev_del", ["id": "vale0-a"])
                _ = try ask(engine, "set_link", ["name": "vale0-b", "up": false])
                _ = try ask(engine, "switch-set", ["switch": "vale1", "ageing": 77])
                _ = try ask(engine, "fdb-add", ["mac": "52:54:00:00:00:01", "ifname": "vale1:c"])
                let data: JSONValue = [
                    "addr": [
                        "type": "unix", "data": ["path": .string(directory.path + "/c0")],
                    ], "server": false, "reconnect": 7,
                ]
                _ = try ask(
                    engine,
                    "chardev-add",
                    ["id": "c0", "backend": ["type": "socket", "data": data]]
                )
                _ = try ask(
                    engine,
                    "netdev_add",
                    ["type": "vhost-user", "id": "n9", "ifname": "vale0:d", "chardev": "c0"]
                )
                before = try ask(engine, "query-ports")
                engine.shutDown()
            }
            #expect(exists(directory.path + "/state.json"))
            let engine = try makeEngine(directory)
            defer { engine.shutDown() }
            let after = try ask(engine, "query-ports")
            for key in ["id", "ifname", "socket", "role", "link", "queues"] {
                #expect(after.arrayValue?.map { $0[key] } == before.arrayValue?.map { $0[key] })
            }
            #expect(engine.ports.keys.sorted() == [1, 2, 3])
            let switches = try ask(engine, "query-switches")
            #expect(switches.arrayValue?.map { $0["fdb"]?["ageing"]?.integerValue } == [300, 77])
            let table = try ask(engine, "query-fdb")
            #expect(table.arrayValue?.map { $0["ifname"]?.stringValue } == ["vale1:c"])
            #expect(try ask(engine, "query-chardev")[0]?["label"] == "c0")
        }

        @Test func `ports on sockets come back as they were asked for`() throws {
            let directory = TemporaryDirectory()
            let unix = { (name: String) -> JSONValue in
                ["type": "unix", "path": .string("\(directory.path)/\(name).sock")]
            }
            let all: [(String, JSONObject)] = [
                ("stream", ["addr": unix("a"), "server": true, "lossless": true]),
                ("stream", ["addr": unix("b"), "reconnect-ms": 70]),
                ("stream", ["addr": unix("c"), "server": true, "ephemeral": true]),
                ("stream", ["addr": unix("d"), "ephemeral": true]),
                ("dgram", ["local": unix("e"), "remote": unix("f")]),
                ("socket", ["mcast": "230.0.0.99:47099", "localaddr": "127.0.0.1"]),
            ]
            var before: [JSONValue] = []
            do {
                let engine = try makeEngine(directory)
                for (index, (type, members)) in all.enumerated() {
                    var arguments = members
                    arguments["type"] = .string(type)
                    arguments["id"] = .string("s\(index)")
                    arguments["port"] = .string("vale0:s\(index)")
                    _ = try ask(engine, "netdev_add", arguments)
                }
                before = try ask(engine, "query-ports").arrayValue ?? []
                engine.shutDown()
            }
            let engine = try makeEngine(directory)
            defer { engine.shutDown() }
            let after = try ask(engine, "query-ports").arrayValue ?? []
            // An owner's port that connects has nobody who would come back to it.
            before.remove(at: 3)
            #expect(after.map { $0["id"] } == before.map { $0["id"] })
            for key in ["type", "socket", "role", "operstate", "lossless", "reason"] {
                #expect(after.map { $0[key] } == before.map { $0[key] }, "\(key)")
            }
            #expect(after[0]["reason"]?.stringValue?.contains("waiting for a peer on") == true)
            #expect(after[1]["reason"]?.stringValue?.contains("No such file") == true)
        }

        @Test func `counters go on for the ports that stay, and start anew for others`() throws {
            let directory = TemporaryDirectory()
            do {
                let engine = try makeEngine(directory)
                try addPort(engine, "vale0:a")
                try addPort(engine, "vale0:b")
                for port in engine.ports.values { port.rx.count(packets: 5, bytes: 500) }
                engine.shutDown()
            }
            let state = try EngineState(
                text: Array((try #require(readText(directory.path + "/state.json"))).utf8)
            )
            var renamed = state
            renamed.ports[1].options = try NetdevOptions([
                "type": "netmap", "id": "other", "ifname": "vale0:other",
            ])
            try StateFile(path: directory.path + "/state.json").write(renamed)
            let engine = try makeEngine(directory)
            defer { engine.shutDown() }
            #expect(engine.ports[1]?.rx.packets == 5)
            #expect(engine.ports[2]?.rx.packets == 0)
            try addPort(engine, "vale0:new")
            #expect(engine.ports[3]?.rx.packets == 0)
        }

        @Test func `a counter file of anything else is replaced`() throws {
            for text in ["", "rubbish", String(repeating: "x", count: 70_000)] {
                let directory = TemporaryDirectory()
                do {
                    let engine = try makeEngine(directory)
                    try addPort(engine, "vale0:a")
                    engine.shutDown()
                }
                write(text, to: directory.path + "/counters")
                let engine = try makeEngine(directory)
                #expect(engine.ports[1]?.rx.packets == 0)
                engine.shutDown()
            }
        }

        @Test func `learned addresses are there before anybody has sent`() throws {
            let directory = TemporaryDirectory()
            do {
                let engine = try makeEngine(directory)
                try addPort(engine, "vale0:a")
                try addPort(engine, "vale0:b")
                let vale = try #require(engine.switches["vale0"])
                let now = nm_monotonic_seconds()
                for mac in 1...100 {
                    unsafe vale.plane.pointee.vale.table.learn(
                        UInt64(mac) << 8,
                        on: UInt16(1 + mac % 2),
                        now: now,
                        ageing: 300
                    )
                }
                engine.shutDown()
            }
            let engine = try makeEngine(directory)
            let table = try ask(engine, "query-fdb")
            #expect(table.arrayValue?.count == 100)
            _ = try ask(engine, "netdev_del", ["id": "vale0-b"])
            #expect(try ask(engine, "query-fdb").arrayValue?.count == 50)
            _ = try ask(engine, "netdev_del", ["id": "vale0-a"])
            #expect(!exists(directory.path + "/vale0"))
            engine.shutDown()
            #expect(directory.entries == [])
        }

        @Test(arguments: [
            "", "{", "[]", "null", #"{"wirevale-state":2}"#, #"{"wirevale-state":1}"#,
            #"{"wirevale-state":1,"chardevs":[],"switches":[],"fdb":[],"guests":[],"#
                + #""ports":[{"number":0,"link":true,"netdev":{}}]}"#,
            #"{"wirevale-state":1,"chardevs":[],"switches":[],"fdb":[],"guests":[],"#
                + #""ports":[{"number":1,"link":true,"#
                + #""netdev":{"type":"netmap","id":"n","ifname":"vale0:../x"}}]}"#,
            #"{"wirevale-state":1,"chardevs":[3],"switches":[],"fdb":[],"guests":[],"ports":[]}"#,
            "\u{0}\u{1}\u{2}", String(repeating: "[", count: 300),
        ])
        func `a state that cannot be used is set aside`(text: String) throws {
            let directory = TemporaryDirectory()
            let path = directory.path + "/state.json"
            write(text, to: path)
            let engine = try makeEngine(directory)
            #expect(engine.ports.isEmpty)
            #expect(!exists(path))
            #expect(readText(path + ".damaged") == text)
            engine.shutDown()
        }

        @Test func `something that is no file in the state's place is set aside`() throws {
            let directory = TemporaryDirectory()
            let path = directory.path + "/state.json"
            unsafe symlink("/etc/passwd", path)
            let engine = try makeEngine(directory)
            #expect(engine.ports.isEmpty)
            try addPort(engine, "vale0:a")
            engine.shutDown()
            var status = stat()
            #expect(unsafe lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG)
        }

        @Test
        func `an orphaned port gives way to its guest's next start, and goes if nobody comes`()
            throws
        {
            let directory = TemporaryDirectory()
            do {
                let engine = try makeEngine(directory)
                try addPort(engine, "vale0:a", ["ephemeral": true])
                try addPort(engine, "vale0:b", ["ephemeral": true])
                try addPort(engine, "vale0:stays")
                engine.shutDown()
            }
            let engine = try makeEngine(directory) { $0.returnSeconds = 0.1 }
            defer { engine.shutDown() }
            #expect(engine.ports.count == 3)
            try addPort(engine, "vale0:b", ["ephemeral": true])
            #expect(engine.ports.count == 3)
            engine.loop.after(0.3) { engine.loop.stop() }
            engine.loop.run()
            let names = engine.ports.values.map(\.ifname).sorted()
            #expect(names == ["vale0:b", "vale0:stays"])
        }

        @Test func `an engine that leaves because nothing is left leaves nothing`() throws {
            let directory = TemporaryDirectory()
            let engine = try makeEngine(directory)
            try addPort(engine, "vale0:a")
            #expect(exists(directory.path + "/state.json"))
            _ = try ask(engine, "netdev_del", ["id": "vale0-a"])
            #expect(!exists(directory.path + "/state.json"))
            engine.shutDown()
            #expect(directory.entries == [])
        }
    }
}
