// Memory that comes and goes slot by slot while rings run (ADD_MEM_REG, REM_MEM_REG): memory hot plug,
// and QEMU 7.2, which says everything once for each pair of queues.

import Netmap
import Testing

@testable import VhostUser

@Suite("Memory slots")
struct MemorySlotTests {
    /// The region that all rings of `FrontEndMessage.addresses` lie in, and another.
    static let first = FrontEndMessage.region
    static let second = MemoryRegion.test(1 << 30, 1 << 20)

    /// A front-end with both regions and two running rings.
    func running() throws -> Conversation {
        var talk = Conversation()
        try talk.negotiate()
        for region in [MemorySlotTests.first, MemorySlotTests.second] {
            #expect(try talk.ask(.slot(.addMemoryRegion, region).acknowledged) == 0)
        }
        for ring: UInt32 in 0..<2 { try talk.start(ring) }
        talk.controller.indices = [0: 400, 1: 500]
        _ = talk.controller.take()
        return talk
    }

    @Test("are as many for ever, whatever is in them")
    func number() throws {
        var talk = Conversation()
        try talk.negotiate()
        let number = try talk.ask(.plain(.getMaximumMemorySlots))
        #expect(number == UInt64(GuestMemory.maximumRegions))
        for slot in 0..<UInt64(GuestMemory.maximumRegions) {
            try talk.tell([.slot(.addMemoryRegion, .test(slot << 20, 4096))])
            #expect(try talk.ask(.plain(.getMaximumMemorySlots)) == number)
        }
        talk.session.close(&talk.controller)
        talk = Conversation()
        #expect(try talk.ask(.plain(.getMaximumMemorySlots)) == number)
    }

    @Test("that are added again are there already, and their second file is closed")
    func addedTwice() throws {
        var talk = try running()
        let open = talk.openFiles
        for region in [MemorySlotTests.first, MemorySlotTests.second] {
            #expect(try talk.ask(.slot(.addMemoryRegion, region).acknowledged) == 0)
        }
        #expect(talk.controller.take().isEmpty, "nothing was stopped or mapped")
        #expect(talk.openFiles == open)
    }

    @Test("that nobody has are removed already")
    func removedTwice() throws {
        var talk = try running()
        let other = MemoryRegion.test(1 << 40, 4096)
        #expect(try talk.ask(.slot(.removeMemoryRegion, other).acknowledged) == 0)
        // The three that identify a slot must all be equal.
        for change: (inout MemoryRegion) -> Void in [
            { $0.guestAddress += 4096 }, { $0.userAddress += 4096 }, { $0.size -= 4096 },
        ] {
            var region = MemorySlotTests.second
            change(&region)
            #expect(try talk.ask(.slot(.removeMemoryRegion, region).acknowledged) == 0)
        }
        #expect(talk.controller.take().isEmpty)
        let remove = FrontEndMessage.slot(.removeMemoryRegion, MemorySlotTests.second)
        #expect(try talk.ask(remove.acknowledged) == 0)
        #expect(talk.controller.take().contains("map 1 1"))
        #expect(try talk.ask(remove.acknowledged) == 0)
        #expect(talk.controller.take().isEmpty)
    }

    @Test("that no ring lies in come and go around a stop and a start of all rings")
    func otherSlot() throws {
        var talk = try running()
        let restart = ["start 0 size 256 base 400", "start 1 size 256 base 500"]
        let open = talk.openFiles
        try talk.tell([.slot(.removeMemoryRegion, MemorySlotTests.second)])
        #expect(talk.controller.take() == ["stop 0", "stop 1", "map 1 1"] + restart)
        #expect(talk.openFiles == open - 1)
        try talk.tell([.slot(.addMemoryRegion, MemorySlotTests.second)])
        #expect(talk.controller.take() == ["stop 0", "stop 1", "map 2 2"] + restart)
        #expect(talk.openFiles == open)
    }

    @Test("that rings lie in take the rings along, and bring them back where they were")
    func ringsWait() throws {
        var talk = try running()
        for _ in 0..<3 {
            try talk.tell([.slot(.removeMemoryRegion, MemorySlotTests.first)])
            #expect(talk.controller.take() == ["stop 0", "stop 1", "map 1 1"])
            #expect(talk.controller.running.isEmpty)
            // Whatever else is said meanwhile does not start them.
            try talk.tell([
                .state(.setVringEnable, 0, 1), .file(.setVringCall, 0), .word(.setStatus, 15),
            ])
            #expect(talk.controller.running.isEmpty)
            _ = talk.controller.take()
            try talk.tell([.slot(.addMemoryRegion, MemorySlotTests.first)])
            #expect(
                talk.controller.take() == [
                    "map 2 2", "start 0 size 256 base 400", "start 1 size 256 base 500",
                ]
            )
        }
    }

    @Test("that are all gone leave rings that can be stopped, with their indices")
    func nothingLeft() throws {
        var talk = try running()
        try talk.tell([
            .slot(.removeMemoryRegion, MemorySlotTests.first),
            .slot(.removeMemoryRegion, MemorySlotTests.second),
        ])
        #expect(talk.controller.running.isEmpty)
        #expect(try talk.ask(.state(.getVringBase, 0, 0)) == 400 << 32)
        #expect(try talk.ask(.state(.getVringBase, 1, 0)) == 1 | 500 << 32)
        _ = talk.controller.take()
        // A ring that was stopped does not come back with its memory.
        try talk.tell([.slot(.addMemoryRegion, MemorySlotTests.first)])
        #expect(talk.controller.take() == ["map 1 1"])
    }

    @Test("that are refused leave rings running where they lay")
    func refused() throws {
        let third = MemoryRegion.test(1 << 40, 4096)
        for message: FrontEndMessage in [
            .slot(.addMemoryRegion, third), .slot(.removeMemoryRegion, MemorySlotTests.second),
            .table([third]), .log(size: 4096, offset: 0), .inflight(rings: 2, size: 4096),
        ] {
            var talk = try running()
            let open = talk.openFiles
            talk.controller.refusal = SessionError("no", isRefusal: true)
            talk.controller.refusesOnce = true
            #expect(try talk.ask(message.acknowledged) == 1, "request \(message.request)")
            #expect(talk.controller.running == [0, 1], "request \(message.request)")
            #expect(talk.openFiles == open)
            // What comes next finds everything as it was before.
            try talk.tell([.state(.setVringEnable, 0, 1), .file(.setVringKick, 0)])
            #expect(talk.controller.running == [0, 1], "request \(message.request)")
            #expect(try talk.ask(.slot(.addMemoryRegion, third).acknowledged) == 0)
            #expect(talk.controller.events.contains("map 3 3"))
        }
    }
}
