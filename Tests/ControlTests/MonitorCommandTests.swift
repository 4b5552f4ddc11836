// Lines of the human monitor and what becomes of them.

import Control
import Testing

@Suite struct MonitorCommandTests {
    @Test(
        "a line becomes the request that does the work",
        arguments: [
            (
                "netdev_add netmap,id=n0,ifname=vale0:vm1",
                QMPRequest("netdev_add", ["id": "n0", "type": "netmap", "ifname": "vale0:vm1"])
            ),
            (
                "host_net_add netmap ifname=vale0:vm1",
                QMPRequest(
                    "netdev_add",
                    ["id": "vale0-vm1", "type": "netmap", "ifname": "vale0:vm1"]
                )
            ),
            (
                "host_net_add netmap,name=n7,ifname=vale0:vm1",
                QMPRequest("netdev_add", ["id": "n7", "type": "netmap", "ifname": "vale0:vm1"])
            ),
            ("netdev_del n0", QMPRequest("netdev_del", ["id": "n0"])),
            ("host_net_remove 0 n0", QMPRequest("netdev_del", ["id": "n0"])),
            ("host_net_remove n0", QMPRequest("netdev_del", ["id": "n0"])),
            ("set_link  \"n0\" off ", QMPRequest("set_link", ["name": "n0", "up": false])),
            ("info network", QMPRequest("query-ports")),
            ("info network n0", QMPRequest("query-ports", ["name": "n0"])),
            ("info fdb vale0", QMPRequest("query-fdb", ["switch": "vale0"])),
            ("chardev-remove c0", QMPRequest("chardev-remove", ["id": "c0"])),
            ("q", QMPRequest("quit")),
        ]
    )
    func translates(line: String, request: QMPRequest) throws {
        let made = try MonitorCommand(line).request
        #expect(made == request)
        if let made {
            try SchemaValidator().validate(command: made.command, arguments: made.arguments)
        }
    }

    @Test(
        "a line that is wrong says so",
        arguments: [
            ("foo", "unknown command: 'foo'"), ("info nope", "unknown command: 'info nope'"),
            ("netdev_del", "Parameter 'id' is missing"), ("netdev_add", "'type' is missing"),
            ("netdev_del a b", "extraneous characters at the end of line"),
            ("set_link a", "'on' or 'off'"), ("set_link a maybe", "'on' or 'off'"),
            ("help nope", "unknown command: 'nope'"),
            ("netdev_add netmap,id=n0,ifname=eth0", "such as 'vale0:eth0'"),
            ("host_net_add netmap vlan=0,ifname=vale0:a", "leave vlan out"),
        ]
    )
    func refuses(line: String, part: String) {
        do throws(MonitorCommand.LineError) {
            _ = try MonitorCommand(line)
            Issue.record("accepted \(line)")
        } catch {
            #expect(error.description.contains(part), "\(error.description)")
        }
    }

    @Test(
        "help comes from the schema and the table",
        arguments: [
            ("help", "netdev_add [netmap|vhost-user|"), ("?", "set_link name on|off"),
            ("help netdev_add", "ifname=<str>"), ("netdev_add help", "vhost-user options:"),
            ("netdev_add netmap,help", "devname=<str>"), ("host_net_add help", "netmap options:"),
            ("help info", "info fdb [switch]"), ("info", "info network"),
            ("chardev-add help", "socket"),
        ]
    )
    func helps(line: String, part: String) throws {
        let command = try MonitorCommand(line)
        #expect(command.request == nil)
        #expect(command.text(for: .null).contains(part))
    }

    @Test func anEmptyLineDoesNothing() throws {
        #expect(try MonitorCommand("  ") == .nothing)
        #expect(try MonitorCommand("").text(for: .null) == "")
    }

    @Test func infoNetworkShowsPortsBelowTheirSwitch() throws {
        let ports: JSONValue = [
            [
                "id": "n0", "ifname": "vale0:vm1", "master": "vale0", "type": "netmap",
                "socket": "/run/x.sock", "role": "server", "operstate": "UP", "link": true,
                "queues": 2,
            ],
            [
                "id": "n1", "ifname": "vale1:a", "master": "vale1", "type": "netmap",
                "operstate": "DOWN", "link": false, "queues": 1, "reason": "no guest",
            ],
        ]
        #expect(
            try MonitorCommand("info network").text(for: ports) == """
                switch vale0
                 \\ n0: type=netmap,ifname=vale0:vm1,state=UP,queues=2,socket=/run/x.sock,role=server
                switch vale1
                 \\ n1: type=netmap,ifname=vale1:a,state=DOWN,link=off,reason=no guest

                """
        )
    }
}
