// Requests of programs from before NIOCCTRL (netmap-spec 1.7).

import CNetmap
import Glibc
@testable import Netmap
import Testing

@Suite("A struct nmreq")
struct DeviceLegacyTests {
    static func request(
        _ name: String,
        command: Int32 = 0,
        version: UInt32 = 14,
        ring: Int32 = 0,
        flags: Int = 0,
        memory: UInt16 = 0,
        extra: UInt32 = 0
    ) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 60)
        for (place, byte) in name.utf8.prefix(16).enumerated() { bytes[place] = byte }
        bytes.put(version, at: 16)
        bytes.put(UInt16(ring), at: 40)
        bytes.put(UInt16(command), at: 42)
        bytes.put(memory, at: 46)
        bytes.put(extra, at: 48)
        bytes.put(UInt32(flags), at: 52)
        return bytes
    }

    /// NIOCREGIF on a descriptor of its own, which stays open.
    @discardableResult
    static func regif(_ client: DeviceClient, _ bytes: [UInt8]) throws -> (
        errno: Int32, nmreq, DescriptorNumber
    ) {
        let number = client.open()
        let (errno, reply) = client.device.regif(number, bytes)
        #expect(reply.count == 60 && (errno == 0 || reply == bytes), "results on success only")
        return (errno, try #require(reply.value(nmreq.self, at: 0)), number)
    }

    @Test("of version 14 or any later one is taken and not rewritten, an older one is not (trap 5)")
    func versions() throws {
        let client = try DeviceClient.withInterface()
        for version: UInt32 in [14, 15, 16, .max] {
            let (errno, reply, number) = try Self.regif(
                client,
                Self.request("nm0", version: version)
            )
            #expect(errno == 0 && reply.nr_version == version)
            client.close(number)
        }
        for version: UInt32 in [0, 3, 11, 13] {
            #expect(try Self.regif(client, Self.request("nm0", version: version)).errno == EINVAL)
            let info = client.device.ginfo(client.open(), Self.request("nm0", version: version))
            #expect(info.errno == EINVAL)
        }
    }

    @Test("gets results where they belong, ring number and flags as they were")
    func results() throws {
        let client = DeviceClient()
        let ring = NETMAP_NO_TX_POLL | NETMAP_DO_RX_POLL
        let (errno, reply, number) = try Self.regif(
            client,
            Self.request("vale0:a", ring: ring, extra: 7)
        )
        #expect(errno == 0 && reply.nr_ringid == UInt16(ring) && reply.nr_flags == 0)
        #expect(reply.nr_memsize == 42_385_408 && reply.nr_tx_slots == 1024, "with 7 buffers more")
        #expect(reply.nr_arg2 >= 2 && reply.nr_arg3 == 7 && reply.nr_tx_rings == 1)
        let flags = Int32(try client.attachment(number).flags)
        #expect(flags & NR_NO_TX_POLL != 0 && flags & NR_DO_RX_POLL != 0)
    }

    @Test("says its mode in nr_flags or, if that is 0, in nr_ringid")
    func modes() throws {
        let client = try DeviceClient.withInterface()
        func bound(_ ring: Int32, _ flags: Int) throws -> [UInt32] {
            let (errno, _, number) = try Self.regif(
                client,
                Self.request("nm0", ring: ring, flags: flags)
            )
            #expect(errno == 0)
            let attachment = try client.attachment(number)
            client.close(number)
            return [attachment.tx_first, attachment.tx_end, attachment.rx_first, attachment.rx_end]
        }
        #expect(try bound(0, 0) == [0, 1, 0, 1])
        #expect(try bound(NETMAP_HW_RING, 0) == [0, 1, 0, 1])
        #expect(try bound(NETMAP_SW_RING, 0) == [1, 2, 1, 2])
        #expect(try bound(0, NR_REG_NIC_SW) == [0, 2, 0, 2])
        #expect(try bound(0, NR_REG_ONE_SW) == [1, 2, 1, 2])
        #expect(
            try Self.regif(client, Self.request("nm0", ring: NETMAP_HW_RING | 3)).errno == EINVAL
        )
        #expect(try Self.regif(client, Self.request("x", flags: NR_REG_NULL, memory: 1)).errno == 0)
    }

    @Test("opens pipes by mode: the id goes into a longer name than it has room for (trap 6)")
    func pipes() throws {
        let client = DeviceClient()
        let name = "vale0:123456789"
        let master = Self.request(name, ring: NETMAP_NO_TX_POLL | 4094, flags: NR_REG_PIPE_MASTER)
        let slave = Self.request(name, ring: 4094, flags: NR_REG_PIPE_SLAVE)
        let (errno, reply, number) = try Self.regif(client, master)
        #expect(errno == 0 && reply.nr_flags == UInt32(NR_REG_PIPE_MASTER))
        #expect(try Self.regif(client, slave).errno == 0)
        #expect(client.device.adapters.map(\.name).contains("\(name){4094"))
        let flags = Int32(try client.attachment(number).flags)
        #expect(flags & NR_NO_TX_POLL != 0)
    }

    @Test("asks for information with NIOCGINFO")
    func info() throws {
        let client = try DeviceClient.withInterface()
        let (errno, reply) = client.device.ginfo(client.open(), Self.request("nm0", command: 77))
        let answer = try #require(reply.value(nmreq.self, at: 0))
        #expect(errno == 0 && answer.nr_memsize == 343_019_520 && answer.nr_arg2 == 1)
        #expect(answer.nr_tx_slots == 1024 && answer.nr_rx_rings == 1)
    }

    @Test("lists ports with NIOCGINFO")
    func list() throws {
        let client = DeviceClient()
        try client.bind("vale3:abc")
        let (errno, reply) = client.device.ginfo(
            client.open(),
            Self.request("", command: NETMAP_BDG_LIST)
        )
        #expect(errno == 0)
        #expect(String(decoding: reply.prefix { $0 != 0 }, as: UTF8.self) == "vale3:abc")
        var next = Self.request("", command: NETMAP_BDG_LIST)
        next.put(UInt16(2), at: 46)
        #expect(client.device.ginfo(client.open(), next).errno == ENOENT)
    }

    @Test("makes, attaches, detaches and deletes ports by nr_cmd")
    func commands() throws {
        let client = try DeviceClient.withInterface()
        let make = try Self.regif(client, Self.request("per", command: NETMAP_BDG_NEWIF))
        #expect(make.errno == 0 && make.1.nr_tx_slots == 1024 && make.1.nr_arg2 > 1)
        #expect(
            try Self.regif(client, Self.request("vale0:per", command: NETMAP_BDG_ATTACH)).errno == 0
        )
        var host = Self.request("vale0:nm0", command: NETMAP_BDG_ATTACH)
        host.put(UInt16(NETMAP_BDG_HOST), at: 44)
        #expect(try Self.regif(client, host).errno == 0)
        #expect(client.fabric.valePorts.map(\.address.port) == ["per", "nm0", "nm0^"])
        var polling = Self.request(
            "vale0:nm0",
            command: NETMAP_BDG_POLLING_ON,
            flags: NR_REG_ALL_NIC
        )
        polling.put(UInt16(1), at: 44)
        #expect(try Self.regif(client, polling).errno == 0)
        #expect(
            try Self.regif(client, Self.request("vale0:nm0", command: NETMAP_BDG_DETACH)).errno
                == EBUSY
        )
        #expect(
            try Self.regif(client, Self.request("vale0:nm0", command: NETMAP_BDG_POLLING_OFF)).errno
                == 0
        )
        polling.put(UInt32(NR_REG_SW), at: 52)
        #expect(try Self.regif(client, polling).errno == EINVAL)
        for name in ["vale0:nm0", "vale0:per"] {
            #expect(
                try Self.regif(client, Self.request(name, command: NETMAP_BDG_DETACH)).errno == 0
            )
        }
        #expect(try Self.regif(client, Self.request("per", command: NETMAP_BDG_DELIF)).errno == 0)
        client.expectNothingLeft(except: ["nm0"])
    }

    @Test("sets and gets the length of the header in nr_arg1")
    func header() throws {
        let client = DeviceClient()
        try client.bind("vale0:a")
        var set = Self.request("vale0:a", command: NETMAP_BDG_VNET_HDR)
        set.put(UInt16(12), at: 44)
        #expect(try Self.regif(client, set).errno == 0)
        #expect(
            try Self.regif(client, Self.request("vale0:a", command: NETMAP_VNET_HDR_GET)).1.nr_arg1
                == 12
        )
    }

    @Test("with an unknown nr_cmd: EINVAL; with ptnetmap's: ENOMEM; too short: EINVAL")
    func unknown() throws {
        let client = DeviceClient()
        for command: Int32 in [3, 4, 13, 147] {
            #expect(
                try Self.regif(client, Self.request("vale0:a", command: command)).errno == EINVAL
            )
        }
        for command: Int32 in [8, 9] {
            #expect(
                try Self.regif(client, Self.request("vale0:a", command: command)).errno == ENOMEM
            )
        }
        #expect(client.device.regif(client.open(), [1, 2, 3]).errno == EINVAL)
        client.expectNothingLeft()
    }
}
