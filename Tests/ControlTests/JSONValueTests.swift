// JSON in QMP's dialect: what is read, what is refused and with which words, what is written.

import Control
import Testing

@Suite struct JSONValueTests {
    @Test(
        "a text reads as the value it says",
        arguments: [
            ("null", .null), (" true ", true), ("false", false), ("0", 0), ("-7", -7),
            ("9223372036854775807", 9_223_372_036_854_775_807),
            ("7.0", .number(7)), ("1e3", .number(1000)), ("-0.5", -0.5),
            ("18446744073709551616", .number(18_446_744_073_709_551_616)),
            ("\"a\\u00e9\\ud83d\\ude00\\n\\\"\"", "aé😀\n\""), ("'it\\'s'", "it's"),
            ("[]", []), ("[1, [2], {}]", [1, [2], [:]]),
            ("{\"a\": {\"b\": [null]}}", ["a": ["b": [nil]]]),
        ] as [(String, JSONValue)]
    )
    func reads(text: String, value: JSONValue) throws {
        #expect(try JSONValue(parsing: text) == value)
    }

    @Test(
        "a broken text is refused with QEMU's words",
        arguments: [
            ("", "expecting value"), ("{\"execute\" 5}", "missing : in object pair"),
            ("{\"a\": tru}", "invalid keyword 'tru'"), ("{\"a\":1,\"a\":2}", "duplicate key"),
            ("{5: 1}", "key is not a string in object"), ("[1 2]", "expected separator in list"),
            ("{\"a\":1 \"b\":2}", "expected separator in dict"), ("01", "invalid number '01'"),
            ("1.", "invalid number '1.'"), ("-", "invalid number '-'"),
            ("1e999", "invalid number '1e999'"), ("\"\\ud800x\"", "lone surrogate in string"),
            ("\"\\u0000\"", "invalid Unicode character in string"),
            ("\"\\q\"", "invalid escape sequence in string"), ("\"a", "unterminated string"),
            ("\"\\u00\"", "invalid escape sequence in string"),
            ("1 2", "stray text after the value"), ("[1,]", "expecting value"),
            ("\"a\nb\"", "control character in string"),
        ]
    )
    func refuses(text: String, reason: String) {
        #expect(throws: JSONSyntaxError.self) { try JSONValue(parsing: text) }
        do {
            _ = try JSONValue(parsing: text)
        } catch {
            #expect(error.reason == reason)
        }
    }

    @Test func nestingIsLimited() {
        let deep = String(repeating: "[", count: 200) + String(repeating: "]", count: 200)
        #expect(throws: JSONSyntaxError.self) { try JSONValue(parsing: deep) }
        let fine = String(repeating: "[", count: 100) + String(repeating: "]", count: 100)
        #expect(throws: Never.self) { try JSONValue(parsing: fine) }
    }

    @Test func writtenTextReadsBackAsTheSameValue() throws {
        let value: JSONValue = [
            "s": "quote \" slash \\ tab \t bell \u{7} é 😀", "n": -1, "d": 0.25, "t": true,
            "z": nil, "a": [1, [], [:]],
        ]
        #expect(try JSONValue(parsing: value.description) == value)
        #expect(try JSONValue(parsing: value.prettyDescription) == value)
        #expect(value.line.last == UInt8(ascii: "\n"))
        #expect(!value.description.contains("\n"))
    }

    @Test func membersKeepTheirOrderButOrderIsNoDifference() throws {
        let value = try JSONValue(parsing: "{\"z\": 1, \"a\": 2}")
        #expect(value.description == "{\"z\": 1, \"a\": 2}")
        #expect(value == ["a": 2, "z": 1])
        var object = try #require(value.objectValue)
        object["z"] = nil
        object["b"] = 3
        #expect(object.keys == ["a", "b"])
        #expect(object.count == 2)
    }
}
