// containerlab's files: what its documentation shows, and what cannot be a wire.

import Control
import Testing

@Suite struct ContainerlabTests {
    private func file(_ text: String) -> ConfigurationFile {
        ConfigurationFile(Array(text.utf8), path: "f")
    }

    @Test func linksBecomeWires() {
        let made = file(
            """
            name: srl02
            prefix: ""
            mgmt: {network: custom, ipv4-subnet: 172.100.100.0/24}
            topology:
              defaults: {kind: nokia_srlinux}
              kinds:
                nokia_srlinux: {image: ghcr.io/nokia/srlinux}
              nodes:
                srl1: {type: ixr-d2l}
                srl2: {}
                client-1: {kind: linux, image: alpine}
              links:
                - endpoints: ["srl1:e1-1", "srl2:e1-1"]
                  mtu: 1500
                - endpoints: [srl2:ethernet-1/2, client-1:eth1]
                - type: veth
                  endpoints:
                    - {node: srl1, interface: e1-3}
                    - {node: srl2, interface: e1-3, mac: "02:00:00:00:00:01"}
                  labels: {foo: bar}
            """
        )
        #expect(made.errors == [])
        let names = made.configuration.ports.map { "\($0.name)" }
        #expect(
            names == [
                "vale_srl1_e1_1:srl1-e1-1", "vale_srl1_e1_1:srl2-e1-1",
                "vale_srl2__eb2b:srl2-ether_5e38", "vale_srl2__eb2b:client-1-eth1",
                "vale_srl1_e1_3:srl1-e1-3", "vale_srl1_e1_3:srl2-e1-3",
            ]
        )
        #expect(
            made.configuration.switches.map(\.settings)
                == Array(repeating: ["mode": "wire"], count: 3)
        )
        #expect(made.configuration.ports.allSatisfy { $0.netdev["type"] == "netmap" })
    }

    @Test(
        "what is no wire",
        arguments: [
            ("links: 3", "f:1:19: 'links' takes a list, not '3'"),
            ("links: [{endpoints: [\"a:1\"]}]", "f:1:32: a link has 'endpoints' with two entries"),
            ("links: [{}]", "f:1:20: a link has 'endpoints' with two entries"),
            (
                "links: [{endpoints: [\"a\", \"b:1\"]}]",
                "f:1:33: an endpoint is written node:interface"
            ),
            ("links: [{endpoints: [\"host:x\", \"b:1\"]}]", "f:1:33: 'host' is no node"),
            (
                "links: [{type: mgmt-net, endpoint: {}}]",
                "f:1:27: a link of type 'mgmt-net' is no wire"
            ),
            ("links: [{type: dummy, endpoints: []}]", "f:1:27: a link of type 'dummy' is no wire"),
            (
                "links: [{endpoints: [\"a:1\", \"b:1\"]}, {endpoints: [\"a:1\", \"c:1\"]}]",
                "f:1:62: 'a:1' is in a link already, in line 1"
            ),
            (
                "{nodes: {a: , leaf1: }, links: [{endpoints: [\"a:1\", \"leaf2:1\"]}]}",
                "f:1:63: 'nodes' has no 'leaf2'; did you mean 'leaf1'?"
            ),
            (
                "{nodes: {a: , b: {kind: bridge}}, links: [{endpoints: [\"a:1\", \"b:1\"]}]}",
                "f:1:73: 'b' is a bridge; write it as a switch"
            ),
            (
                "links: [{endpoints: [\"a.b:1\", \"b:1\"]}, {endpoints: [\"a_b:1\", \"c:1\"]}]",
                "f:1:64: this wire would be vale_a_b_1, as what is in line 1"
            ),
        ]
    )
    func mistakes(text: String, start: String) throws {
        let made = file(text.hasPrefix("{") ? "topology: " + text : "topology: {" + text + "}")
        #expect(made.errors.count == 1)
        let error = try #require(made.errors.first).description
        #expect(error.hasPrefix(start), "\(error)")
    }

    @Test func itsSectionsAreNothingWithoutATopology() {
        #expect(
            file("name: x").errors.map(\.description) == [
                "f:1:1: a configuration has no 'name'; possible are chardevs, switches, topology"
            ]
        )
    }
}
