// REGISTER's rules, one by one in their order (netmap-spec 2.3), and its traps.

import CNetmap
import Glibc
@testable import Netmap
import Testing

@Suite("REGISTER refuses")
struct DeviceRuleTests {
    @Test("a second port on one descriptor: EBUSY")
    func boundTwice() throws {
        let client = DeviceClient()
        let number = try client.bind("vale0:a")
        #expect(try client.register(number, "vale0:b").errno == EBUSY)
        #expect(try client.attachment(number).mem_id >= 2, "the first one stays")
    }

    @Test("memory that does not exist: EINVAL")
    func unknownMemory() throws {
        let client = DeviceClient()
        #expect(
            try client.refuse("vale0:a", DeviceClient.registration(memory: 77)) == EINVAL
        )
        client.expectNothingLeft()
    }

    @Test(
        "modes of the old API, no mode and unknown modes: EINVAL",
        arguments: [0, 5, 6, 9, 15, 1 << 20]
    )
    func modes(mode: Int) throws {
        let client = try DeviceClient.withInterface()
        #expect(try client.refuse("nm0", DeviceClient.registration(mode: mode)) == EINVAL)
        #expect(try client.refuse("vale0:a", DeviceClient.registration(mode: mode)) == EINVAL)
        client.expectNothingLeft(except: ["nm0"])
    }

    @Test("a port that is not there: ENXIO")
    func unknown() throws {
        let client = DeviceClient()
        #expect(try client.refuse("eth7") == ENXIO)
        #expect(try client.refuse("") == ENXIO)
        #expect(try client.refuse("NM0") == ENXIO)
    }

    @Test("what belongs to a switch: EBUSY")
    func ownedBySwitch() throws {
        let client = try DeviceClient.withInterface()
        var attach = nmreq_vale_attach()
        attach.reg.nr_mode = UInt32(NR_REG_NIC_SW)
        #expect(try client.ask(NETMAP_REQ_VALE_ATTACH, "vale0:nm0", attach).errno == 0)
        for name in ["nm0", "vale0:nm0", "vale0:nm0^", "nm0{1", "vale0:nm0{1"] {
            #expect(try client.refuse(name) == EBUSY, "\(name)")
        }
    }

    @Test("a port whose header the program does not expect: EIO")
    func header() throws {
        let client = DeviceClient()
        try client.bind("vale0:a")
        var length = nmreq_port_hdr()
        length.nr_hdr_len = 12
        #expect(try client.ask(NETMAP_REQ_PORT_HDR_SET, "vale0:a", length).errno == 0)
        #expect(try client.refuse("vale0:a") == EIO)
        try client.bind("vale0:a", DeviceClient.registration(flags: NR_ACCEPT_VNET_HDR))
    }

    @Test("an MTU that no buffer can hold: EINVAL, unless nothing is received")
    func mtu() throws {
        let client = DeviceClient()
        try client.device.addInterface(name: "lo", mtu: 65536)
        #expect(try client.refuse("lo") == EINVAL)
        try client.bind("lo", DeviceClient.registration(flags: NR_TX_RINGS_ONLY))
    }

    @Test("rings that somebody has for himself: EBUSY, the others not")
    func exclusive() throws {
        let client = DeviceClient()
        let two = DeviceClient.registration { ($0.nr_tx_rings, $0.nr_rx_rings) = (2, 2) }
        func one(_ ring: Int, _ flags: Int32 = 0) -> nmreq_register {
            DeviceClient.registration(mode: NR_REG_ONE_NIC, ring: ring, flags: flags)
        }
        let all = try client.bind("vale0:a", two)
        #expect(try client.refuse("vale0:a", one(0, NR_EXCLUSIVE)) == EBUSY, "somebody has it")
        let first = try client.bind("vale0:a", one(1))
        client.close(all)
        let alone = try client.bind("vale0:a", one(0, NR_EXCLUSIVE))
        #expect(try client.refuse("vale0:a", one(0)) == EBUSY)
        #expect(try client.refuse("vale0:a") == EBUSY, "all includes it")
        #expect(try client.refuse("vale0:a", one(1, NR_EXCLUSIVE)) == EBUSY)
        let second = try client.bind("vale0:a", one(1))
        client.close(alone)
        let again = try client.bind("vale0:a", one(0))
        for number in [first, second, again] { client.close(number) }
        client.expectNothingLeft()
    }

    @Test("exclusive transmit rings leave receive rings to others")
    func exclusiveDirection() throws {
        let client = DeviceClient()
        try client.bind(
            "vale0:a",
            DeviceClient.registration(flags: NR_EXCLUSIVE | NR_TX_RINGS_ONLY)
        )
        try client.bind(
            "vale0:a",
            DeviceClient.registration(flags: NR_EXCLUSIVE | NR_RX_RINGS_ONLY)
        )
        #expect(
            try client.refuse("vale0:a", DeviceClient.registration(flags: NR_RX_RINGS_ONLY))
                == EBUSY
        )
    }

    @Test("more than its memory holds: ENOMEM, and all that was taken is back")
    func memory() throws {
        var tunables = NetmapDevice.Tunables()
        tunables.global.ringCount = 4
        let client = DeviceClient(tunables: tunables)
        try client.device.addInterface(name: "nm0")
        let number = try client.bind("nm0", DeviceClient.registration(mode: NR_REG_NIC_SW))
        try client.device.addInterface(name: "nm1")
        #expect(try client.refuse("nm1") == ENOMEM, "no ring is left")
        #expect(
            try client.refuse("nm1", DeviceClient.registration { $0.nr_host_tx_rings = 65535 })
                == ENOMEM
        )
        client.close(number)
        client.close(try client.bind("nm1"))
        client.expectNothingLeft(except: ["nm0", "nm1"])
    }

    @Test("a name that a guest has: EBUSY")
    func guest() throws {
        let client = DeviceClient()
        client.fabric.add("vale0", "vm1")
        #expect(try client.refuse("vale0:vm1") == EBUSY)
        #expect(try client.refuse("vale0:vm1{1") == EBUSY)
        #expect(client.fabric.ports.count == 1 && client.device.adapters.isEmpty)
    }
}

