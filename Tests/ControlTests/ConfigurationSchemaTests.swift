// What the tree says about configuration files is what the reader takes.

import Control
import Foundation
import Testing

@Suite struct ConfigurationSchemaTests {
    private func text(_ path: String) throws -> String {
        let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..")
        return try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }

    @Test func theSchemaInTheTreeIsThatOfTheProgram() throws {
        #expect(
            try text("share/wirevale.schema.json") == ConfigurationSchema.text,
            "run: wirevale apply --schema > share/wirevale.schema.json"
        )
    }

    @Test func allReferencesLeadSomewhere() throws {
        let definitions = try #require(ConfigurationSchema.json["$defs"]?.objectValue)
        func check(_ value: JSONValue) {
            for element in value.arrayValue ?? [] { check(element) }
            for (name, member) in value.objectValue ?? [:] {
                if name == "$ref", let path = member.stringValue {
                    #expect(definitions[String(path.dropFirst("#/$defs/".count))] != nil, "\(path)")
                }
                check(member)
            }
        }
        check(ConfigurationSchema.json)
    }

    @Test func everyKindOfPortIsInIt() throws {
        let port = ConfigurationSchema.json["$defs"]?["ConfigurationPort"]
        let kinds = try #require(port?["allOf"]?.arrayValue).compactMap {
            $0["if"]?["properties"]?["type"]?["const"]?.stringValue
        }
        #expect(kinds == Schema.wirevale.tagValues(of: "Netdev"))
    }

    @Test func theExamplesOfTheDocumentationAreGood() throws {
        let parts = try text("docs/configuration.md").components(separatedBy: "```")
        let examples = stride(from: 1, to: parts.count, by: 2).map { parts[$0] }.filter {
            $0.hasPrefix("yaml\n")
        }
        #expect(examples.count >= 3)
        for example in examples {
            let file = ConfigurationFile(Array(example.dropFirst(5).utf8), path: "example")
            #expect(file.errors == [])
            #expect(!file.configuration.ports.isEmpty)
        }
    }
}
