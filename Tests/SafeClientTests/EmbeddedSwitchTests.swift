// Switches inside the test's own process: what is sent has arrived when the sync returns.

import Netmap
import Testing
import Vale

@Suite struct EmbeddedSwitchTests {
    @Test func broadcastReachesAllOthersAndUnicastOnlyItsTarget() throws {
        let space = PortSpace.embedded()
        let a = try Port("vale0:a", on: space)
        let b = try Port("vale0:b", on: space)
        let c = try Port("vale0:c", on: space)
        try a.send([frame(from: 1, to: 255)])
        #expect(try b.receive() == [frame(from: 1, to: 255)])
        #expect(try c.receive() == [frame(from: 1, to: 255)])
        try b.send([frame(from: 2, to: 1)])
        #expect(try a.receive() == [frame(from: 2, to: 1)])
        #expect(try c.receive().isEmpty)
    }

    @Test func aSenderGetsItsWholeRingBackInTheSameSync() throws {
        let space = PortSpace.embedded()
        let a = try Port("vale0:a@conf:slots=8", on: space)
        let b = try Port("vale0:b@conf:slots=8", on: space)
        #expect(a.space == 7)
        #expect(try a.send(Array(repeating: frame(from: 1, to: 255), count: 9)) == 7)
        #expect(a.space == 7 && a.isDrained)
        try a.send(Array(repeating: frame(from: 1, to: 255), count: 7))
        // Seven fit; what came later is lost, as in VALE.
        #expect(try b.receive().count == 7)
    }

    @Test func ringsThatAreNoPowerOfTwoGoRound() throws {
        let space = PortSpace.embedded()
        let a = try Port("vale0:a@conf:slots=5", on: space)
        let b = try Port("vale0:b@conf:slots=7", on: space)
        for round in 0..<40 {
            let sent = (0..<3).map { frame(from: 1, to: 255, mark: UInt8(3 * round + $0)) }
            try a.send(sent)
            #expect(try b.receive() == sent)
        }
    }

    @Test func framesOfSeveralSlotsComeWhole() throws {
        let space = PortSpace.embedded()
        let a = try Port("vale0:a", on: space)
        let b = try Port("vale0:b", on: space)
        let long = frame(from: 1, to: 255, length: 9000, mark: 7)
        try a.send([frame(from: 1, to: 255), long, frame(from: 1, to: 255, mark: 9)])
        try b.syncReceive()
        var ring = b.receiveRing()
        var slots: [Int] = []
        ring.receive { slots.append($0.slotCount) }
        #expect(slots == [1, 5, 1])
        try a.send([long])
        #expect(try b.receive() == [long])
    }

    @Test func flowsKeepTheirRingAndBroadcastsGoToTheFirst() throws {
        let space = PortSpace.embedded()
        let a = try Port("vale0:a@conf:rings=4", on: space)
        let b = try Port("vale0:b@conf:rings=2", on: space)
        try b.send([frame(from: 2, to: 255)])
        for ring in 0..<4 {
            try a.send([frame(from: 1, to: 2, mark: UInt8(ring))], ring: ring)
        }
        #expect(try b.receive(ring: 0).map { $0[14] } == [0, 2])
        #expect(try b.receive(ring: 1).map { $0[14] } == [1, 3])
        try a.send([frame(from: 1, to: 255)], ring: 3)
        #expect(try b.receive(ring: 1).isEmpty)
        #expect(try b.receive(ring: 0).count == 1)
    }

    @Test func portsAndSwitchesGoWithTheirLastUser() throws {
        let space = PortSpace.embedded()
        do {
            let a = try Port("vale0:a", on: space)
            let b = try Port("vale1:b", on: space)
            #expect(try space.valePorts().map(\.name) == ["vale0:a", "vale1:b"])
            #expect(try space.place(of: "vale1:b").switchIndex == 1)
            #expect(try space.place(of: "vale1:b").portIndex == 1)
            #expect(a.name == "vale0:a" && b.memoryID != a.memoryID)
        }
        #expect(try space.valePorts().isEmpty)
    }

    @Test func persistentPortsAreMadeAttachedAndRemoved() throws {
        let space = PortSpace.embedded()
        let made = try space.makePort("v1")
        #expect(made.configuration.transmitSlots == 1024 && made.memoryID > 1)
        try space.attach("vale0:v1")
        let a = try Port("vale0:a", on: space)
        do {
            let v = try Port("netmap:v1", on: space)
            try a.send([frame(from: 1, to: 255)])
            #expect(try v.receive().count == 1)
        }
        #expect(throws: PortError.self) { try space.removePort("v1") }
        try space.detach("vale0:v1")
        try space.removePort("v1")
        #expect(try space.valePorts().map(\.name) == ["vale0:a"])
    }

    @Test func headersAreMadeAndTakenOffBetweenPorts() throws {
        let space = PortSpace.embedded()
        let a = try Port("vale0:a", on: space)
        let b = try Port("vale0:b", on: space)
        try space.setHeaderLength(12, of: "vale0:b")
        #expect(try space.headerLength(of: "vale0:b") == 12)
        try a.send([frame(from: 1, to: 255)])
        #expect(try b.receive() == [Array(repeating: 0, count: 12) + frame(from: 1, to: 255)])
        let refused = #expect(throws: PortError.self) { _ = try Port("vale0:b", on: space).name }
        #expect(refused?.errno == 5)
    }

    @Test func monitorsSeeBothWays() throws {
        let space = PortSpace.embedded()
        let a = try Port("vale0:a", on: space)
        let b = try Port("vale0:b", on: space)
        let monitor = try Port("vale0:a/rt", on: space)
        try a.send([frame(from: 1, to: 255, mark: 1)])
        try b.send([frame(from: 2, to: 255, mark: 2)])
        #expect(try monitor.receive().map { $0[14] } == [1, 2])
        #expect(try a.receive().count == 1)
    }

    @Test func whatNobodyIsBehindSwallows() throws {
        let space = PortSpace.embedded()
        let sink = try Port("netmap:nmsink0", on: space)
        #expect(try sink.send(Array(repeating: frame(from: 1, to: 2), count: 500)) == 500)
        #expect(sink.isDrained == true)
        #expect(try sink.receive().isEmpty)
    }

    @Test func manyThreadsSendAtOnce() async throws {
        let space = PortSpace.embedded()
        let sink = try Port("vale0:sink", on: space)
        await withTaskGroup(of: Int.self) { group in
            for sender in UInt8(0)..<4 {
                group.addTask {
                    guard let port = try? Port("vale0:s\(sender)", on: space) else { return 0 }
                    return (try? port.send((0..<200).map { _ in frame(from: sender, to: 255) }))
                        ?? 0
                }
            }
        }
        #expect(try sink.receive().count == 800)
    }
}
