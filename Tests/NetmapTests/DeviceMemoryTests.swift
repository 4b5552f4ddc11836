// Regions and buffers: who has them, and how they come back (netmap-spec 1.8, 2.2).

import CNetmap
import Glibc
@testable import Netmap
import Testing

@Suite("Memory")
struct DeviceMemoryTests {
    @Test("with a number of its own for each port, one for all interfaces")
    func ids() throws {
        let client = try DeviceClient.withInterface()
        try client.device.addInterface(name: "nm1")
        let ids = try ["vale0:a", "vale0:b", "nm0", "nm1"].map {
            try client.attachment(client.bind($0)).mem_id
        }
        #expect(ids == [2, 3, 1, 1])
        let memory = try client.memory(1)
        #expect(memory.load32(memory.interface + 20) == 1, "NI_PRIV_MEM")
    }

    @Test("is shared by whoever names it, at the same offsets")
    func shared() throws {
        let client = DeviceClient()
        let first = try client.bind("vale0:a")
        let id = UInt16(try client.attachment(first).mem_id)
        let second = try client.bind("vale1:b", DeviceClient.registration(memory: id))
        let (one, two) = (try client.memory(first), try client.memory(second))
        let (ring, other) = (try #require(one.transmit(0)), try #require(two.transmit(0)))
        #expect(ring != other && one.attachment.buffer_offset == two.attachment.buffer_offset)
        #expect(Set(one.buffers(ring)).isDisjoint(with: two.buffers(other)))
        two.store32(99, other + 20)
        #expect(one.load32(other + 20) == 99, "the mapping of the first shows new rings (trap 43)")
        client.close(first)
        #expect(two.load32(other + 20) == 99)
        client.close(second)
        client.expectNothingLeft()
    }

    @Test("is as good as new when its last user has left, whatever a program has lost")
    func reset() throws {
        let client = DeviceClient()
        try DeviceValeTests.newInterface(client, "per")
        let number = try client.bind("per", DeviceClient.registration(extra: 10))
        let memory = try client.memory(number)
        memory.extraHead = 0
        client.close(number)
        let again = try client.memory(client.bind("per", DeviceClient.registration(extra: 1)))
        #expect(again.buffers(try #require(again.receive(0))).first == 2)
        #expect(again.extraHead == 2050)
    }

    @Test("of extra buffers comes back as the list that the program leaves (trap 45)")
    func extraBuffers() throws {
        let client = DeviceClient()
        let holder = try client.bind("vale0:a")
        let region = try #require(client.device.adapters[0].region)
        let free = region.buffers.available
        let number = try client.bind("vale0:a", DeviceClient.registration(extra: 6))
        let memory = try client.memory(number)
        #expect(memory.extraBuffers.count == 6 && region.buffers.available == free - 6)
        let ring = try #require(memory.transmit(0))
        // One goes into a ring, the ring's goes into the list instead.
        let head = memory.extraHead
        let swapped = memory.buffer(ring, 3)
        memory.setBuffer(head, ring, 3)
        memory.store32(memory.load32(memory.bufferAt(head)), memory.bufferAt(swapped))
        memory.extraHead = swapped
        client.close(number)
        #expect(region.buffers.available == free)
        #expect(region.buffers.isInUse(head) && !region.buffers.isInUse(swapped))
        client.close(holder)
        client.expectNothingLeft()
    }

    @Test(
        "of extra buffers is not believed: loops and nonsense end (trap 45)",
        arguments: [0, 1, 2, 3, 4]
    )
    func wildLists(kind: Int) throws {
        let client = DeviceClient()
        let holder = try client.bind("vale0:a")
        let region = try #require(client.device.adapters[0].region)
        let number = try client.bind("vale0:a", DeviceClient.registration(extra: 3))
        let memory = try client.memory(number)
        let head = memory.extraHead
        switch kind {
        case 0: memory.store32(head, memory.bufferAt(head))
        case 1: memory.extraHead = -1
        case 2: memory.extraHead = 1
        case 3: memory.store32(Int(memory.attachment.buffer_count), memory.bufferAt(head))
        default: memory.store32(20000, memory.bufferAt(head))
        }
        client.close(number)
        let free = region.buffers.available
        #expect(free <= region.buffers.count - 2 - 2048)
        client.close(holder)
        client.expectNothingLeft()
    }

    @Test("of extra buffers is granted as far as it goes")
    func granted() throws {
        let client = try DeviceClient.withInterface()
        let number = client.open()
        let (errno, body) = try client.register(
            number,
            "nm0",
            DeviceClient.registration(extra: .max)
        )
        #expect(errno == 0 && body.nr_extra_bufs == 163_840 - 2 - 2048)
        client.close(number)
        client.expectNothingLeft(except: ["nm0"])
        let port = try client.register(
            client.open(),
            "vale0:a",
            DeviceClient.registration(extra: .max)
        )
        #expect(port.errno == 0 && port.body.nr_extra_bufs >= 524_288)
    }

    @Test("of rings that a program has scribbled into is freed once, and nothing else")
    func scribbled() throws {
        let client = DeviceClient()
        let holder = try client.bind("vale0:a", DeviceClient.registration(flags: NR_RX_RINGS_ONLY))
        let region = try #require(client.device.adapters[0].region)
        let free = region.buffers.available
        let number = try client.bind("vale0:a")
        let memory = try client.memory(number)
        let ring = try #require(memory.transmit(0))
        for (slot, wild) in [0, 1, -1, 20482, 1 << 30].enumerated() {
            memory.setBuffer(wild, ring, slot)
        }
        memory.setBuffer(memory.buffer(ring, 9), ring, 8)
        memory.store32(-1, ring + 8)
        memory.store32(-1, memory.interface + 24)
        client.close(number)
        #expect(region.buffers.available == free - 6, "leaked until the last one leaves")
        client.close(holder)
        client.expectNothingLeft()
    }

    @Test("that a program brings is found again by its pages, and refused to others' ports")
    func extmem() throws {
        let client = DeviceClient()
        func bring(_ name: String, _ address: UInt64, _ process: Int32, _ bytes: UInt64 = 16 << 20)
            throws -> DeviceClient.Answer
        {
            try client.control(
                client.open(),
                NETMAP_REQ_REGISTER,
                name,
                body: DeviceClient.bytes(
                    of: DeviceClient.registration { ($0.nr_tx_slots, $0.nr_rx_slots) = (16, 16) }
                ),
                options: [DeviceControlAPITests.extmem(address, bytes)],
                process: process
            )
        }
        let first = try bring("vale0:a", 0x10000, 5)
        let second = try bring("vale0:b", 0x10000, 5)
        let other = try bring("vale0:c", 0x10000, 6)
        #expect([first.errno, second.errno, other.errno] == [0, 0, 0])
        let id = try first.value(nmreq_register.self).nr_mem_id
        #expect(try second.value(nmreq_register.self).nr_mem_id == id)
        #expect(try other.value(nmreq_register.self).nr_mem_id != id)
        #expect(try bring("vale0:a", 0x90000, 5).errno == EBUSY, "it is open with other memory")
        let crooked = try bring("vale0:d", 0x10001, 5)
        #expect(crooked.errno == EINVAL && crooked.statuses == [EINVAL])
        let small = try bring("vale0:d", 0x20000, 5, 4096)
        #expect(small.errno == ENOMEM && small.statuses == [ENOMEM])
        #expect(try bring("vale0:e", 0x30000, 5, .max).errno == 0, "bounded all the same")
    }
}
