// The engine as its clients see it, asked directly: ports, switches, errors, and what is left behind.

import Control
import Glibc
import Logging
import Testing

@testable import Engine

/// A directory that goes with its owner.
final class TemporaryDirectory {
    let path: String

    init() {
        var template = Array("/tmp/wirevale-test-XXXXXX".utf8CString)
        // SAFETY: mkdtemp rewrites the template in place.
        path = unsafe template.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress, let made = unsafe mkdtemp(base) else { return "" }
            return unsafe String(cString: made)
        }
    }

    deinit { TemporaryDirectory.remove(path) }

    private static func remove(_ path: String) {
        if unsafe unlink(path) == 0 { return }
        for name in entries(of: path) { remove(path + "/" + name) }
        unsafe rmdir(path)
    }

    /// What is in it.
    var entries: [String] { TemporaryDirectory.entries(of: path) }

    private static func entries(of path: String) -> [String] {
        guard let directory = unsafe opendir(path) else { return [] }
        defer { unsafe closedir(directory) }
        var names: [String] = []
        while let entry = unsafe readdir(directory) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }
}

func makeEngine(
    _ directory: TemporaryDirectory,
    _ change: (inout Engine.Configuration) -> Void = { _ in }
) throws -> Engine {
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    var configuration = Engine.Configuration(runtime: RuntimeDirectory(path: directory.path))
    configuration.workers = 2
    change(&configuration)
    return try Engine(configuration, logger: logger)
}

func ask(
    _ engine: Engine,
    _ command: String,
    _ arguments: JSONObject = [:],
    client: UInt64 = 1
) throws -> JSONValue {
    try engine.perform(QMPRequest(command, arguments), client: client)
}

@Suite("Engine", .serialized)
struct EngineTests {
    @Test func `a port makes its switch and takes it along when it goes`() throws {
        let directory = TemporaryDirectory()
        let engine = try makeEngine(directory)
        defer { engine.shutDown() }
        _ = try ask(engine, "netdev_add", ["type": "netmap", "id": "n0", "ifname": "vale0:a"])
        _ = try ask(engine, "netdev_add", ["type": "netmap", "id": "n1", "ifname": "vale0:b"])
        #expect(try ask(engine, "query-switches")[0]?["ports"]?.integerValue == 2)
        let port = try ask(engine, "query-ports", ["name": "vale0:a"])[0]
        #expect(port?["id"]?.stringValue == "n0")
        #expect(port?["operstate"]?.stringValue == "LOWERLAYERDOWN")
        #expect(port?["socket"]?.stringValue == directory.path + "/vale0/a.sock")
        _ = try ask(engine, "netdev_del", ["id": "n0"])
        _ = try ask(engine, "netdev_del", ["id": "n1"])
        #expect(try ask(engine, "query-switches") == .array([]))
        #expect(!directory.entries.contains("vale0"))
    }

