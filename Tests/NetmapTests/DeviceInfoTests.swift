// Questions, headers, NIOCCONFIG (netmap-spec 2.5).

import CNetmap
import Glibc
@testable import Netmap
import Testing

@Suite("Questions")
struct DeviceInfoTests {
    @Test("about a port make it for a moment, and leave the switch alone (trap 30)")
    func temporary() throws {
        let client = DeviceClient()
        for name in ["vale7:x", "vale7:x{1", "foo{1"] {
            let answer = try client.ask(NETMAP_REQ_PORT_INFO_GET, name, nmreq_port_info_get())
            #expect(answer.errno == 0 && answer.body.nr_memsize == 42_369_024, "\(name)")
            #expect(answer.body.nr_tx_rings == 1 && answer.body.nr_rx_slots == 1024)
            client.expectNothingLeft()
        }
        #expect(client.fabric.calls.isEmpty)
    }

    @Test("take numbers as wishes for a port that does not exist")
    func hints() throws {
        let client = DeviceClient()
        var body = nmreq_port_info_get()
        (body.nr_tx_rings, body.nr_rx_rings, body.nr_tx_slots) = (4, 4, 0)
        let answer = try client.ask(NETMAP_REQ_PORT_INFO_GET, "vale7:x", body)
        #expect(answer.body.nr_memsize == 55_074_816 && answer.body.nr_tx_rings == 4)
        #expect(answer.body.nr_host_tx_rings == 0)
    }

    @Test("without a name are about memory")
    func noName() throws {
        let client = DeviceClient()
        let global = try client.ask(NETMAP_REQ_PORT_INFO_GET, "", nmreq_port_info_get())
        #expect(global.errno == 0 && global.body.nr_memsize == 343_019_520)
        #expect(global.body.nr_mem_id == 1)
        let id = try client.register(client.open(), "vale0:a").body.nr_mem_id
        var body = nmreq_port_info_get()
        body.nr_mem_id = id
        let own = try client.ask(NETMAP_REQ_PORT_INFO_GET, "", body)
        #expect(own.body.nr_memsize == 42_369_024 && own.body.nr_mem_id == id)
        body.nr_mem_id = id + 1
        #expect(try client.ask(NETMAP_REQ_PORT_INFO_GET, "", body).errno == EINVAL)
        #expect(try client.ask(NETMAP_REQ_POOLS_INFO_GET, "", nmreq_pools_info()).errno != 0)
    }

    @Test("about ports that are not there: ENXIO, ENOMEM for malformed ones")
    func unknown() throws {
        let client = DeviceClient()
        let info = { try client.ask(NETMAP_REQ_PORT_INFO_GET, $0, nmreq_port_info_get()).errno }
        #expect(try info("eth7") == ENXIO)
        #expect(try info("valley0") == ENOMEM)
        let header = { try client.ask(NETMAP_REQ_PORT_HDR_GET, $0, nmreq_port_hdr()).errno }
        #expect(try header("eth7") == ENXIO)
        #expect(try header("vale0:a") == ENXIO)
        #expect(try header("valley0") == ENXIO)
        #expect(try header("eth7{1") == ENXIO)
    }

    @Test("on a descriptor that has a port open, too")
    func bound() throws {
        let client = DeviceClient()
        let number = try client.bind("vale0:a")
        let body = DeviceClient.bytes(of: nmreq_port_info_get())
        let answer = try client.control(number, NETMAP_REQ_PORT_INFO_GET, "vale0:a", body: body)
        let mine = try client.attachment(number).mem_id
        #expect(try UInt32(answer.value(nmreq_port_info_get.self).nr_mem_id) == mine)
    }

    @Test("about pools say where they are")
    func pools() throws {
        let client = DeviceClient()
        let number = try client.bind("vale0:a")
        let pools = try client.ask(NETMAP_REQ_POOLS_INFO_GET, "vale0:a", nmreq_pools_info()).body
        let id = try client.attachment(number).mem_id
        #expect(pools.nr_memsize == 42_369_024 && UInt32(pools.nr_mem_id) == id)
        #expect(pools.nr_if_pool_offset == 0 && pools.nr_if_pool_objtotal == 12)
        #expect(pools.nr_ring_pool_offset == 12288 && pools.nr_ring_pool_objsize == 20480)
        #expect(pools.nr_buf_pool_offset == 421_888 && pools.nr_buf_pool_objtotal == 20482)
        #expect(pools.nr_buf_pool_objsize == 2048)
    }
}

