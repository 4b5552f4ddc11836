// Rules, modes and hubs as clients set them, and after the engine came back.

import CNetmap
import Control
import Netmap
import Testing
import Vale

@testable import Engine

private func add(_ engine: Engine, _ name: String, _ more: JSONObject = [:]) throws {
    var arguments: JSONObject = [
        "type": "netmap", "id": .string(name.split(separator: ":").joined(separator: "-")),
        "ifname": .string(name),
    ]
    for (key, value) in more { arguments[key] = value }
    _ = try ask(engine, "netdev_add", arguments)
}

/// The sentence of the error that a command ends with.
private func refusal(_ engine: Engine, _ command: String, _ arguments: JSONObject) -> String {
    do {
        _ = try ask(engine, command, arguments)
        return "no error"
    } catch {
        return "\(error)"
    }
}

extension EngineTests {
    @Suite("Rules")
    struct PolicyTests {
        @Test func `rules, modes, kept switches and hubs come back`() throws {
            let directory = TemporaryDirectory()
            var before: [JSONValue] = []
            let queries = ["query-ports", "query-switches", "query-fdb"]
            do {
                let engine = try makeEngine(directory)
                try add(engine, "vale0:a", ["vlan": 10, "source-check": "52:54:00:00:00:01"])
                try add(engine, "vale0:b", ["trunks": "10,20-30", "native-vlan": 1])
                try add(engine, "vale0:c")
                _ = try ask(
                    engine,
                    "port-set",
                    ["name": "vale0:c", "isolated": true, "rx-rate": "10mbit", "storm-limit": 9]
                )
                _ = try ask(engine, "switch-add", ["switch": "vale7", "mode": "wire", "ageing": 7])
                _ = try ask(engine, "switch-set", ["switch": "vale0", "group-forward": false])
                _ = try ask(
                    engine,
                    "fdb-add",
                    ["mac": "52:54:00:00:00:01", "ifname": "vale0:a", "vlan": 10]
                )
                try add(engine, "vale1:x")
                _ = try ask(
                    engine,
                    "netdev_add",
                    ["type": "hubport", "id": "h1", "hubid": 3, "netdev": "vale1-x"]
                )
                _ = try ask(engine, "netdev_add", ["type": "hubport", "id": "h2", "hubid": 3])
                for query in queries { before.append(try ask(engine, query)) }
                engine.shutDown()
            }
            let engine = try makeEngine(directory)
            defer { engine.shutDown() }
            for (query, result) in zip(queries, before) {
                #expect(try ask(engine, query) == result)
            }
            #expect(
                before[0].arrayValue?.map { $0["master"] } == [
                    "hub3", "hub3", "vale0", "vale0", "vale0",
                ]
            )
            let names = before[1].arrayValue?.map { $0["ifname"]?.stringValue }
            // vale1 went with its last port.
            #expect(names == ["hub3", "vale0", "vale7"])
            for port in engine.ports.values {
                #expect(
                    unsafe (engine.table.gates.gate(port.number) != nil) == !port.policy.isEmpty
                )
            }
        }

        @Test func `a wire has two ports, and refusals say what to do`() throws {
            let directory = TemporaryDirectory()
            let engine = try makeEngine(directory)
            defer { engine.shutDown() }
            _ = try ask(engine, "switch-add", ["switch": "vale7", "mode": "wire"])
            try add(engine, "vale7:a")
            try add(engine, "vale7:b")
            let third: JSONObject = ["type": "netmap", "id": "c", "ifname": "vale7:c"]
            #expect(
                refusal(engine, "netdev_add", third)
                    == "Switch 'vale7' is a wire between vale7:a, vale7:b and has no room for 'vale7:c'; "
                    + "switch-set with mode=learning makes it a switch for any number of ports"
            )
            #expect(
                refusal(engine, "port-set", ["name": "vale7:a", "vlan": 3]).contains(
                    "a wire knows no VLANs"
                )
            )
            #expect(refusal(engine, "switch-del", ["switch": "vale7"]).contains("vale7:a, vale7:b"))
            #expect(
                refusal(engine, "switch-add", ["switch": "vale7"])
                    == "Switch 'vale7' exists already"
            )
            #expect(
                refusal(engine, "switch-add", ["switch": "sw0"]).contains(
                    "does not start with 'vale'"
                )
            )
            _ = try ask(engine, "switch-set", ["switch": "vale7", "mode": "learning"])
            _ = try ask(engine, "netdev_add", third)
            #expect(
                refusal(engine, "switch-set", ["switch": "vale7", "mode": "wire"])
                    .contains(
                        "cannot become a wire, which has two ports: it has vale7:a, vale7:b, vale7:c"
                    )
            )
            _ = try ask(engine, "port-set", ["name": "vale7:a", "vlan": 3])
            #expect(
                refusal(engine, "switch-set", ["switch": "vale7", "mode": "hub"])
                    .contains("port 'vale7:a' was told to have such rules")
            )
            for id in ["vale7-a", "vale7-b", "c"] {
                _ = try ask(engine, "netdev_del", ["id": .string(id)])
            }
            #expect(try ask(engine, "query-switches").arrayValue?.count == 1)
            _ = try ask(engine, "switch-del", ["switch": "vale7"])
            #expect(try ask(engine, "query-switches").arrayValue?.isEmpty == true)
            #expect(engine.state.isEmpty)
        }

        @Test func `a port goes onto a hub and back, with whatever it has`() throws {
            let directory = TemporaryDirectory()
            let engine = try makeEngine(directory)
            defer { engine.shutDown() }
            try add(engine, "vale0:a", ["isolated": true])
            try add(engine, "vale0:b")
            let hubport: JSONObject = [
                "type": "hubport", "id": "h", "hubid": 0, "netdev": "vale0-a",
            ]
            _ = try ask(engine, "netdev_add", hubport)
            #expect(refusal(engine, "netdev_add", hubport) == "Duplicate ID 'h' for netdev")
            var again = hubport
            again["id"] = "i"
            #expect(refusal(engine, "netdev_add", again).contains("is on 'hub0' already"))
            again["netdev"] = "nobody"
            #expect(refusal(engine, "netdev_add", again).contains("Device 'nobody' not found"))
            let port = try #require(try ask(engine, "query-ports", ["name": "vale0:a"])[0])
            #expect(port["master"] == "hub0" && port["hubport"] == "h" && port["isolated"] == true)
            #expect(engine.switches["vale0"]?.ports.count == 1)
            _ = try ask(engine, "netdev_del", ["id": "h"])
            #expect(engine.switches["hub0"] == nil)
            #expect(engine.switches["vale0"]?.ports.count == 2)
            // The port itself takes its place on the hub along.
            _ = try ask(engine, "netdev_add", hubport)
            _ = try ask(engine, "netdev_del", ["id": "vale0-a"])
            #expect(engine.hubPorts.isEmpty && engine.switches["hub0"] == nil)
        }

        @Test func `workers look at rules only where there are any`() throws {
            let directory = TemporaryDirectory()
            let engine = try makeEngine(directory)
            defer { engine.shutDown() }
            try add(engine, "vale0:a")
            let vale = try #require(engine.switches["vale0"])
            #expect(unsafe vale.plane.pointee.vale.isPlain)
            _ = try ask(engine, "port-set", ["name": "vale0:a", "mac-limit": 3])
            #expect(unsafe !vale.plane.pointee.vale.isPlain)
            _ = try ask(engine, "port-set", ["name": "vale0:a", "mac-limit": 0])
            #expect(unsafe vale.plane.pointee.vale.isPlain)
            try add(engine, "vale0:b", ["vlan": 3])
            #expect(unsafe !vale.plane.pointee.vale.isPlain)
            _ = try ask(engine, "netdev_del", ["id": "vale0-b"])
            #expect(unsafe vale.plane.pointee.vale.isPlain)
        }
    }
}
