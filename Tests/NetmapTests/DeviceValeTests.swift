// Switches: attach, detach, make, delete, list, poll (netmap-spec 2.15).

import CNetmap
import Glibc
@testable import Netmap
import Testing

@Suite("On a switch")
struct DeviceValeTests {
    static func attach(
        _ client: DeviceClient,
        _ name: String,
        host: Bool = false
    ) throws {
        let errno = try attachErrno(client, name) {
            $0.reg.nr_mode = UInt32(host ? NR_REG_NIC_SW : NR_REG_ALL_NIC)
        }
        try #require(errno == 0, "\(client.device.lastRefusal?.description ?? "")")
    }

    static func attachErrno(
        _ client: DeviceClient,
        _ name: String,
        _ change: (inout nmreq_vale_attach) -> Void = { _ in }
    ) throws -> Int32 {
        var body = nmreq_vale_attach()
        body.reg.nr_mode = UInt32(NR_REG_ALL_NIC)
        change(&body)
        return try client.ask(NETMAP_REQ_VALE_ATTACH, name, body).errno
    }

    static func detach(_ client: DeviceClient, _ name: String) throws -> Int32 {
        try client.ask(NETMAP_REQ_VALE_DETACH, name, nmreq_vale_detach()).errno
    }

    static func newInterface(_ client: DeviceClient, _ name: String) throws {
        try #require(try client.ask(NETMAP_REQ_VALE_NEWIF, name, nmreq_vale_newif()).errno == 0)
    }

    static func delete(_ client: DeviceClient, _ name: String) throws -> Int32 {
        try client.named(NETMAP_REQ_VALE_DELIF, name)
    }

    @Test("attaching is refused: EINVAL for what is none, ENOMEM for what is malformed")
    func attachNames() throws {
        let client = try DeviceClient.withInterface()
        #expect(try Self.attachErrno(client, "nm0") == EINVAL)
        #expect(try Self.attachErrno(client, "br0:nm0") == EINVAL)
        #expect(try Self.attachErrno(client, "vale0") == ENOMEM)
        #expect(try Self.attachErrno(client, "vale 0:nm0") == ENOMEM)
        #expect(try Self.attachErrno(client, "vale0:eth7") == EINVAL)
        client.expectNothingLeft(except: ["nm0"])
    }

