// Pipes, as far as they are made and unmade (netmap-spec 2.13).

import CNetmap
import Glibc
@testable import Netmap
import Testing

@Suite("A pipe")
struct DevicePipeTests {
    @Test("has two ends, made together, with the parent's memory and one control file")
    func ends() throws {
        let client = DeviceClient()
        let parent = try client.bind("vale0:a")
        let master = try client.bind("vale0:a{1")
        #expect(client.device.adapters.map(\.name) == ["vale0:a", "vale0:a{1", "vale0:a}1"])
        let slave = try client.bind("vale0:a}1")
        let ids = try [parent, master, slave].map { try client.attachment($0).mem_id }
        #expect(Set(ids).count == 1)
        let (first, second) = (try client.attachment(master), try client.attachment(slave))
        #expect([first.tx_base, first.rx_base, second.tx_base, second.rx_base] == [0, 1, 2, 3])
        #expect(first.control_size == second.control_size)
        let memory = try client.memory(master)
        #expect([0, 1, 2, 3].map { memory.kring($0, 88) } == [3, 2, 1, 0], "peer")
        #expect([0, 1, 2, 3].map { memory.kring($0, 80) } == [1, 1, 1, 1], "mode")
        let shared = try client.memory(slave)
        memory.setKring(5, 2, 4)
        #expect(shared.kring(2, 4) == 5, "the same file")
    }

    @Test("has one set of buffers: an end's slots are those of the other's ring")
    func buffers() throws {
        let client = DeviceClient()
        let master = try client.memory(client.bind("vale0:a{1"))
        let slave = try client.memory(client.bind("vale0:a}1"))
        let (send, receive) = (try #require(master.transmit(0)), try #require(slave.receive(0)))
        #expect(send != receive && master.buffers(send) == slave.buffers(receive))
        let back = try #require(slave.transmit(0))
        #expect(slave.buffers(back) == master.buffers(try #require(master.receive(0))))
        #expect(Set(master.buffers(send)).isDisjoint(with: slave.buffers(back)))
        #expect(master.load32(send + 28) == 1023 && slave.load32(receive + 28) == 0)
    }

    @Test(
        "has rings as its first opener wants them for the master, the other way round for the slave"
    )
    func geometry() throws {
        let client = DeviceClient()
        let wish = DeviceClient.registration {
            ($0.nr_tx_rings, $0.nr_rx_rings, $0.nr_tx_slots, $0.nr_rx_slots) = (3, 2, 64, 32)
        }
        let (errno, slave) = try client.register(client.open(), "vale0:a}1", wish)
        #expect(errno == 0 && slave.nr_tx_rings == 2 && slave.nr_rx_rings == 3)
        #expect(slave.nr_tx_slots == 32 && slave.nr_rx_slots == 64)
        let master = try client.register(client.open(), "vale0:a{1").body
        #expect(
            master.nr_tx_rings == 3 && master.nr_rx_slots == 32,
            "the second one takes what is there"
        )
        #expect(master.nr_host_tx_rings == 0)
    }

    @Test("has as many slots as its parent, unless told")
    func slots() throws {
        let client = DeviceClient()
        let wish = DeviceClient.registration { ($0.nr_tx_slots, $0.nr_rx_slots) = (256, 128) }
        try client.bind("vale0:a", wish)
        let master = try client.register(client.open(), "vale0:a{1").body
        #expect(master.nr_tx_slots == 256 && master.nr_rx_slots == 128 && master.nr_tx_rings == 1)
    }

    @Test(
        "is opened with all rings or one: EINVAL",
        arguments: [NR_REG_SW, NR_REG_NIC_SW, NR_REG_ONE_SW]
    )
    func modes(mode: Int) throws {
        let client = try DeviceClient.withInterface()
        #expect(try client.refuse("nm0{1", DeviceClient.registration(mode: mode)) == EINVAL)
        try client.bind("nm0{1", DeviceClient.registration(mode: NR_REG_ONE_NIC))
    }

    @Test("of a port that is not there brings it along, and takes it away (trap 42)")
    func automatic() throws {
        let client = DeviceClient()
        let one = try client.bind("foo{1")
        let two = try client.bind("foo}2")
        #expect(client.device.adapters.count { $0.name == "foo" } == 1)
        #expect(client.fabric.ports.isEmpty, "it is on no switch")
        #expect(try client.named(NETMAP_REQ_VALE_DELIF, "foo") == EINVAL)
        let parent = try client.bind("foo")
        client.close(one)
        client.close(two)
        #expect(client.device.adapters.map(\.name) == ["foo"], "as long as it is open")
        client.close(parent)
        client.expectNothingLeft()
        #expect(try client.refuse("foo") == ENXIO)
    }

