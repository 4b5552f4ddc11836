// Monitors, as far as they are made and unmade (netmap-spec 2.14), and null ports (2.17).

import CNetmap
import Glibc
@testable import Netmap
import Testing

@Suite("A monitor")
struct DeviceMonitorTests {
    static let both = NR_MONITOR_RX | NR_MONITOR_TX

    @Test("needs a port that is open: EINVAL, ENXIO if there is none")
    func closed() throws {
        let client = try DeviceClient.withInterface()
        let flags = DeviceClient.registration(flags: NR_MONITOR_RX)
        for name in ["nm0", "vale0:a", "vale0:a{1"] {
            #expect(try client.refuse(name, flags) == EINVAL, "\(name)")
        }
        #expect(try client.refuse("eth7", flags) == ENXIO)
        client.expectNothingLeft(except: ["nm0"])
    }

    @Test("that copies has memory of its own, a useless transmit ring, and the slots of its parent")
    func copy() throws {
        let client = DeviceClient()
        let wish = DeviceClient.registration {
            ($0.nr_tx_rings, $0.nr_rx_rings, $0.nr_tx_slots, $0.nr_rx_slots) = (2, 3, 256, 128)
        }
        let parent = try client.bind("vale0:a", wish)
        let number = client.open()
        let (errno, body) = try client.register(
            number,
            "vale0:a",
            DeviceClient.registration(flags: NR_MONITOR_RX)
        )
        #expect(errno == 0 && body.nr_tx_rings == 1 && body.nr_rx_rings == 3)
        #expect(body.nr_tx_slots == 256 && body.nr_rx_slots == 128)
        #expect(body.nr_flags == UInt64(NR_MONITOR_RX))
        #expect(UInt32(body.nr_mem_id) != (try client.attachment(parent).mem_id))
        #expect(client.device.adapters[1].name == "vale0:a/r#0")
        #expect(client.fabric.watching[0].rings == (0..<3).map { RingNumber(.receive, $0) })
        let memory = try client.memory(number)
        #expect(memory.kring(0, 80) == NM_KRING_DEAD, "transmit")
        #expect(memory.kring(1, 80) == NM_KRING_ENGINE)
    }

    @Test("of a default port takes 8478720 bytes")
    func size() throws {
        let client = DeviceClient()
        try client.bind("vale0:a")
        let monitor = try client.register(
            client.open(),
            "vale0:a",
            DeviceClient.registration(flags: NR_MONITOR_TX)
        )
        #expect(monitor.body.nr_memsize == 8_478_720)
    }

    @Test("without copies shares its parent's memory and sees both directions (trap 8)")
    func zeroCopy() throws {
        let client = DeviceClient()
        let parent = try client.bind("vale0:a")
        let number = client.open()
        let (errno, body) = try client.register(
            number,
            "vale0:a",
            DeviceClient.registration(flags: NR_ZCOPY_MON | NR_MONITOR_TX)
        )
        #expect(errno == 0 && body.nr_flags == UInt64(NR_ZCOPY_MON | Self.both))
        #expect(UInt32(body.nr_mem_id) == (try client.attachment(parent).mem_id))
        #expect(client.device.adapters[1].name == "vale0:a/zrt#0")
        #expect(client.fabric.watching[0].rings.count == 2)
        let own = try client.memory(number)
        let theirs = try client.memory(parent)
        let buffers = Set(own.buffers(try #require(own.receive(0))))
        #expect(buffers.isDisjoint(with: theirs.buffers(try #require(theirs.receive(0)))))
    }

    @Test("can be one of many, and be on a pipe's end or on host rings")
    func many() throws {
        let client = try DeviceClient.withInterface()
        var numbers = [try client.bind("nm0", DeviceClient.registration(mode: NR_REG_NIC_SW))]
        for flags in [NR_MONITOR_RX, NR_MONITOR_TX, NR_ZCOPY_MON, NR_ZCOPY_MON] {
            numbers.append(
                try client.bind("nm0", DeviceClient.registration(mode: NR_REG_SW, flags: flags))
            )
        }
        let names = client.device.adapters.map(\.name)
        #expect(names == ["nm0", "nm0/r#0", "nm0/t#1", "nm0/zrt#2", "nm0/zrt#3"])
        #expect(
            client.fabric.watching[3].rings == [RingNumber(.receive, 1), RingNumber(.transmit, 1)]
        )
        #expect(client.device.adapters[1].geometry.hostReceiveRings == 1)
        numbers.append(try client.bind("vale0:a{1"))
        numbers.append(try client.bind("vale0:a{1", DeviceClient.registration(flags: Self.both)))
        for number in numbers.reversed() { client.close(number) }
        client.expectNothingLeft(except: ["nm0"])
    }

    @Test("selects rings of its parent: EINVAL for those that it has not")
    func rings() throws {
        let client = DeviceClient()
        try client.bind("vale0:a", DeviceClient.registration { $0.nr_rx_rings = 4 })
        let one = DeviceClient.registration(mode: NR_REG_ONE_NIC, ring: 2, flags: Self.both)
        let number = try client.bind("vale0:a", one)
        #expect(
            client.fabric.watching[0].rings == [RingNumber(.receive, 2), RingNumber(.transmit, 0)]
        )
        #expect(try client.attachment(number).rx_first == 2)
        let wrong = DeviceClient.registration(mode: NR_REG_ONE_NIC, ring: 4, flags: Self.both)
        #expect(try client.refuse("vale0:a", wrong) == EINVAL)
        let host = DeviceClient.registration(mode: NR_REG_SW, flags: Self.both)
        #expect(try client.refuse("vale0:a", host) == EINVAL)
    }