@Suite("The virtio-net header")
struct DeviceHeaderTests {
    static func set(_ client: DeviceClient, _ name: String, _ length: UInt32) throws -> Int32 {
        var body = nmreq_port_hdr()
        body.nr_hdr_len = length
        return try client.ask(NETMAP_REQ_PORT_HDR_SET, name, body).errno
    }
    static func get(_ client: DeviceClient, _ name: String) throws -> UInt32? {
        let answer = try client.ask(NETMAP_REQ_PORT_HDR_GET, name, nmreq_port_hdr())
        return answer.errno == 0 ? answer.body.nr_hdr_len : nil
    }

    @Test("has 0, 10 or 12 bytes, again and again: EINVAL for others (trap 32)")
    func lengths() throws {
        let client = DeviceClient()
        try client.bind("vale0:a")
        for length: UInt32 in [12, 0, 10, 10, 0, 12, 0] {
            #expect(try Self.set(client, "vale0:a", length) == 0)
            #expect(try Self.get(client, "vale0:a") == length)
        }
        for length: UInt32 in [1, 11, 13, .max] {
            #expect(try Self.set(client, "vale0:a", length) == EINVAL)
        }
        #expect(client.device.adapters[0].maximumFrame == 2048, "as long as a buffer from then on")
    }

    @Test("is for ports of switches by their names there: ENXIO for others (trap 32)")
    func names() throws {
        let client = try DeviceClient.withInterface()
        try client.bind("vale0:a{1")
        try client.bind("nm0")
        for name in ["nm0", "netmap:vale0:a", "vale0:b", "vale0:a{1", "vale", ""] {
            #expect(try Self.set(client, name, 10) == ENXIO, "\(name)")
        }
        #expect(try Self.get(client, "nm0") == 0 && Self.get(client, "vale0:a{1") == 0)
        #expect(try Self.get(client, "vale0:a{2") == nil)
        #expect(
            try client.ask(NETMAP_REQ_PORT_HDR_GET, "vale0:a{2", nmreq_port_hdr()).errno == ENODEV
        )
    }

    @Test("of attached ports can be set, and goes with an ephemeral one")
    func attached() throws {
        let client = try DeviceClient.withInterface()
        try DeviceValeTests.newInterface(client, "per")
        try DeviceValeTests.attach(client, "vale0:per")
        try DeviceValeTests.attach(client, "vale0:nm0")
        #expect(
            try Self.set(client, "vale0:per", 12) == 0 && Self.set(client, "vale0:nm0", 10) == 0
        )
        #expect(try Self.get(client, "per") == 12 && Self.get(client, "nm0") == 10)
        let number = try client.bind("vale0:e")
        #expect(try Self.set(client, "vale0:e", 12) == 0)
        client.close(number)
        try client.bind("vale0:e")
        #expect(try Self.get(client, "vale0:e") == 0)
        #expect(client.fabric.calls.contains("header vale0:e 12"))
    }

    @Test(
        "survives what QEMU tries: lengths on a bound descriptor by the old API, then the old one"
    )
    func qemu() throws {
        let client = DeviceClient()
        let number = try client.bind("vale0:a")
        for length: UInt16 in [10, 0, 12, 0] {
            var request = DeviceLegacyTests.request("vale0:a", command: NETMAP_BDG_VNET_HDR)
            request.put(length, at: 44)
            #expect(client.device.regif(number, request).errno == 0)
        }
        var wrong = DeviceLegacyTests.request("netmap:vale0:a", command: NETMAP_BDG_VNET_HDR)
        wrong.put(UInt16(10), at: 44)
        #expect(client.device.regif(number, wrong).errno == ENXIO)
        #expect(try client.attachment(number).region_size > 0)
    }

    @Test("and NIOCCONFIG is for switches that have been taught it: EINVAL")
    func config() {
        let client = DeviceClient()
        var request = [UInt8](repeating: 0, count: 272)
        for (place, byte) in "vale0:a".utf8.enumerated() { request[place] = byte }
        let answer = client.device.config(client.open(), request)
        #expect(answer.errno == EINVAL && answer.reply == request)
    }
}
