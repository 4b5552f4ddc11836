// The cases of upstream's control API test (netmap-spec 5.2), under their names there.

import CNetmap
import Glibc
@testable import Netmap
import Testing

@Suite("Control API")
struct DeviceControlAPITests {
    static func extmem(_ address: UInt64, _ bytes: UInt64, ringSize: UInt32 = 512) -> [UInt8] {
        var option = nmreq_opt_extmem()
        option.nro_opt.nro_reqtype = UInt32(NETMAP_REQ_OPT_EXTMEM)
        option.nro_usrptr = address
        option.nro_info.nr_memsize = bytes
        (option.nro_info.nr_if_pool_objsize, option.nro_info.nr_if_pool_objtotal) = (1024, 2)
        (option.nro_info.nr_ring_pool_objsize, option.nro_info.nr_ring_pool_objtotal) = (
            ringSize, 64
        )
        (option.nro_info.nr_buf_pool_objsize, option.nro_info.nr_buf_pool_objtotal) = (2048, 4096)
        return DeviceClient.bytes(of: option)
    }

    /// REGISTER as the test checks it: what was asked for is kept, what was left open is filled in.
    @discardableResult
    static func check(
        _ client: DeviceClient,
        _ name: String,
        _ body: nmreq_register,
        number: DescriptorNumber? = nil
    ) throws -> nmreq_register {
        let (errno, result) = try client.register(number ?? client.open(), name, body)
        #expect(errno == 0, "\(client.device.lastRefusal?.description ?? "")")
        #expect(result.nr_mode == body.nr_mode && result.nr_ringid == body.nr_ringid)
        #expect(result.nr_flags == body.nr_flags && result.nr_extra_bufs == body.nr_extra_bufs)
        #expect(result.nr_memsize != 0)
        func kept<Number: BinaryInteger>(_ before: Number, _ after: Number) {
            #expect(before == 0 && after != 0 || before == after && after != 0)
        }
        kept(body.nr_tx_slots, result.nr_tx_slots)
        kept(body.nr_rx_slots, result.nr_rx_slots)
        kept(body.nr_tx_rings, result.nr_tx_rings)
        kept(body.nr_rx_rings, result.nr_rx_rings)
        kept(body.nr_mem_id, result.nr_mem_id)
        return result
    }

    static func mode(_ mode: Int, _ change: (inout nmreq_register) -> Void = { _ in })
        -> nmreq_register
    {
        DeviceClient.registration(mode: mode, change)
    }

    @Test("1 port_info_get")
    func portInfoGet() throws {
        let client = try DeviceClient.withInterface()
        let answer = try client.ask(NETMAP_REQ_PORT_INFO_GET, "nm0", nmreq_port_info_get())
        #expect(answer.errno == 0 && answer.body.nr_memsize != 0 && answer.body.nr_mem_id != 0)
        #expect(answer.body.nr_tx_slots != 0 && answer.body.nr_rx_slots != 0)
        #expect(answer.body.nr_tx_rings != 0 && answer.body.nr_rx_rings != 0)
        #expect(answer.body.nr_host_tx_rings == 1 && answer.body.nr_host_rx_rings == 1)
    }

    @Test(
        "2-4 port_register_hwall_host, hwall, hostall",
        arguments: [NR_REG_NIC_SW, NR_REG_ALL_NIC, NR_REG_SW]
    )
    func registerAll(mode: Int) throws {
        let client = try DeviceClient.withInterface()
        let result = try Self.check(client, "nm0", Self.mode(mode))
        #expect(result.nr_host_tx_rings == 1 && result.nr_host_rx_rings == 1)
    }

    @Test("5 port_register_single_hw_pair")
    func singlePair() throws {
        try Self.check(DeviceClient.withInterface(), "nm0", Self.mode(NR_REG_ONE_NIC))
    }

    @Test("6 port_register_single_host_pair")
    func singleHostPair() throws {
        let client = try DeviceClient.withInterface()
        let body = Self.mode(NR_REG_ONE_SW) {
            ($0.nr_host_tx_rings, $0.nr_host_rx_rings, $0.nr_ringid) = (2, 2, 1)
        }
        let result = try Self.check(client, "nm0", body)
        #expect(result.nr_host_tx_rings == 2 && result.nr_host_rx_rings == 2)
    }

    @Test("7 port_register_hostall_many")
    func hostAllMany() throws {
        let client = try DeviceClient.withInterface()
        let body = Self.mode(NR_REG_SW) { ($0.nr_host_tx_rings, $0.nr_host_rx_rings) = (5, 4) }
        let result = try Self.check(client, "nm0", body)
        #expect(result.nr_host_tx_rings == 5 && result.nr_host_rx_rings == 4)
    }

