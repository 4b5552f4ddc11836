// Names as the device reads them (netmap-spec 2.12).

import CNetmap
import Glibc
@testable import Netmap
import Testing

@Suite("A name")
struct DeviceNameTests {
    @Test(
        "that begins with val is a switch's port, whatever follows, of at most 15 characters a part (traps 31, 35)"
    )
    func val() throws {
        let client = DeviceClient()
        try client.device.addInterface(name: "valley0")
        for name in [
            "valley0", "val", "vale", "vale0", "vale 0:a", "vale-0:a", "vale0:", ":",
            "vale0:1234567890123456", "vale456789012345:a",
        ] {
            let errno = try client.refuse(name)
            #expect(errno == (name == ":" ? ENXIO : ENOMEM), "\(name)")
        }
        for name in [
            "vale:0", "val:x", "valeXXX:YYY", "vale_x:y", "vale0:123456789012345",
            "vale45678901234:a",
        ] {
            client.close(try client.bind(name))
        }
    }

    @Test("means another switch with each other text before the colon")
    func switches() throws {
        let client = DeviceClient()
        for name in ["vale:a", "vale0:a", "valeA:a", "vale00:a"] { try client.bind(name) }
        #expect(client.fabric.valePorts.count == 4 && client.device.adapters.count == 4)
    }

    @Test("of an interface cannot be a new port's: EINVAL (trap 31)")
    func ofInterface() throws {
        let client = try DeviceClient.withInterface()
        try DeviceValeTests.newInterface(client, "per")
        for name in ["vale0:nm0", "vale0:per"] {
            #expect(try client.refuse(name) == EINVAL)
            #expect(
                try client.ask(NETMAP_REQ_PORT_INFO_GET, name, nmreq_port_info_get()).errno
                    == EINVAL
            )
        }
    }

    @Test("of a persistent port has two forms once it is attached (trap 31)")
    func twoNames() throws {
        let client = DeviceClient()
        try DeviceValeTests.newInterface(client, "per")
        try DeviceValeTests.attach(client, "vale0:per")
        let short = try client.memory(client.bind("per"))
        let long = try client.memory(client.bind("vale0:per"))
        #expect(short.transmit(0) == long.transmit(0))
        try client.bind("vale0:per{1")
        try client.bind("per}1")
        #expect(client.device.adapters.count == 3, "the port and one pipe")
    }

    @Test("of a pipe has a parent and an id: EINVAL")
    func pipes() throws {
        let client = DeviceClient()
        for name in ["{1", "vale0:a{", "}1", "vale0:a}", "{", "}"] {
            #expect(try client.refuse(name) == EINVAL, "\(name)")
        }
        try client.bind("vale0:a{any.id-1")
        try client.bind("vale0:a{1{2")
        let names = Set(client.device.adapters.map(\.name))
        #expect(
            names.contains("vale0:a{1") && names.contains("vale0:a{1{2"),
            "the last bracket splits"
        )
    }

    @Test("is printable ASCII: EINVAL")
    func bytes() throws {
        let client = DeviceClient()
        #expect(try client.refuse("vale0:é") == EINVAL)
        #expect(try client.refuse("vale0:a\n") == EINVAL)
        try client.bind("vale0:a b.c-d")
    }

    @Test("in the netmap_if is cut to 15 characters")
    func cut() throws {
        let client = DeviceClient()
        #expect(try client.memory(client.bind("vale0:123456789012345")).name == "vale0:123456789")
    }
}
