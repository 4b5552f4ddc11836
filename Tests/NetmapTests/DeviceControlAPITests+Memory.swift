// The cases of upstream's control API test (netmap-spec 5.2), from the one that brings memory along.

import CNetmap
import Glibc
import Testing

@testable import Netmap

extension DeviceControlAPITests {
    static func registerExtmem(_ options: [[UInt8]]) throws -> DeviceClient.Answer {
        let client = DeviceClient()
        let body = Self.mode(NR_REG_ALL_NIC) { ($0.nr_tx_slots, $0.nr_rx_slots) = (16, 16) }
        let answer = try client.control(
            client.open(),
            NETMAP_REQ_REGISTER,
            "vale0:0",
            body: DeviceClient.bytes(of: body),
            options: options,
            process: 7
        )
        if answer.errno != 0 { client.expectNothingLeft() }
        return answer
    }

    @Test("23 extmem_option")
    func extmem() throws {
        let bytes: UInt64 = 2 * 1024 + 64 * 512 + 4096 * 2048  // not a byte more, and no whole page
        let answer = try Self.registerExtmem([Self.extmem(0x7f00_0000_0000, bytes)])
        #expect(answer.errno == 0 && answer.statuses == [0])
        let result = try answer.value(nmreq_register.self)
        #expect(result.nr_memsize == bytes && result.nr_tx_slots == 16)
        let info = try #require(answer.options[0].value(nmreq_opt_extmem.self, at: 0)).nro_info
        #expect(info.nr_memsize == result.nr_memsize && info.nr_ring_pool_objsize == 512)
        #expect(info.nr_buf_pool_objtotal == 4096 && info.nr_buf_pool_objsize == 2048)
    }

    @Test("24 bad_extmem_option")
    func badExtmem() throws {
        let answer = try Self.registerExtmem([Self.extmem(0x1000, 1 << 30, ringSize: 1 << 20)])
        #expect(answer.errno != 0 && answer.statuses == [answer.errno])
    }

    @Test("25 duplicate_extmem_options")
    func duplicateExtmem() throws {
        let option = Self.extmem(0x1000, 16 << 20)
        let answer = try Self.registerExtmem([option, option])
        #expect(answer.errno == EINVAL && answer.statuses == [EINVAL, EINVAL])
    }

    @Test("26-27 csb_mode, csb_mode_invalid_memory")
    func csbMode() throws {
        let client = DeviceClient()
        _ = try client.ask(NETMAP_REQ_PORT_INFO_GET, "vale0:a", nmreq_port_info_get())
        let good = try DeviceLoopTests.register(client, DeviceLoopTests.csb())
        #expect(good.answer.errno == 0 && good.answer.statuses == [0])
        client.close(good.number)
        let bad = try DeviceLoopTests.register(
            client,
            DeviceLoopTests.csb(0x10, 0x800),
            csbError: EFAULT
        )
        #expect(bad.answer.errno != 0)
    }

    @Test("28-33 sync_kloop and its eventfds", arguments: [0, 1, 2, 3, 4, 5])
    func syncLoop(kind: Int) throws {
        let client = DeviceClient()
        let (_, number) = try DeviceLoopTests.register(client, DeviceLoopTests.csb())
        let all = DeviceLoopTests.eventfds([10, 11])
        let options: [[UInt8]] =
            switch kind {
            case 0: []
            case 1: [all]
            case 2: [DeviceLoopTests.eventfds([10, -1])]
            default: [all, DeviceLoopTests.mode([3, 1, 2][kind - 3])]
            }
        let started = try DeviceLoopTests.start(client, number, options)
        #expect(started.errno == 0 && started.statuses.allSatisfy { $0 == 0 })
        #expect(try DeviceLoopTests.stop(client, number) == 0)
        client.device.loopEnded(number)
    }

    @Test("34 sync_kloop_nocsb")
    func loopWithoutBlocks() throws {
        let client = DeviceClient()
        let number = try client.bind("vale0:a")
        #expect(try DeviceLoopTests.start(client, number).errno == EINVAL)
        #expect(try DeviceLoopTests.stop(client, number) == 0)
        #expect(try client.memory(number).kring(0, 92) != NM_LOOP_STOP, "nobody waits")
    }

