// What is wrong in a file is told with its place, and nothing else in the file is.

import Control
import Testing

/// A file of these lines, under the name `f`.
private func file(_ text: String) -> ConfigurationFile {
    ConfigurationFile(Array(text.utf8), path: "f")
}

/// What is wrong in a file of these lines.
private func errors(_ text: String) -> [String] { file(text).errors.map(\.description) }

@Suite struct ConfigurationFileTests {
    @Test func aWholeFile() throws {
        let made = file(
            """
            # A comment.
            switches:
              vale0:
                ageing: 60
                ports:
                  vm1:
                  vm2: {queues: 2, lossless: on, lossless-timeout: 0x10}
                  vm3:
                    type: vhost-user
                    chardev: c3
                    id: on
                    link: off
                fdb:
                  - {mac: 52:54:00:00:00:0A, port: vm1, vlan: 7}
              vale1: {}
              hub3: {ports: {h: {type: hubport, queues: 2}}}
            chardevs:
              c3: {path: /run/3.sock, server: no}
            """
        )
        #expect(made.errors == [])
        let wanted = made.configuration
        #expect(wanted.switches.map(\.name) == ["vale0", "vale1", "hub3"])
        #expect(wanted.switches.map(\.settings) == [["ageing": 60], [:], [:]])
        #expect(
            wanted.ports.map(\.netdev) == [
                ["type": "netmap", "id": "vale0-vm1", "ifname": "vale0:vm1"],
                [
                    "type": "netmap", "id": "vale0-vm2", "ifname": "vale0:vm2", "queues": 2,
                    "lossless": true, "lossless-timeout": 16,
                ],
                ["type": "vhost-user", "id": "on", "ifname": "vale0:vm3", "chardev": "c3"],
                ["type": "hubport", "id": "h", "hubid": 3, "queues": 2],
            ]
        )
        #expect(wanted.ports.map(\.isLinkUp) == [nil, nil, false, nil])
        #expect(wanted.stations.map(\.vlan) == [7])
        #expect(wanted.stations.map(\.mac) == ["52:54:00:00:00:0a"])
        #expect(wanted.stations.map { "\($0.port)" } == ["vale0:vm1"])
        #expect(wanted.chardevs.map(\.options.path) == ["/run/3.sock"])
        #expect(wanted.chardevs.map(\.options.isServer) == [false])
        #expect(wanted.ports[1].origin?.description == "f:7:7")
    }

    @Test(
        "a file that says nothing wants nothing",
        arguments: [
            "", "# nothing\n", "---\n", "switches:\n", "{}", "switches: ~", "\u{FEFF}switches: {}",
        ]
    )
    func empty(text: String) {
        #expect(errors(text) == [])
        #expect(file(text).configuration.ports.isEmpty)
    }

    @Test func jsonIsYAML() {
        let made = file(#"{"switches": {"vale0": {"ports": {"a": {"queues": 2}}}}}"#)
        #expect(made.errors == [])
        #expect(made.configuration.ports.map(\.netdev["queues"]) == [2])
    }

    @Test(
        "each mistake has its place and a hint",
        arguments: [
            ("swiches: {}", "f:1:1: a configuration has no 'swiches'; did you mean 'switches'?"),
            ("- a", "f:1:1: the file takes a mapping, not a list"),
            ("switches: [a]", "f:1:11: 'switches' takes a mapping, not a list"),
            ("switches:\n  br0: {}", "f:2:3: 'br0' does not start with 'vale'"),
            (
                "switches:\n  vale0: {aging: 3}",
                "f:2:11: a switch has no 'aging'; did you mean 'ageing'?"
            ),
            ("switches:\n  vale0: {ageing: soon}", "f:2:19: 'ageing' takes a whole number"),
            ("switches:\n  vale0: {ageing: \"60\"}", "f:2:19: 'ageing' takes a whole number"),
            ("switches:\n  vale0:\n    ports:\n      a b: {}", "f:4:7: port name 'a b'"),
            (
                "switches:\n  vale0:\n    ports:\n      a: {loseless: on}",
                "f:4:11: a netmap port has no 'loseless'; did you mean 'lossless'?"
            ),
            (
                "switches: {vale0: {ports: {a: {type: tapp}}}}",
                "f:1:38: 'type' cannot be 'tapp'; did you mean 'tap'?"
            ),
            (
                "switches: {vale0: {ports: {a: {lossless: maybe}}}}",
                "f:1:42: 'lossless' takes on or off"
            ),
            (
                "switches: {vale0: {ports: {a: {ifname: \"vale0:a\"}}}}",
                "f:1:32: leave 'ifname' out: the place in the file says that this is vale0:a"
            ),
            ("switches: {vale0: {ports: {a: {ephemeral: on}}}}", "f:1:32: leave 'ephemeral' out"),
            ("switches: {vale0: {ports: {a: {queues: 0}}}}", "f:1:40: Parameter 'queues' expects"),
            (
                "switches: {vale0: {ports: {a: {type: vhost-user}}}}",
                "f:1:28: a vhost-user port needs 'chardev'"
            ),
            (
                "switches: {vale0: {ports: {a: {type: tap, fd: t}}}}",
                "f:1:43: a file has no descriptors to pass"
            ),
            (
                "switches: {hub0: {ports: {a: {type: hubport, hubid: 0}}}}",
                "f:1:46: leave 'hubid' out: the place in the file says that this is hub0:a"
            ),
            (
                "switches: {vale0: {ports: {a: {type: hubport}}}}",
                "f:1:38: a hubport is a port of a hub, such as hub0, and 'vale0' is none"
            ),
            (
                "switches: {vale0: {mode: wired}}",
                "f:1:26: 'mode' cannot be 'wired'; did you mean 'wire'?"
            ),
            ("switches: {vale0: {ports: {a: {vlan: 5000}}}}", "f:1:38: Parameter 'vlan' expects"),
            ("switches: {vale0: {fdb: {}}}", "f:1:25: 'fdb' takes a list"),
            ("switches: {vale0: {fdb: [a]}}", "f:1:26: an address is written"),
            ("switches: {vale0: {fdb: [{port: a}]}}", "f:1:26: an address needs 'mac'"),
            (
                "switches: {vale0: {fdb: [{mac: \"01:00:5e:00:00:01\", port: a}]}}",
                "f:1:32: '01:00:5e:00:00:01' is not the address of one station"
            ),
            ("chardevs: {c: }", "f:1:12: a chardev needs at least 'path'"),
            (
                "chardevs: {c: {path: run}}",
                "f:1:22: Parameter 'backend.data.addr.data.path' expects"
            ),
            ("chardevs: {c: {path: /a, host: b}}", "f:1:26: a chardev has no 'host'; possible are"),
            ("chardevs: {1: {path: /a}}", "f:1:12: Parameter 'id' expects an identifier"),
        ]
    )
    func mistakes(text: String, start: String) throws {
        let found = errors(text)
        #expect(found.count == 1)
        let error = try #require(found.first)
        #expect(error.hasPrefix(start), "\(error)")
    }

    @Test func allMistakesAreTold() {
        let found = errors(
            """
            switches:
              vale0:
                ports:
                  a: {x: 1}
                  b: {queues: 1000}
                  c: {}
              nonsense: {}
            foo: 1
            """
        )
        #expect(found.map { String($0.prefix(5)) } == ["f:4:1", "f:5:1", "f:7:3", "f:8:1"])
    }

    @Test(
        "names that only one may have",
        arguments: [
            (
                "switches: {vale0: {ports: {a: {id: x}, b: {id: x}}}}",
                "f:1:40: the id 'x' is also in f:1:28"
            ),
            (
                "switches: {vale0: {fdb: [{mac: '02:00:00:00:00:01', port: a}, {mac: '02:00:00:00:00:01', port: b}]}}",
                "f:1:63: 02:00:00:00:00:01 of vale0 is also in f:1:26"
            ),
            (
                "chardevs: {a: {path: /x}, b: {path: /x}}",
                "f:1:27: a chardev on /x is also in f:1:12"
            ),
        ]
    )
    func twice(text: String, error: String) { #expect(errors(text) == [error]) }

    @Test func filesArePutTogether() {
        var files = ConfigurationFiles([])
        files.add(
            ConfigurationFile(Array("switches: {vale0: {ageing: 5, ports: {a: }}}".utf8), path: "a")
        )
        files.add(ConfigurationFile(Array("switches: {vale0: {ports: {b: }}}".utf8), path: "b"))
        #expect(files.errors == [])
        #expect(files.configuration.ports.map { "\($0.name)" } == ["vale0:a", "vale0:b"])
        #expect(files.configuration.switches.count == 1)
        files.add(ConfigurationFile(Array("switches: {vale0: {ageing: 6}}".utf8), path: "c"))
        files.add(
            ConfigurationFile(Array("switches: {vale0: {ports: {a: , d: }}}".utf8), path: "d")
        )
        #expect(
            files.errors.map(\.description) == [
                "c:1:12: vale0 has another 'ageing' in a:1:12",
                "d:1:28: port vale0:a is also in a:1:39",
                "d:1:28: the id 'vale0-a' is also in a:1:39",
            ]
        )
        #expect(files.configuration.ports.count == 2, "a file with errors is left out as a whole")
    }
}

