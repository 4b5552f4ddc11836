// A conversation as a client sees it; the wordings were taken from a running QEMU 7.2.

import Control
import Testing

@Suite struct QMPSessionTests {
    private func answer(_ session: inout QMPSession, _ line: String) throws -> JSONValue {
        let inputs = session.receive((line + "\n").utf8)
        try #require(inputs.count == 1)
        switch inputs[0] {
        case .reply(let reply): return reply
        case .request(let request): return ["request": .string(request.command)]
        }
    }

    @Test func greetingHasTheFormThatClientsExpect() {
        let greeting = QMPSession().greeting
        #expect(greeting["QMP"]?["version"]?["qemu"]?["major"]?.integerValue != nil)
        let package = greeting["QMP"]?["version"]?["package"]?.stringValue
        #expect(package?.hasPrefix("wirevale-") == true)
        #expect(greeting["QMP"]?["capabilities"] == [])
    }

    @Test func nothingWorksBeforeNegotiationAndNegotiationWorksOnce() throws {
        var session = QMPSession()
        let early = try answer(&session, "{'execute': 'query-ports', 'id': 1}")
        #expect(early["error"]?["class"] == "CommandNotFound")
        #expect(
            early["error"]?["desc"] == "Expecting capabilities negotiation with 'qmp_capabilities'"
        )
        #expect(early["id"] == 1)
        let oob = "{'execute': 'qmp_capabilities', 'arguments': {'enable': ['oob']}}"
        #expect(try answer(&session, oob)["error"]?["class"] == "GenericError")
        #expect(!session.isNegotiated)
        #expect(try answer(&session, "{'execute': 'qmp_capabilities'}") == ["return": [:]])
        #expect(session.isNegotiated)
        let again = try answer(&session, "{'execute': 'qmp_capabilities'}")
        #expect(
            again["error"]?["desc"]
                == "Capabilities negotiation is already complete, command ignored"
        )
        #expect(try answer(&session, "{'execute': 'query-ports'}") == ["request": "query-ports"])
    }

    @Test(
        "a bad message is answered in QEMU's words",
        arguments: [
            ("[]", "QMP input must be a JSON object"), ("42", "QMP input must be a JSON object"),
            ("{}", "QMP input lacks member 'execute'"),
            ("{'execute': 5}", "QMP input member 'execute' must be a string"),
            ("{'execute': 'x', 'argumentz': {}}", "QMP input member 'argumentz' is unexpected"),
            ("{'execute': 'x', 'arguments': []}", "QMP input member 'arguments' must be an object"),
            ("{'exec-oob': 'x'}", "QMP input member 'exec-oob' is unexpected"),
            ("{'execute': 'nope'}", "The command nope has not been found"),
            ("{'execute' 'x'}", "JSON parse error, missing : in object pair"),
        ]
    )
    func refuses(line: String, text: String) throws {
        var session = QMPSession()
        _ = try answer(&session, "{'execute': 'qmp_capabilities'}")
        #expect(try answer(&session, line)["error"]?["desc"] == .string(text))
    }

    @Test func anIdOfAnyKindComesBackEvenWithAnError() throws {
        var session = QMPSession()
        let reply = try answer(&session, "{'execute': 7, 'id': {'a': [1, null]}}")
        #expect(reply["id"] == ["a": [1, nil]])
        let request = QMPRequest("quit", id: "x")
        #expect(request.reply().description == "{\"return\": {}, \"id\": \"x\"}")
        #expect(
            request.reply(QMPError.deviceNotFound("n0")).description
                == "{\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"Device 'n0' not found\"}, "
                + "\"id\": \"x\"}"
        )
    }

    @Test func eventsSurviveTheWayThroughTheSocket() {
        let time = 1_700_000_000_000_007
        let event = QMPEvent("NETDEV_ERROR", ["netdev-id": "n0"], microseconds: time)
        #expect(QMPEvent(event.json) == event)
        #expect(event.json["timestamp"]?["microseconds"] == 7)
        #expect(QMPEvent(["return": [:]]) == nil)
    }

    @Test func requestsSurviveTheWayThroughTheSocket() throws {
        let request = QMPRequest("netdev_del", ["id": "n0"], id: 3)
        #expect(try QMPRequest(request.json) == request)
    }
}