    @Test(
        "8-9 vale_attach_detach, vale_attach_detach_host_rings",
        arguments: [NR_REG_ALL_NIC, NR_REG_NIC_SW]
    )
    func attachDetach(mode: Int) throws {
        let client = try DeviceClient.withInterface()
        let number = client.open()
        var body = nmreq_vale_attach()
        body.reg = Self.mode(mode)
        let bytes = DeviceClient.bytes(of: body)
        let attached = try client.control(number, NETMAP_REQ_VALE_ATTACH, "vale77:nm0", body: bytes)
        let id = try attached.value(nmreq_vale_attach.self).reg.nr_mem_id
        #expect(attached.errno == 0 && (id == 0 || id > 1))
        let detach = DeviceClient.bytes(of: nmreq_vale_detach())
        #expect(
            try client.control(number, NETMAP_REQ_VALE_DETACH, "vale77:nm0", body: detach).errno
                == 0
        )
        client.expectNothingLeft(except: ["nm0"])
    }

    @Test("10 vale_ephemeral_port_hdr_manipulation")
    func ephemeralHeader() throws {
        let client = DeviceClient()
        try Self.check(client, "vale:eph0", Self.mode(NR_REG_ALL_NIC))
        for length: UInt32 in [12, 0, 10] {
            #expect(try DeviceHeaderTests.set(client, "vale:eph0", length) == 0)
            #expect(try DeviceHeaderTests.get(client, "vale:eph0") == length)
        }
    }

    @Test("11 vale_persistent_port")
    func persistentPort() throws {
        let client = DeviceClient()
        try DeviceValeTests.newInterface(client, "per4")
        try DeviceValeTests.attach(client, "vale77:per4")
        #expect(try DeviceValeTests.detach(client, "vale77:per4") == 0)
        #expect(try DeviceValeTests.delete(client, "per4") == 0)
        client.expectNothingLeft()
    }

    @Test("12 pools_info_get_and_register")
    func poolsInfoAndRegister() throws {
        let client = try DeviceClient.withInterface()
        for id: UInt16 in [0, 1] {
            var body = nmreq_pools_info()
            body.nr_mem_id = id
            let pools = try client.ask(NETMAP_REQ_POOLS_INFO_GET, "nm0", body)
            #expect(pools.errno == 0 && pools.body.nr_memsize != 0 && pools.body.nr_mem_id == 1)
            #expect(pools.body.nr_if_pool_objtotal != 0 && pools.body.nr_if_pool_objsize != 0)
            #expect(pools.body.nr_ring_pool_objtotal != 0 && pools.body.nr_ring_pool_objsize != 0)
            #expect(pools.body.nr_buf_pool_objtotal != 0 && pools.body.nr_buf_pool_objsize != 0)
            if id == 0 { try Self.check(client, "nm0", Self.mode(NR_REG_ONE_NIC)) }
        }
        try Self.check(client, "nm0", Self.mode(NR_REG_ONE_NIC) { $0.nr_mem_id = 1 })
    }

    @Test("13 pools_info_get_empty_ifname")
    func poolsInfoEmptyName() throws {
        #expect(
            try DeviceClient().ask(NETMAP_REQ_POOLS_INFO_GET, "", nmreq_pools_info()).errno != 0
        )
    }

    @Test("14 pipe_master")
    func pipeMaster() throws {
        let client = try DeviceClient.withInterface()
        let number = client.open()
        #expect(try client.register(number, "nm0{pipeid1", Self.mode(NR_REG_NIC_SW)).errno != 0)
        try Self.check(client, "nm0{pipeid1", Self.mode(NR_REG_ALL_NIC), number: number)
    }

    @Test("15 pipe_slave")
    func pipeSlave() throws {
        try Self.check(DeviceClient.withInterface(), "nm0}pipeid2", Self.mode(NR_REG_ALL_NIC))
    }

    @Test("16-17 pipe_port_info_get, pipe_pools_info_get")
    func pipeInfo() throws {
        let client = try DeviceClient.withInterface()
        let info = try client.ask(NETMAP_REQ_PORT_INFO_GET, "nm0}pipeid3", nmreq_port_info_get())
        #expect(info.errno == 0 && info.body.nr_memsize != 0 && info.body.nr_tx_slots != 0)
        #expect(try client.ask(NETMAP_REQ_POOLS_INFO_GET, "nm0{xid", nmreq_pools_info()).errno == 0)
        client.expectNothingLeft(except: ["nm0"])
    }

    @Test("18 vale_polling_enable_disable")
    func polling() throws {
        let client = try DeviceClient.withInterface()
        try DeviceValeTests.attach(client, "vale77:nm0")
        var body = nmreq_vale_polling()
        (body.nr_mode, body.nr_num_polling_cpus) = (UInt32(NETMAP_POLLING_MODE_SINGLE_CPU), 1)
        let answer = try client.ask(NETMAP_REQ_VALE_POLLING_ENABLE, "vale77:nm0", body)
        #expect(
            answer.errno == 0 && DeviceClient.bytes(of: answer.body) == DeviceClient.bytes(of: body)
        )
        #expect(try client.ask(NETMAP_REQ_VALE_POLLING_DISABLE, "vale77:nm0", body).errno == 0)
        #expect(try DeviceValeTests.detach(client, "vale77:nm0") == 0)
    }

    @Test("19 unsupported_option")
    func unsupportedOption() throws {
        let option = DeviceOptionTests.option(1234)
        let answer = try DeviceOptionTests.register([option])
        #expect(answer.errno == EOPNOTSUPP && answer.statuses == [EOPNOTSUPP])
    }

    @Test("20 infinite_options")
    func infiniteOptions() throws {
        let option = DeviceOptionTests.option(1234, next: 0x5000)
        let loop = Array(repeating: option, count: 126)
        #expect(try DeviceOptionTests.register(loop, isTooLong: true).errno == EMSGSIZE)
    }

    @Test("21 infinite_options2")
    func infiniteOptionsKnown() throws {
        let loop = Array(repeating: DeviceOptionTests.offsets, count: 60)
        #expect(try DeviceOptionTests.register(loop, isTooLong: true).errno == EINVAL)
    }

    @Test("22 infinite_options3")
    func manyOptions() throws {
        let unknown = Array(repeating: DeviceOptionTests.option(1234), count: 99)
        let long = DeviceOptionTests.option(
            NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS,
            size: 1000,
            length: 1000
        )
        #expect(try DeviceOptionTests.register(unknown + [long]).errno == EMSGSIZE)
    }
}