@Suite struct YAMLTests {
    @Test func anchorsAliasesAndMerges() {
        let made = file(
            """
            switches:
              vale0:
                ports:
                  a: &fast {queues: 4, lossless: on}
                  b: *fast
                  c: {<<: *fast, queues: 1}
                  d: {<<: [*fast, {lossless: off, type: netmap}]}
            """
        )
        #expect(made.errors == [])
        #expect(made.configuration.ports.map(\.netdev["queues"]) == [4, 4, nil, 4])
        #expect(made.configuration.ports.map(\.netdev["lossless"]) == [true, true, true, true])
    }

    @Test(
        "what is no YAML for us",
        arguments: [
            ("a: [1", "f:2:1: while parsing a flow sequence: "),
            ("switches:\n\tvale0:", "f:2:1: while scanning for the next token: found character"),
            ("a: b: c", "f:1:5: mapping values are not allowed"),
            ("a: 1\na: 2", "f:2:1: 'a' is here a second time; the first is in line 1"),
            ("a: *b", "f:1:4: there is no complete value before this that is named '&b'"),
            ("a: &x [*x]", "f:1:8: there is no complete value before this that is named '&x'"),
            (
                "a: !!python/object x",
                "f:1:4: the tag 'tag:yaml.org,2002:python/object' means nothing"
            ),
            ("a: {<<: 3}", "f:1:9: '<<' takes a mapping, such as an alias of one, not '3'"),
            ("? [a]\n: b", "f:1:3: a name is expected here"),
            ("&k a: 1\n*k : 2", "f:2:1: a name is expected here"),
            ("--- {}\n--- {}", "f:2:1: a second document begins here"),
            ("a: \u{1}", "f:1:4: control characters are not allowed"),
            ("switches: {}\n\u{0}", "f:2:1: control characters are not allowed"),
        ]
    )
    func refused(text: String, start: String) throws {
        let error = try #require(errors(text).first)
        #expect(error.hasPrefix(start), "\(error)")
    }