    @Test("attaching is refused: EINVAL for other modes, a ring number, unknown memory")
    func attachModes() throws {
        let client = try DeviceClient.withInterface()
        for mode in [0, NR_REG_SW, NR_REG_ONE_NIC, NR_REG_NULL] {
            #expect(
                try Self.attachErrno(client, "vale0:nm0") { $0.reg.nr_mode = UInt32(mode) }
                    == EINVAL
            )
        }
        #expect(try Self.attachErrno(client, "vale0:nm0") { $0.reg.nr_ringid = 1 } == EINVAL)
        #expect(try Self.attachErrno(client, "vale0:nm0") { $0.reg.nr_mem_id = 9 } == EINVAL)
        try Self.newInterface(client, "per")
        #expect(
            try Self.attachErrno(client, "vale0:per") { $0.reg.nr_mode = UInt32(NR_REG_NIC_SW) }
                == EINVAL
        )
    }

    @Test("attaching is refused: EBUSY for what is there, elsewhere, or open")
    func attachBusy() throws {
        let client = try DeviceClient.withInterface()
        client.fabric.add("vale0", "vm1")
        try client.device.addInterface(name: "vm1")
        #expect(try Self.attachErrno(client, "vale0:vm1") == EBUSY, "a guest has the name")
        let number = try client.bind("nm0")
        #expect(try Self.attachErrno(client, "vale0:nm0") == EBUSY)
        client.close(number)
        try Self.attach(client, "vale0:nm0")
        #expect(try Self.attachErrno(client, "vale0:nm0") == EBUSY)
        #expect(try Self.attachErrno(client, "vale1:nm0") == EBUSY)
        try client.bind("vale0:e")
        #expect(try Self.attachErrno(client, "vale0:e") == EBUSY)
    }

    @Test("an interface's host stack is a port beside it, and goes with it")
    func host() throws {
        let client = try DeviceClient.withInterface()
        try Self.attach(client, "vale0:nm0", host: true)
        #expect(client.fabric.valePorts.map(\.address.port) == ["nm0", "nm0^"])
        #expect(try Self.detach(client, "vale0:nm0^") == EINVAL)
        #expect(try Self.detach(client, "vale0:nm0") == 0)
        client.expectNothingLeft(except: ["nm0"])
        client.fabric.add("vale0", "nm0^")
        #expect(
            try Self.attachErrno(client, "vale0:nm0") { $0.reg.nr_mode = UInt32(NR_REG_NIC_SW) }
                == EEXIST
        )
        #expect(client.fabric.ports.count == 1, "undone")
        #expect(client.device.adapters.map(\.name) == ["nm0"])
    }

    @Test("a port's place is its number in the list")
    func portIndex() throws {
        let client = try DeviceClient.withInterface()
        try client.bind("vale0:a")
        try client.bind("vale0:z")
        var body = nmreq_vale_attach()
        body.reg.nr_mode = UInt32(NR_REG_ALL_NIC)
        let answer = try client.ask(NETMAP_REQ_VALE_ATTACH, "vale0:nm0", body)
        #expect(answer.body.port_index == 3 && answer.body.reg.nr_mem_id == 0)
        let detached = try client.ask(NETMAP_REQ_VALE_DETACH, "vale0:nm0", nmreq_vale_detach())
        #expect(detached.errno == 0 && detached.body.port_index == 3)
    }

    @Test("detaching: ENXIO for what is unknown, EINVAL for what is none, nothing for an open port")
    func detachErrors() throws {
        let client = try DeviceClient.withInterface()
        #expect(try Self.detach(client, "vale0:nm0") == ENXIO)
        #expect(try Self.detach(client, "nm0") == EINVAL)
        try client.bind("vale0:e")
        #expect(try Self.detach(client, "vale0:e") == 0)
        #expect(client.fabric.valePorts.count == 1)
    }

    @Test("a persistent port can be twice, but is open to nobody then, and leaves in reverse order")
    func twice() throws {
        let client = DeviceClient()
        try Self.newInterface(client, "v0")
        try Self.attach(client, "vale1:v0")
        #expect(try Self.attachErrno(client, "vale1:v0") == EBUSY)
        try Self.attach(client, "vale2:v0")
        #expect(try Self.attachErrno(client, "vale3:v0") == EBUSY)
        #expect(try client.refuse("v0") == EBUSY && client.refuse("vale1:v0") == EBUSY)
        #expect(try Self.delete(client, "v0") == EBUSY)
        #expect(try Self.detach(client, "vale1:v0") == EBUSY)
        #expect(try Self.detach(client, "vale2:v0") == 0)
        client.close(try client.bind("v0"))
        #expect(try Self.delete(client, "v0") == EBUSY)
        #expect(try Self.detach(client, "vale1:v0") == 0)
        #expect(try Self.delete(client, "v0") == 0)
        client.expectNothingLeft()
    }

    @Test("a persistent port is open without one, too, and survives its closing")
    func persistent() throws {
        let client = DeviceClient()
        try Self.newInterface(client, "v0")
        let number = try client.bind("v0")
        #expect(client.fabric.calls == ["start v0"], "it has joined nothing")
        #expect(try Self.delete(client, "v0") == EBUSY)
        let id = try client.attachment(number).mem_id
        client.close(number)
        client.expectNothingLeft(except: ["v0"])
        #expect(try client.attachment(client.bind("v0")).mem_id == id)
    }

    @Test("making a port: numbers are clamped, EINVAL for names, EEXIST for names that are taken")
    func newInterface() throws {
        let client = try DeviceClient.withInterface()
        var body = nmreq_vale_newif()
        (body.nr_tx_slots, body.nr_rx_slots, body.nr_tx_rings, body.nr_rx_rings) = (9999, 0, 3, 99)
        let made = try client.ask(NETMAP_REQ_VALE_NEWIF, "v0", body)
        #expect(made.errno == 0 && made.body.nr_tx_slots == 4096 && made.body.nr_rx_slots == 1024)
        #expect(
            made.body.nr_tx_rings == 3 && made.body.nr_rx_rings == 16 && made.body.nr_mem_id > 1
        )
        for name in ["v0", "nm0"] {
            #expect(try client.ask(NETMAP_REQ_VALE_NEWIF, name, body).errno == EEXIST)
        }
        for name in ["vale0:x", "valeX", "", "1234567890123456", "a:b", "a{b", "a b"] {
            #expect(try client.ask(NETMAP_REQ_VALE_NEWIF, name, body).errno == EINVAL, "\(name)")
        }
        body.nr_mem_id = 99
        #expect(try client.ask(NETMAP_REQ_VALE_NEWIF, "v1", body).errno == EINVAL)
        body.nr_mem_id = 1
        let shared = try client.ask(NETMAP_REQ_VALE_NEWIF, "v1", body)
        #expect(shared.errno == 0 && shared.body.nr_mem_id == 1)
    }

    @Test("a port's name stays taken wherever it is attached")
    func nameTaken() throws {
        let client = DeviceClient()
        let again = { try client.ask(NETMAP_REQ_VALE_NEWIF, "v0", nmreq_vale_newif()).errno }
        try Self.newInterface(client, "v0")
        #expect(try again() == EEXIST)
        try Self.attach(client, "vale1:v0")
        #expect(try again() == EEXIST)
        try Self.attach(client, "vale2:v0")
        #expect(try again() == EEXIST)
    }

    @Test(
        "deleting a port: ENXIO for none, EINVAL for what was not made so, EBUSY for what is used"
    )
    func deleteErrors() throws {
        let client = try DeviceClient.withInterface()
        #expect(try Self.delete(client, "v0") == ENXIO)
        #expect(try Self.delete(client, "nm0") == EINVAL)
        try Self.newInterface(client, "v0")
        let pipe = try client.bind("v0{1")
        #expect(try Self.delete(client, "v0") == EBUSY)
        client.close(pipe)
        #expect(try Self.delete(client, "v0") == 0)
    }

    @Test("a name has its place in the list: 255 without the port, ENOENT without the switch")
    func listByName() throws {
        let client = DeviceClient()
        client.fabric.add("vale0", "vm1")
        try client.bind("vale1:a")
        try client.bind("vale1:b")
        let list = { try client.ask(NETMAP_REQ_VALE_LIST, $0, nmreq_vale_list()) }
        let found = try list("vale1:b")
        #expect(found.errno == 0 && found.body.nr_bridge_idx == 1 && found.body.nr_port_idx == 2)
        let guest = try list("vale0:vm1")
        #expect(guest.body.nr_bridge_idx == 0 && guest.body.nr_port_idx == 1)
        #expect(try list("vale1:c").body.nr_port_idx == 255)
        #expect(try list("vale9:a").errno == ENOENT)
        #expect(try list("nm0").errno == EINVAL)
    }

    @Test("ports are listed one after the other, over all switches, to the end: ENOENT")
    func listAll() throws {
        let client = DeviceClient()
        client.fabric.add("vale2", "vm1")
        client.fabric.add("vale0", "vm2")
        try client.bind("vale0:a")
        try client.bind("vale1:b")
        var names: [String] = []
        var body = nmreq_vale_list()
        while names.count < 9 {
            let answer = try client.ask(NETMAP_REQ_VALE_LIST, "", body)
            guard answer.errno == 0 else {
                #expect(answer.errno == ENOENT)
                break
            }
            let name = DeviceClient.bytes(of: answer.header)[8..<72].prefix { $0 != 0 }
            names.append(String(decoding: name, as: UTF8.self))
            body = answer.body
            body.nr_port_idx += 1
        }
        #expect(names == ["vale2:vm1", "vale0:vm2", "vale0:a", "vale1:b"])
    }

    @Test("polling is for interfaces: EOPNOTSUPP, ENXIO, EINVAL; once: EFAULT")
    func polling() throws {
        let client = try DeviceClient.withInterface()
        try Self.attach(client, "vale0:nm0")
        try client.bind("vale0:e")
        func poll(_ type: Int, _ name: String, _ mode: Int32, _ first: UInt32, _ count: UInt32)
            throws -> Int32
        {
            var body = nmreq_vale_polling()
            (body.nr_mode, body.nr_first_cpu_id, body.nr_num_polling_cpus) = (
                UInt32(mode), first, count
            )
            return try client.ask(type, name, body).errno
        }
        let (on, off) = (NETMAP_REQ_VALE_POLLING_ENABLE, NETMAP_REQ_VALE_POLLING_DISABLE)
        #expect(try poll(on, "vale0:e", 1, 0, 1) == EOPNOTSUPP)
        #expect(try poll(on, "vale0:x", 1, 0, 1) == ENXIO)
        #expect(try poll(on, "nm0", 1, 0, 1) == EINVAL)
        #expect(try poll(off, "vale0:nm0", 1, 0, 1) == EFAULT)
        for (mode, first, count) in [
            (0, 0, 1), (3, 0, 1), (1, 0, 2), (1, 4, 1), (2, 0, 0), (2, 0, 4), (2, 0, 2),
        ] {
            let errno = try poll(on, "vale0:nm0", Int32(mode), UInt32(first), UInt32(count))
            #expect(errno == EINVAL, "\(mode) \(first) \(count)")
        }
        #expect(try poll(on, "vale0:nm0", 2, .max, .max) == EINVAL)
        #expect(try poll(on, "vale0:nm0", 1, 3, 1) == 0)
        #expect(try poll(on, "vale0:nm0", 1, 0, 1) == EFAULT)
        #expect(try Self.detach(client, "vale0:nm0") == EBUSY)
        #expect(try poll(off, "vale0:nm0", 1, 0, 1) == 0)
        #expect(try Self.detach(client, "vale0:nm0") == 0)
    }

    @Test("more ports than upstream has room for are possible")
    func manyPorts() throws {
        let client = DeviceClient()
        let small = DeviceClient.registration { ($0.nr_tx_slots, $0.nr_rx_slots) = (4, 4) }
        let numbers = try (0..<300).map { try client.bind("vale\($0 % 20):p\($0)", small) }
        for number in numbers { client.close(number) }
        client.expectNothingLeft()
    }
}