    @Test("35 sync_kloop_csb_enable")
    func csbEnable() throws {
        let client = DeviceClient()
        let number = try client.bind("vale0:a", DeviceLoopTests.exclusive)
        let option = DeviceLoopTests.csb()
        let enabled = try client.control(
            number,
            NETMAP_REQ_CSB_ENABLE,
            "vale0:a",
            options: [option]
        )
        #expect(enabled.errno == 0 && enabled.statuses == [0])
        #expect(try DeviceLoopTests.start(client, number).errno == 0)
    }

    @Test("36 sync_kloop_conflict")
    func conflict() throws {
        let client = DeviceClient()
        let (_, number) = try DeviceLoopTests.register(client, DeviceLoopTests.csb())
        let both = try [
            DeviceLoopTests.start(client, number).errno,
            DeviceLoopTests.start(client, number).errno,
        ]
        #expect(both == [0, EBUSY])
    }

    @Test("37 sync_kloop_eventfds_mismatch")
    func mismatch() throws {
        let client = DeviceClient()
        let (_, number) = try DeviceLoopTests.register(client, DeviceLoopTests.csb())
        #expect(
            try DeviceLoopTests.start(client, number, [DeviceLoopTests.eventfds([10])]).errno
                == EINVAL
        )
    }

    @Test("38-39 null_port, null_port_all_zero")
    func nullPort() throws {
        let client = DeviceClient()
        let body = DeviceNullPortTests.null(memory: 1) {
            ($0.nr_tx_rings, $0.nr_rx_rings, $0.nr_tx_slots, $0.nr_rx_slots) = (10, 5, 256, 100)
        }
        let result = try Self.check(client, "whatever", body)
        #expect(result.nr_mem_id == 1)
        let (errno, zero) = try client.register(
            client.open(),
            "whatever",
            DeviceNullPortTests.null(memory: 1)
        )
        #expect(errno == 0 && zero.nr_tx_rings == 0 && zero.nr_rx_rings == 0)
        #expect(zero.nr_tx_slots == 0 && zero.nr_rx_slots == 0)
        client.close(1)
        client.close(2)
        client.expectNothingLeft()
    }

    /// A struct nmreq as the test checks it.
    static func checkLegacy(_ client: DeviceClient, _ bytes: [UInt8]) throws {
        let before = try #require(bytes.value(nmreq.self, at: 0))
        let (errno, after, _) = try DeviceLegacyTests.regif(client, bytes)
        #expect(errno == 0, "\(client.device.lastRefusal?.description ?? "")")
        #expect(after.nr_ringid == before.nr_ringid && after.nr_flags == before.nr_flags)
        #expect(after.nr_memsize != 0 && after.nr_tx_slots != 0 && after.nr_rx_slots != 0)
        #expect(after.nr_tx_rings != 0 && after.nr_rx_rings != 0 && after.nr_arg2 != 0)
        #expect(after.nr_arg3 == before.nr_arg3)
    }

    @Test(
        "41-45 legacy_regif_default, all_nic, 12, sw, future",
        arguments: [(0, 14), (1, 14), (0, 15), (2, 14), (3, 16)]
    )
    func legacy(mode: Int, version: UInt32) throws {
        let bytes = DeviceLegacyTests.request("nm0", version: version, flags: mode)
        try Self.checkLegacy(DeviceClient.withInterface(), bytes)
    }

    @Test("46-48 legacy_regif_extra_bufs, ..._pipe, ..._pipe_vale")
    func legacyExtra() throws {
        let client = try DeviceClient.withInterface()
        try Self.checkLegacy(client, DeviceLegacyTests.request("nm0", extra: 20))
        try Self.checkLegacy(client, DeviceLegacyTests.request("nm0{pipeexbuf", extra: 58))
        try Self.checkLegacy(client, DeviceLegacyTests.request("valeX1:Y4{pipeexbuf", extra: 58))
        #expect(
            client.device.adapters.contains { $0.name == "valeX1:Y4{pipee" },
            "15 characters are left"
        )
    }
}