    @Test func bytesThatAreNoText() throws {
        let made = ConfigurationFile(Array("a: b\nc: ".utf8) + [0xFF, 0xFE], path: "f")
        #expect(try #require(made.errors.first).description.hasPrefix("f:2:4: invalid"))
    }

    @Test func aMillionLaughs() throws {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1...30 {
            let alias = "*a\(level - 1)"
            text +=
                "a\(level): &a\(level) [\(Array(repeating: alias, count: 10).joined(separator: ", "))]\n"
        }
        let error = try #require(errors(text + "? *a30\n: 1\n").first)
        #expect(error.hasPrefix("f:5:"), "\(error)")
        #expect(error.contains("more than 100000 values"))
    }

    @Test func deepAndLarge() throws {
        let deep = String(repeating: "[", count: 100)
        #expect(try #require(errors(deep).first).hasPrefix("f:1:33: more than 32 levels"))
        let deeper = String(repeating: "[", count: 1_000_000)
        #expect(try #require(errors(deeper).first) == "f:1:1: while parsing: far too many levels")
        let block = (0..<100).map { String(repeating: " ", count: $0) + "a:" }.joined(
            separator: "\n"
        )
        #expect(try #require(errors(block).first).contains("more than 32 levels"))
        let large = String(repeating: "#", count: 1 << 20) + "\n"
        #expect(errors(large) == ["f: it has 1048577 bytes; at most 1048576 are read"])
    }

    @Test func manyPorts() {
        let ports = (0..<20_000).map { "      p\($0):\n" }.joined()
        let made = file("switches:\n  vale0:\n    ports:\n" + ports)
        #expect(made.errors == [])
        #expect(made.configuration.ports.count == 20_000)
    }

    @Test(.timeLimit(.minutes(1)))
    func anyBytesAreReadToTheEnd() {
        // Changes a good file at random; what matters is that it ends and that all errors have a place.
        let good = Array(
            """
            switches:
              vale0: {ageing: 3, ports: {a: &x {queues: 2}, b: {<<: *x}}}
            topology: {links: [{endpoints: ["a:1", "b:1"]}]}
            """.utf8
        )
        var state: UInt64 = 7
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let bytes = Array("{}[]:,&*?!|>-'\"# \n\t<%@`ax0".utf8) + [0, 0xC3, 0xFF]
        for _ in 0..<3000 {
            var text = good
            for _ in 0...random(4) { text[random(text.count)] = bytes[random(bytes.count)] }
            let made = ConfigurationFile(text, path: "f")
            #expect(made.errors.allSatisfy { $0.position != nil })
        }
    }
}