    @Test("is dead when its parent leaves, says so, and stays so")
    func parentLeaves() throws {
        let client = DeviceClient()
        let parent = try client.bind("vale0:a")
        let monitor = try client.bind("vale0:a", DeviceClient.registration(flags: Self.both))
        client.close(parent)
        #expect(client.fabric.watching.isEmpty && client.fabric.alerts == ["vale0:a/rt#0"])
        #expect(try client.memory(monitor).kring(1, 80) == NM_KRING_DEAD)
        #expect(client.fabric.ports.isEmpty, "it does not keep the port")
        let again = try client.bind("vale0:a")
        #expect(client.fabric.watching.isEmpty, "it has to be opened anew")
        client.close(monitor)
        client.close(again)
        client.expectNothingLeft()
    }

    @Test("follows rings of its parent that are opened and closed one by one")
    func follows() throws {
        let client = DeviceClient()
        func one(_ ring: Int) -> nmreq_register {
            DeviceClient.registration(mode: NR_REG_ONE_NIC, ring: ring) {
                ($0.nr_tx_rings, $0.nr_rx_rings) = (2, 2)
            }
        }
        let first = try client.bind("vale0:a", one(0))
        let monitor = try client.bind("vale0:a", DeviceClient.registration(flags: NR_MONITOR_RX))
        let watched = { client.fabric.watching.flatMap { $0.rings.map(\.index) } }
        #expect(watched() == [0])
        let second = try client.bind("vale0:a", one(1))
        #expect(watched() == [0, 1])
        client.close(first)
        #expect(watched() == [1])
        client.close(monitor)
        #expect(watched() == [])
        client.close(second)
        client.expectNothingLeft()
    }
}

@Suite("A null port")
struct DeviceNullPortTests {
    static func null(memory: UInt16, _ change: (inout nmreq_register) -> Void = { _ in })
        -> nmreq_register
    {
        DeviceClient.registration(mode: NR_REG_NULL, memory: memory, change)
    }

    @Test("needs memory that exists: EINVAL")
    func memory() throws {
        let client = DeviceClient()
        #expect(try client.refuse("x", Self.null(memory: 0)) == EINVAL)
        #expect(try client.refuse("x", Self.null(memory: 9)) == EINVAL)
        let port = try client.bind("vale0:a")
        let id = UInt16(try client.attachment(port).mem_id)
        let null = try client.bind("x", Self.null(memory: id) { $0.nr_extra_bufs = 5 })
        #expect(try client.memory(null).extraBuffers.count == 5)
        client.close(port)
        #expect(try client.memory(null).extraBuffers.count == 5, "the memory stays")
        client.close(null)
        client.expectNothingLeft()
    }

    @Test("has rings that nobody moves, and cannot be opened by its name")
    func dummy() throws {
        let client = DeviceClient()
        let number = try client.bind(
            "x",
            Self.null(memory: 1) { ($0.nr_tx_rings, $0.nr_tx_slots) = (1, 8) }
        )
        let memory = try client.memory(number)
        #expect(memory.kring(0, 80) == NM_KRING_DUMMY && memory.name == "null:x")
        #expect(try client.refuse("null:x") == ENXIO && client.refuse("x") == ENXIO)
    }

    @Test("with more rings than there is room for: ENOMEM")
    func tooLarge() throws {
        let client = DeviceClient()
        let wish = Self.null(memory: 1) {
            ($0.nr_tx_rings, $0.nr_rx_rings) = (.max, .max)
            ($0.nr_tx_slots, $0.nr_rx_slots) = (.max, .max)
        }
        #expect(try client.refuse("x", wish) == ENOMEM)
        let long = Self.null(memory: 1) { ($0.nr_tx_rings, $0.nr_tx_slots) = (1, .max) }
        #expect(try client.refuse("x", long) == ENOMEM)
        client.expectNothingLeft()
    }
}