    @Test("of a switch's port brings that along, on the switch")
    func ephemeralParent() throws {
        let client = DeviceClient()
        let pipe = try client.bind("vale0:a{1")
        #expect(client.fabric.valePorts.map(\.address.port) == ["a"])
        let parent = try client.bind("vale0:a")
        client.close(pipe)
        #expect(client.device.adapters.map(\.name) == ["vale0:a"])
        client.close(parent)
        client.expectNothingLeft()
    }

    @Test("keeps its state while one end is open (trap 39)")
    func state() throws {
        let client = DeviceClient()
        let reader = try client.bind("vale0:a}1")
        let writer = try client.bind("vale0:a{1")
        let memory = try client.memory(writer)
        let ring = try #require(client.memory(reader).receive(0))
        memory.setKring(7, Int(try client.attachment(reader).rx_base), 68)
        memory.store32(7, ring + 28)
        client.close(reader)
        #expect(!client.fabric.calls.contains { $0.hasPrefix("stop") })
        let again = try client.bind("vale0:a}1")
        let read = try client.memory(again)
        #expect(read.receive(0) == ring && read.load32(ring + 28) == 7)
        #expect(read.kring(Int(read.attachment.rx_base), 68) == 7)
        client.close(writer)
        client.close(again)
        client.expectNothingLeft()
    }

    @Test("frees the receiver's buffers where the sender has given slots away")
    func exchangedBuffers() throws {
        let client = DeviceClient()
        let keeper = try client.bind("vale0:a", DeviceClient.registration(extra: 4))
        let free = { client.device.adapters[0].region?.buffers.available }
        let before = free()
        let writer = try client.bind("vale0:a{1")
        let reader = try client.bind("vale0:a}1")
        let memory = try client.memory(reader)
        let receive = try #require(memory.receive(0))
        // Ten frames were sent, two of them returned; the reader puts an extra buffer in place of the fifth.
        memory.setKring(10, Int(try client.attachment(writer).tx_base), 64)
        memory.setKring(2, Int(memory.attachment.rx_base), 64)
        let owner = try client.memory(keeper)
        let extra = owner.extraHead
        let taken = memory.buffer(receive, 5)
        owner.extraHead = owner.load32(owner.bufferAt(extra))
        memory.setBuffer(extra, receive, 5)
        client.close(writer)
        client.close(reader)
        let region = try #require(client.device.adapters[0].region)
        #expect(region.buffers.isInUse(taken) && !region.buffers.isInUse(extra))
        #expect(free() == before, "one was lent, one was kept")
        client.close(keeper)
        client.expectNothingLeft()
    }

    @Test("starts at both ends, and is listened to where it is open")
    func fabric() throws {
        let client = DeviceClient()
        let master = try client.bind("vale0:a{1")
        #expect(
            client.fabric.calls == ["join vale0:a vale0:a", "start vale0:a{1", "start vale0:a}1"]
        )
        let slave = try #require(client.device.adapters.first { $0.name == "vale0:a}1" })
        #expect(client.fabric.listeners[ObjectIdentifier(slave)] == nil && slave.region != nil)
        client.close(master)
        #expect(
            client.fabric.calls.suffix(3) == [
                "stop vale0:a{1", "stop vale0:a}1", "leave vale0:a vale0:a",
            ]
        )
        client.expectNothingLeft()
    }

    @Test("is one of as many as there is memory for: ENOMEM")
    func limit() throws {
        let client = try DeviceClient.withInterface()
        var numbers: [DescriptorNumber] = []
        for id in 0..<50 { numbers.append(try client.bind("nm0{\(id)")) }
        #expect(try client.refuse("nm0{50") == ENOMEM, "200 rings, four a pipe")
        for number in numbers { client.close(number) }
        client.expectNothingLeft(except: ["nm0"])
    }

    @Test("in the memory that lb names")
    func memory() throws {
        let client = DeviceClient()
        let input = try client.bind("vale0:in")
        let id = UInt16(try client.attachment(input).mem_id)
        let pipe = try client.bind(
            "lb{0",
            DeviceClient.registration(flags: NR_EXCLUSIVE | NR_TX_RINGS_ONLY, memory: id)
        )
        #expect(try client.attachment(pipe).mem_id == UInt32(id))
        try client.device.addInterface(name: "nm0")
        let other = try client.bind("nm0{0", DeviceClient.registration(memory: id))
        #expect(try client.attachment(other).mem_id == UInt32(id), "an idle interface lends itself")
        client.close(other)
        let own = try client.bind("nm0")
        #expect(try client.attachment(own).mem_id == 1)
    }

    @Test("can hang on a pipe")
    func nested() throws {
        let client = DeviceClient()
        let number = try client.bind("vale0:a{1{2")
        let names = ["vale0:a", "vale0:a{1", "vale0:a}1", "vale0:a{1{2", "vale0:a{1}2"]
        #expect(client.device.adapters.map(\.name) == names)
        client.close(number)
        client.expectNothingLeft()
    }
}