@Suite("A program's death")
struct DeviceDeathTests {
    @Test("gives back rings, exclusive marks, extra buffers and the netmap_if (trap 46)")
    func death() throws {
        let client = DeviceClient()
        let holder = try client.bind(
            "vale0:a",
            DeviceClient.registration(flags: NR_RX_RINGS_ONLY)
        )
        let region = try #require(client.device.adapters[0].region)
        let before = [
            region.buffers.available, region.rings.available, region.interfaces.available,
        ]
        let alone = DeviceClient.registration(flags: NR_EXCLUSIVE | NR_TX_RINGS_ONLY, extra: 9)
        for _ in 0..<100 { client.close(try client.bind("vale0:a", alone)) }
        let after = [region.buffers.available, region.rings.available, region.interfaces.available]
        #expect(before == after)
        client.close(holder)
        client.expectNothingLeft()
    }

    @Test("leaves no interface behind that was removed, nor takes one that is open")
    func interfaces() throws {
        let client = try DeviceClient.withInterface()
        #expect(throws: NetmapError.self) { try client.device.addInterface(name: "nm0") }
        let number = try client.bind("nm0")
        #expect(throws: NetmapError.self) { try client.device.removeInterface(name: "nm0") }
        client.close(number)
        try client.device.removeInterface(name: "nm0")
        #expect(throws: NetmapError.self) { try client.device.removeInterface(name: "nm0") }
        client.expectNothingLeft()
    }
}

@Suite("REGISTER gives")
struct DeviceResultTests {
    @Test("clamped numbers to ports of switches, and says so")
    func clamped() throws {
        let client = DeviceClient()
        let body = DeviceClient.registration {
            ($0.nr_tx_rings, $0.nr_rx_rings) = (17, 40000)
            ($0.nr_tx_slots, $0.nr_rx_slots) = (5000, .max)
        }
        let (errno, result) = try client.register(client.open(), "vale0:a", body)
        #expect(errno == 0 && result.nr_tx_rings == 16 && result.nr_rx_rings == 16)
        #expect(result.nr_tx_slots == 4096 && result.nr_rx_slots == 4096)
        #expect(result.nr_memsize == 423_657_472)
    }

    @Test("mode, ring number and flags back as they were, unknown flags too (traps 7, 8)")
    func untouched() throws {
        let client = DeviceClient()
        let body = DeviceClient.registration(mode: NR_REG_ONE_NIC) {
            $0.nr_flags = 0x1000 | 1 << 60
        }
        let (errno, result) = try client.register(client.open(), "vale0:a", body)
        #expect(errno == 0 && result.nr_mode == body.nr_mode && result.nr_flags == body.nr_flags)
    }