    @Test func `duplicates are refused by name and change nothing`() throws {
        let directory = TemporaryDirectory()
        let engine = try makeEngine(directory)
        defer { engine.shutDown() }
        _ = try ask(engine, "netdev_add", ["type": "netmap", "id": "n0", "ifname": "vale0:a"])
        #expect(throws: QMPError("Duplicate ID 'n0' for netdev")) {
            try ask(engine, "netdev_add", ["type": "netmap", "id": "n0", "ifname": "vale0:b"])
        }
        #expect(throws: QMPError("Port 'vale0:a' exists already: it is netdev 'n0'")) {
            try ask(engine, "netdev_add", ["type": "netmap", "id": "n1", "ifname": "vale0:a"])
        }
        #expect(try ask(engine, "query-ports").arrayValue?.count == 1)
    }

    @Test func `ephemeral ports go with the connection that made them, others stay`() throws {
        let directory = TemporaryDirectory()
        let engine = try makeEngine(directory)
        defer { engine.shutDown() }
        let ephemeral: JSONObject = [
            "type": "netmap", "id": "n0", "ifname": "vale0:a", "ephemeral": true,
        ]
        _ = try ask(engine, "netdev_add", ephemeral, client: 7)
        _ = try ask(engine, "netdev_add", ["type": "netmap", "id": "n1", "ifname": "vale0:b"])
        engine.connectionEnded(8)
        #expect(try ask(engine, "query-ports").arrayValue?.count == 2)
        engine.connectionEnded(7)
        #expect(
            try ask(engine, "query-ports").arrayValue?.compactMap { $0["id"]?.stringValue } == [
                "n1"
            ]
        )
    }

    @Test func `static entries are added, shown, and go with their port`() throws {
        let directory = TemporaryDirectory()
        let engine = try makeEngine(directory)
        defer { engine.shutDown() }
        _ = try ask(engine, "netdev_add", ["type": "netmap", "id": "n0", "ifname": "vale0:a"])
        _ = try ask(engine, "netdev_add", ["type": "netmap", "id": "n1", "ifname": "vale0:b"])
        _ = try ask(engine, "fdb-add", ["mac": "52:54:00:00:00:01", "ifname": "vale0:a"])
        let table = try ask(engine, "query-fdb", ["switch": "vale0"])
        #expect(table[0]?["mac"]?.stringValue == "52:54:00:00:00:01")
        #expect(table[0]?["state"]?.stringValue == "static")
        #expect(throws: QMPError.self) {
            try ask(engine, "fdb-add", ["mac": "01:00:5e:00:00:01", "ifname": "vale0:a"])
        }
        _ = try ask(engine, "fdb-flush", ["switch": "vale0"])
        #expect(try ask(engine, "query-fdb").arrayValue?.count == 1)
        _ = try ask(engine, "netdev_del", ["id": "n0"])
        #expect(try ask(engine, "query-fdb").arrayValue?.isEmpty == true)
    }

    @Test func `a vhost-user port needs its chardev, which cannot go before it`() throws {
        let directory = TemporaryDirectory()
        let engine = try makeEngine(directory)
        defer { engine.shutDown() }
        let netdev: JSONObject = [
            "type": "vhost-user", "id": "n0", "ifname": "vale0:a", "chardev": "c0",
        ]
        #expect(throws: QMPError.self) { try ask(engine, "netdev_add", netdev) }
        let address: JSONValue = [
            "type": "unix", "data": ["path": .string(directory.path + "/c0")],
        ]
        _ = try ask(
            engine,
            "chardev-add",
            ["id": "c0", "backend": ["type": "socket", "data": ["addr": address]]]
        )
        _ = try ask(engine, "netdev_add", netdev)
        #expect(directory.entries.contains("c0"))
        #expect(throws: QMPError("Chardev 'c0' is busy; remove its netdev first")) {
            try ask(engine, "chardev-remove", ["id": "c0"])
        }
        _ = try ask(engine, "netdev_del", ["id": "n0"])
        _ = try ask(engine, "chardev-remove", ["id": "c0"])
        #expect(!directory.entries.contains("c0"))
    }

    @Test func `a second engine in the same directory is told so`() throws {
        let directory = TemporaryDirectory()
        let engine = try makeEngine(directory)
        defer { engine.shutDown() }
        do {
            _ = try makeEngine(directory)
            Issue.record("a second engine started")
        } catch let error as Engine.StartError {
            #expect(error.kind == .alreadyRunning)
            #expect(error.description.contains(directory.path))
        }
    }

    @Test func `an engine without ports leaves its directory empty and no descriptor open`()
        async
    {
        // In a process of its own: other tests open and close descriptors meanwhile.
        await #expect(processExitsWith: .success) {
            func openDescriptors() -> Int { (0..<1024).filter { fcntl($0, F_GETFD) >= 0 }.count }
            // What the runtime opens for itself it opens once; a leak grows with every engine.
            var counts: [Int] = []
            for _ in 0..<4 {
                let directory = TemporaryDirectory()
                let engine = try makeEngine(directory)
                for index in 0..<50 {
                    _ = try ask(
                        engine,
                        "netdev_add",
                        [
                            "type": "netmap", "id": .string("n\(index)"),
                            "ifname": .string("vale\(index % 3):p\(index)"),
                        ]
                    )
                }
                for index in 0..<50 {
                    _ = try ask(engine, "netdev_del", ["id": .string("n\(index)")])
                }
                engine.shutDown()
                guard directory.entries == [] else { fatalError("left: \(directory.entries)") }
                counts.append(openDescriptors())
            }
            guard zip(counts, counts.dropFirst()).contains(where: { $0 >= $1 }) else {
                fatalError("descriptors open after each engine: \(counts)")
            }
        }
    }
}
