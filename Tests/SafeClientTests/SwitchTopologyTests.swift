// Which port frames go to when the sender says so, and switches that a port joins.

import Netmap
import Testing
import Vale

@Suite struct SwitchTopologyTests {
    @Test func aSenderChoosesThePortByItsNumber() throws {
        let space = PortSpace.embedded()
        let a = try Port("vale0:a", on: space)
        let b = try Port("vale0:b", on: space)
        let c = try Port("vale0:c", on: space)
        let d = try Port("vale1:d", on: space)
        let places = try ["a", "b", "c"].map { try space.place(of: "vale0:\($0)").portIndex }
        #expect(places == [1, 2, 3])
        #expect(try space.place(of: "vale1:d").portIndex == 1)
        func send(_ frame: [UInt8], toPort number: Int) throws {
            var ring = a.transmitRing()
            ring.send(frame.span, toPort: number)
            try a.syncTransmit()
        }
        // A broadcast, and what is for another's address.
        try send(frame(from: 1, to: 255), toPort: 3)
        try b.send([frame(from: 2, to: 255)])
        #expect(try c.receive() == [frame(from: 1, to: 255), frame(from: 2, to: 255)])
        #expect(try b.receive().isEmpty)
        #expect(try a.receive() == [frame(from: 2, to: 255)])
        try send(frame(from: 1, to: 2, mark: 3), toPort: 3)
        #expect(try c.receive() == [frame(from: 1, to: 2, mark: 3)])
        // Its source was not learned: what is for it goes to all.
        try b.send([frame(from: 2, to: 1)])
        #expect(try c.receive() == [frame(from: 2, to: 1)])
        // Nobody has these numbers on this switch, or they are the sender's own.
        for number in [1, 4, 254] { try send(frame(from: 1, to: 255), toPort: number) }
        #expect(try b.receive().isEmpty && c.receive().isEmpty && d.receive().isEmpty)
        // Of several slots, too.
        let long = frame(from: 1, to: 255, length: 5000, mark: 9)
        try send(long, toPort: 2)
        #expect(try b.receive() == [long])
        #expect(try c.receive().isEmpty)
    }

    @Test func numbersStayWhoeverComesAndGoes() throws {
        let space = PortSpace.embedded()
        let x = try Port("vale1:x", on: space)
        do {
            let a = try Port("vale0:a", on: space)
            let b = try Port("vale0:b", on: space)
            #expect(try space.valePorts().map(\.switchIndex) == [0, 1, 1])
            let names = [a.name, b.name]
            #expect(names == ["vale0:a", "vale0:b"])
        }
        let b = try Port("vale2:b", on: space)
        let y = try Port("vale1:y", on: space)
        do {
            let z = try Port("vale1:z", on: space)
            let name = z.name
            #expect(try space.place(of: name).portIndex == 3)
        }
        let names = [x.name, y.name, b.name]
        let places = try names.map { try space.place(of: $0) }
        #expect(places.map(\.portIndex) == [1, 2, 1])
        #expect(places.map(\.switchIndex) == [0, 0, 1], "vale0 has left its number")
        #expect(try space.place(of: "vale1:nobody").portIndex == 255)
    }

    @Test func aPersistentPortJoinsTwoSwitches() throws {
        let space = PortSpace.embedded()
        var configuration = PortSpecification.Configuration()
        configuration.transmitRings = 2
        try space.makePort("w", configuration)
        try space.attach("vale0:w")
        try space.attach("vale1:w")
        #expect(throws: PortError.self) { try space.attach("vale2:w") }
        #expect(throws: PortError.self) { _ = try Port("netmap:w", on: space) }
        let a = try Port("vale0:a", on: space)
        let b = try Port("vale1:b", on: space)
        let c = try Port("vale1:c", on: space)
        try a.send([frame(from: 1, to: 255)])
        #expect(try b.receive() == [frame(from: 1, to: 255)])
        #expect(try c.receive() == [frame(from: 1, to: 255)])
        // Its address was learned behind the wire.
        try b.send([frame(from: 2, to: 1), frame(from: 2, to: 1, length: 9000)])
        #expect(try a.receive() == [frame(from: 2, to: 1), frame(from: 2, to: 1, length: 9000)])
        #expect(try c.receive().isEmpty)
        // By number, too: the wire's on either side.
        var ring = c.transmitRing()
        ring.send(
            frame(from: 3, to: 2, mark: 5).span,
            toPort: try space.place(of: "vale1:w").portIndex
        )
        try c.syncTransmit()
        // Station 2 is behind the wire that the frame came from.
        #expect(try a.receive().isEmpty && b.receive().isEmpty)
        try space.detach("vale1:w")
        try a.send([frame(from: 1, to: 255)])
        #expect(try b.receive().isEmpty)
        do {
            let w = try Port("netmap:w", on: space)
            try a.send([frame(from: 1, to: 255, mark: 8)])
            #expect(try w.receive() == [frame(from: 1, to: 255, mark: 8)])
        }
        try space.detach("vale0:w")
        try space.removePort("w")
    }

    @Test func aLoopOfTwoWiresEndsASyncAllTheSame() throws {
        let space = PortSpace.embedded()
        for name in ["w1", "w2"] {
            try space.makePort(name)
            try space.attach("vale0:\(name)")
            try space.attach("vale1:\(name)")
        }
        let a = try Port("vale0:a", on: space)
        let b = try Port("vale1:b", on: space)
        try a.send([frame(from: 1, to: 255)])
        #expect(try b.receive().count > 1)
        try space.detach("vale1:w2")
        try space.detach("vale0:w2")
        _ = try a.receive()
        try a.send([frame(from: 1, to: 255, mark: 7)])
        #expect(try b.receive().last == frame(from: 1, to: 255, mark: 7))
    }

    @Test func anInterfaceOnASwitchTakesFrames() throws {
        let space = PortSpace.embedded()
        try space.attach("vale0:nm0", withHost: true)
        let a = try Port("vale0:a", on: space)
        let number = try space.place(of: "vale0:nm0").portIndex
        var ring = a.transmitRing()
        ring.send(frame(from: 1, to: 255).span, toPort: number)
        try a.syncTransmit()
        let isDrained = a.isDrained
        #expect(isDrained)
        try space.detach("vale0:nm0")
    }
}
