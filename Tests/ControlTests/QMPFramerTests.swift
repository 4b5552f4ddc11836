// The framer must give the same values however the stream is cut.

import Control
import Testing

@Suite struct QMPFramerTests {
    static let stream = """
        {"execute": "qmp_capabilities"}\r
        {"a": "}{[\\"]", 'b': ['x\\'', {}]}[1,2]"s" 42 true
        {"multi":
          "line"}
        """

    static let values: [JSONValue] = [
        ["execute": "qmp_capabilities"], ["a": "}{[\"]", "b": ["x'", [:]]], [1, 2], "s", 42, true,
        ["multi": "line"],
    ]

    @Test func aStreamGivesItsValuesByteByByte() {
        var framer = QMPFramer()
        var seen: [Result<JSONValue, QMPError>] = []
        for byte in Self.stream.utf8 { seen += framer.append([byte]) }
        #expect(seen == Self.values.map { .success($0) })
        #expect(!framer.isInsideValue)
    }

    @Test func aStreamGivesItsValuesAtEverySplit() {
        let bytes = Array(Self.stream.utf8)
        for split in 0...bytes.count {
            var framer = QMPFramer()
            let seen = framer.append(bytes[..<split]) + framer.append(bytes[split...])
            #expect(seen == Self.values.map { .success($0) }, "split at \(split)")
        }
    }

    @Test(
        "a mistake is reported once and the next line is read",
        arguments: [
            ("{\"a\" 1}", "missing : in object pair"), ("{]", "stray ']'"), ("}", "stray '}'"),
            ("this is no JSON", "invalid keyword 'this'"),
            ("{\"a\": \"open", "control character in string"),
            (":,", "stray ':'"), ("{\"a\": 1, \"a\": 2}", "duplicate key"),
            (String(repeating: "[", count: 500), "nesting depth limit exceeded"),
        ]
    )
    func recovers(line: String, reason: String) {
        var framer = QMPFramer()
        let seen = framer.append((line + "\n{\"ok\": 1}\n").utf8)
        #expect(seen == [.failure(QMPError("JSON parse error, \(reason)")), .success(["ok": 1])])
    }

    @Test func aValueThatIsTooLargeCostsItsLine() {
        var framer = QMPFramer(maximumSize: 100)
        let big = "{\"a\": \"" + String(repeating: "x", count: 5000) + "\"}\n[1]"
        let seen = framer.append(big.utf8)
        let error = QMPError("JSON parse error, token size limit exceeded")
        #expect(seen == [.failure(error), .success([1])])
    }

    @Test func randomBytesNeverTrap() {
        var state: UInt64 = 0x5eed
        var framer = QMPFramer(maximumSize: 4096)
        let alphabet = Array("{}[]\"'\\,:0123456789.eE+-truefalsnl \n\u{7f}é".utf8)
        for _ in 0..<200_000 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            _ = framer.append([alphabet[Int(state >> 33) % alphabet.count]])
        }
    }
}
