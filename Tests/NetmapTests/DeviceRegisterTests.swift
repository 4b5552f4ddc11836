// REGISTER: the order of its rules, and what a program finds in memory (netmap-spec 1.4, 1.8, 2.3).

import CNetmap
import Glibc
@testable import Netmap
import Testing

@Suite("REGISTER")
struct DeviceRegisterTests {
    @Test("lays out the first port of a switch as the worked example says (traps 1, 4)")
    func workedExample() throws {
        let client = DeviceClient()
        let number = client.open()
        let (errno, body) = try client.register(
            number,
            "vale0:1",
            DeviceClient.registration(extra: 3)
        )
        try #require(errno == 0)
        #expect(body.nr_offset == 0 && body.nr_tx_slots == 1024 && body.nr_rx_slots == 1024)
        #expect(body.nr_tx_rings == 1 && body.nr_rx_rings == 1)
        #expect(body.nr_host_tx_rings == 0 && body.nr_host_rx_rings == 0)
        #expect(body.nr_mem_id >= 2 && body.nr_extra_bufs == 3)
        let memory = try client.memory(number)
        #expect(memory.name == "vale0:1")
        #expect(memory.txRings == 1 && memory.rxRings == 1)
        #expect(memory.hostTxRings == 1 && memory.hostRxRings == 1, "a fake one is counted")
        #expect(memory.places == [32768, 0, 12288, 0])
        let (transmit, receive) = (32768, 12288)
        #expect(memory.load64(receive) == 409_600 && memory.load64(transmit) == 389_120)
        #expect(memory.attachment.buffer_offset == 421_888)
        #expect(memory.buffers(receive) == Array(2...1025))
        #expect(memory.buffers(transmit) == Array(1026...2049))
        #expect(memory.extraBuffers == [2052, 2051, 2050], "the last one comes first")
        #expect(memory.load16(receive + 18) == 0 && memory.load16(transmit + 18) == 1, "trap 1")
        for ring in [receive, transmit] {
            #expect(memory.load32(ring + 8) == 1024 && memory.load32(ring + 12) == 2048)
            #expect(memory.load16(ring + 16) == 0)
            #expect(memory.load32(ring + 20) == 0 && memory.load32(ring + 24) == 0, "head, cur")
            #expect(memory.length(ring, 0) == 2048 && memory.length(ring, 1023) == 2048)
        }
        #expect(memory.load32(receive + 28) == 0 && memory.load32(transmit + 28) == 1023, "tail")
        client.close(number)
        client.expectNothingLeft()
    }
}