    @Test("each descriptor a netmap_if of its own, with 0 where a ring is not bound (trap 3)")
    func interfaces() throws {
        let client = try DeviceClient.withInterface()
        let all = try client.memory(client.bind("nm0"))
        let host = try client.memory(client.bind("nm0", DeviceClient.registration(mode: NR_REG_SW)))
        #expect(
            all.interface != host.interface
                && all.attachment.region_size == host.attachment.region_size
        )
        #expect(all.hostTxRings == 1 && all.places.map { $0 != 0 } == [true, false, true, false])
        #expect(host.places.map { $0 != 0 } == [false, true, false, true])
        #expect(all.load32(all.interface + 20) == 0, "not private")
        #expect(host.attachment.tx_first == 1 && host.attachment.tx_end == 2)
    }

    @Test("rings whose length is no power of two, with one slot that stays empty (traps 10, 11)")
    func oddRings() throws {
        let client = DeviceClient()
        let body = DeviceClient.registration { ($0.nr_tx_slots, $0.nr_rx_slots) = (100, 33) }
        let memory = try client.memory(client.bind("vale0:a", body))
        let transmit = try #require(memory.transmit(0))
        #expect(memory.slots(transmit) == 100 && memory.load32(transmit + 28) == 99)
        #expect(memory.slots(try #require(memory.receive(0))) == 33)
    }

    @Test("new rings cleared memory, `sem` included (trap 2)")
    func cleared() throws {
        let client = try DeviceClient.withInterface()
        let holder = try client.bind("nm0", DeviceClient.registration(mode: NR_REG_SW))
        let first = try client.bind("nm0")
        let memory = try client.memory(first)
        let ring = try #require(memory.transmit(0))
        for at in stride(from: 20, to: 256, by: 4) { memory.store32(-1, ring + at) }
        client.close(first)
        let again = try client.memory(client.bind("nm0"))
        let place = try #require(again.transmit(0))
        #expect(place == ring, "the same object")
        #expect((128..<256).allSatisfy { again.load32(place + $0 & ~3) == 0 })
        #expect(again.load32(place + 20) == 0 && again.load32(place + 28) == 1023)
        client.close(holder)
    }

    @Test("rings to the second who binds them as the first has left them")
    func shared() throws {
        let client = DeviceClient()
        let first = try client.memory(client.bind("vale0:a"))
        let ring = try #require(first.transmit(0))
        first.store32(17, ring + 20)
        let second = try client.memory(client.bind("vale0:a"))
        #expect(second.transmit(0) == ring && second.load32(ring + 20) == 17)
    }

    @Test("no ring where a program asks for one direction only (trap 12)")
    func oneDirection() throws {
        let client = DeviceClient()
        let number = try client.bind("vale0:a", DeviceClient.registration(flags: NR_RX_RINGS_ONLY))
        let memory = try client.memory(number)
        #expect(memory.transmit(0) == nil && memory.receive(0) != nil)
        #expect(memory.attachment.tx_first == memory.attachment.tx_end)
        #expect(client.device.adapters[0].ringOffsets.count == 1, "made only if bound")
    }

    @Test("the buffer size that the tunable says")
    func bufferSize() throws {
        var tunables = NetmapDevice.Tunables()
        tunables.privateMinimum.bufferSize = 2112
        let client = DeviceClient(tunables: tunables)
        let memory = try client.memory(client.bind("vale0:a"))
        let ring = try #require(memory.receive(0))
        #expect(memory.attachment.buffer_size == 2112 && memory.load32(ring + 12) == 2112)
        #expect(memory.length(ring, 0) == 2112)
    }

    @Test("listeners: who has a ring bound hears of it")
    func listeners() throws {
        let client = DeviceClient()
        let all = try client.bind("vale0:a")
        let adapter = client.device.adapters[0]
        let heard = { client.fabric.listeners[ObjectIdentifier(adapter)] ?? [:] }
        let reader = try client.bind("vale0:a", DeviceClient.registration(flags: NR_RX_RINGS_ONLY))
        #expect(
            heard() == [RingNumber(.transmit, 0): [all], RingNumber(.receive, 0): [all, reader]]
        )
        client.close(all)
        #expect(heard() == [RingNumber(.receive, 0): [reader]])
        client.close(reader)
        client.expectNothingLeft()
    }

    @Test("host rings until the last descriptor is closed, then one a direction again")
    func hostRings() throws {
        let client = try DeviceClient.withInterface()
        let body = DeviceClient.registration(mode: NR_REG_SW) {
            ($0.nr_host_tx_rings, $0.nr_host_rx_rings) = (5, 4)
        }
        let number = client.open()
        let (errno, result) = try client.register(number, "nm0", body)
        #expect(errno == 0 && result.nr_host_tx_rings == 5 && result.nr_host_rx_rings == 4)
        let second = try client.register(
            client.open(),
            "nm0",
            DeviceClient.registration { $0.nr_host_tx_rings = 2 }
        )
        #expect(second.body.nr_host_tx_rings == 5, "while it is open it does not change")
        client.close(number)
        client.close(number + 1)
        let pipe = try client.bind("nm0{1")
        #expect(try client.register(client.open(), "nm0").body.nr_host_tx_rings == 1)
        #expect(try client.attachment(pipe + 1).rx_base == 2, "its krings have moved, too")
    }
}
