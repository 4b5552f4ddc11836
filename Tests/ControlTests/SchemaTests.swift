// The schema must hold together, and its checks must say what QEMU says.

import Control
import Testing

@Suite struct SchemaTests {
    private let schema = Schema.wirevale

    @Test func everyTypeThatIsUsedIsDefined() {
        var used: Set<String> = []
        func note(_ type: Schema.TypeReference?) {
            switch type {
            case .array(let element): note(element)
            case .named(let name): used.insert(name)
            default: break
            }
        }
        for command in schema.commands {
            if let arguments = command.arguments { used.insert(arguments) }
            note(command.returns)
        }
        for event in schema.events { used.insert(event.data) }
        for object in schema.objects.values {
            for member in object.members { note(member.type) }
            for variant in object.variants { used.insert(variant.type) }
        }
        let defined = Set(schema.objects.keys).union(schema.enumerations.keys)
        #expect(used.subtracting(defined) == [])
        #expect(defined.subtracting(used) == [], "defined but used by nothing")
    }

    @Test func everyTagIsAnEnumerationWithAVariantForEachValue() throws {
        for object in schema.objects.values {
            guard let tag = object.tag else { continue }
            let member = try #require(object.members.first { $0.name == tag })
            guard case .named(let type) = member.type else {
                Issue.record("the tag of \(object.name) is no enumeration")
                continue
            }
            #expect(schema.enumerations[type]?.values == object.variants.map(\.value))
        }
    }

    @Test func introspectionRefersOnlyToWhatItContains() throws {
        let entries = try #require(schema.introspection.arrayValue)
        let names = Set(entries.compactMap { $0["name"]?.stringValue })
        #expect(names.count == entries.count, "two entries have one name")
        var used: [String] = []
        for entry in entries {
            for key in ["arg-type", "ret-type", "element-type"] {
                if let type = entry[key]?.stringValue { used.append(type) }
            }
            for key in ["members", "variants"] {
                used += (entry[key]?.arrayValue ?? []).compactMap { $0["type"]?.stringValue }
            }
        }
        #expect(Set(used).subtracting(names) == [])
        let kinds = Set(entries.compactMap { $0["meta-type"]?.stringValue })
        #expect(kinds == ["command", "event", "object", "enum", "array", "builtin"])
    }

    @Test func commandsAreListed() {
        let names = (schema.commandList.arrayValue ?? []).compactMap { $0["name"]?.stringValue }
        #expect(names.contains("netdev_add") && names.contains("human-monitor-command"))
        #expect(names.count == schema.commands.count)
    }

    @Test(
        "arguments that are wrong are refused with the name of the member",
        arguments: [
            ("netdev_add", "{}", "Parameter 'id' is missing"),
            ("netdev_add", "{'id': 'a'}", "Parameter 'type' is missing"),
            (
                "netdev_add", "{'type': 'nope', 'id': 'a'}",
                "Parameter 'type' does not accept value 'nope'"
            ),
            ("netdev_add", "{'type': 'netmap', 'id': 'a'}", "Parameter 'ifname' is missing"),
            (
                "netdev_add", "{'type': 'netmap', 'id': 7}",
                "Invalid parameter type for 'id', expected: string"
            ),
            (
                "netdev_add", "{'type': 'netmap', 'id': 'a', 'ifname': 'vale0:a', 'queues': '7'}",
                "Invalid parameter type for 'queues', expected: integer"
            ),
            (
                "netdev_add", "{'type': 'netmap', 'id': 'a', 'ifname': 'vale0:a', 'queues': 7.0}",
                "Invalid parameter type for 'queues', expected: integer"
            ),
            (
                "netdev_add", "{'type': 'netmap', 'id': 'a', 'ifname': 'vale0:a', 'foo': 1}",
                "Parameter 'foo' is unexpected"
            ),
            (
                "netdev_add", "{'type': 'netmap', 'id': 'a', 'ifname': 'vale0:a', 'chardev': 'c'}",
                "Parameter 'chardev' is unexpected"
            ),
            (
                "netdev_add", "{'type': 'vhost-user', 'id': 'a', 'ifname': 'vale0:a'}",
                "Parameter 'chardev' is missing"
            ),
            (
                "set_link", "{'name': 'a', 'up': 1}",
                "Invalid parameter type for 'up', expected: boolean"
            ),
            ("query-chardev", "{'x': 1}", "Parameter 'x' is unexpected"),
            (
                "qmp_capabilities", "{'enable': ['foo']}",
                "Parameter 'enable[0]' does not accept value 'foo'"
            ),
            (
                "qmp_capabilities", "{'enable': 'oob'}",
                "Invalid parameter type for 'enable', expected: array"
            ),
            (
                "chardev-add", "{'id': 'c', 'backend': {'type': 'socket'}}",
                "Parameter 'backend.data' is missing"
            ),
            (
                "chardev-add", "{'id': 'c', 'backend': 5}",
                "Invalid parameter type for 'backend', expected: object"
            ),
            (
                "chardev-add",
                "{'id':'c','backend':{'type':'socket','data':{'addr':{'type':'unix','data':{'pathx':'/x'}}}}}",
                "Parameter 'backend.data.addr.data.path' is missing"
            ),
            (
                "chardev-add",
                "{'id':'c','backend':{'type':'socket','data':{'addr':{'type':'inet','data':{}}}}}",
                "Parameter 'backend.data.addr.type' does not accept value 'inet'"
            ),
            (
                "chardev-add",
                "{'id':'c','backend':{'type':'socket','data':"
                    + "{'addr':{'type':'unix','data':{'path':'/x','y':1}}}}}",
                "Parameter 'backend.data.addr.data.y' is unexpected"
            ),
        ]
    )
    func refuses(command: String, arguments: String, text: String) throws {
        let object = try #require(try JSONValue(parsing: arguments).objectValue)
        #expect(throws: QMPError(text)) {
            try SchemaValidator().validate(command: command, arguments: object)
        }
    }

    @Test func goodArgumentsPass() throws {
        let validator = SchemaValidator()
        try validator.validate(
            command: "netdev_add",
            arguments: [
                "type": "netmap", "id": "n0", "ifname": "vale0:vm1", "devname": "/dev/netmap",
                "queues": 2, "ephemeral": true,
            ]
        )
        try validator.validate(command: "query-ports", arguments: [:])
        try validator.validate(command: "qmp_capabilities", arguments: ["enable": []])
    }
}
