// What a worker and a program believe of each other's sleep (netmap_wire.h).

import CNetmap
@testable import Netmap
import Testing

@Suite struct ArmedRingTests {
    // A worker drains bytes after it has cleared `kicked`, and for all rings of a descriptor at once, so
    // the byte behind a `kicked` can be gone. A program that believed it would never send another.
    @Test func whoArmsARingBelievesNoOldKick() throws {
        let client = DeviceClient()
        let number = try client.bind("vale0:a")
        let memory = try client.memory(number)
        let adapter = try #require(client.device.adapters.first)
        let ring = RingNumber(.transmit, 0)
        guard let kring = Kring(adapter, ring) else {
            Issue.record("the port has no such ring")
            return
        }
        memory.setKring(1, adapter.kring(ring), Int(NM_KRING_KICKED))
        let isAwake = kring.arm()
        #expect(!isAwake)
        #expect(memory.kring(adapter.kring(ring), Int(NM_KRING_KICKED)) == 0)
        #expect(memory.kring(adapter.kring(ring), Int(NM_KRING_SLEEPING)) == 1)
        client.close(number)
    }
}
