// The numbers of ports on their switch, and frames that are forced to one of them.

import CNetmap
import Netmap
import TestSupport
import Testing

@testable import Vale

@Suite("Numbers of a switch's ports")
struct PortPlacesTests {
    @Test("are the lowest that is free, stay, and leave out 255")
    func numbers() {
        var places = PortPlaces()
        for port in UInt16(7)..<10 { #expect(places.add(port) == Int(port) - 6) }
        #expect(places.remove(8) == 2 && places.place(of: 9) == 3)
        #expect(places.add(20) == 2 && places.add(21) == 4)
        #expect(places.remove(8) == nil)
        for port in UInt16(100)..<400 { _ = places.add(port) }
        #expect(places.place(of: 255 - 5 + 100) == 256)
        #expect(!places.all.contains { $0.place == 0 || $0.place == 255 })
        #expect(places.all.count == 304)
    }

    /// A switch with ports 10 to 12 at 1 to 3, of which 11 has a station.
    static func makeSwitch() -> Switch {
        let made = Switch()
        for place in 1...3 { made.setPort(UInt16(9 + place), at: place) }
        _ = made.table.learn(0x0b_0000_0000_02, on: 11, now: 1, ageing: 300)
        return made
    }

    /// Where a frame goes that port 10 sends to station `target`.
    static func classify(
        _ vale: borrowing Switch,
        to target: UInt8,
        place: UInt8,
        length: Int = 60,
        cut: @escaping (Int) -> [Int] = { [$0] }
    ) -> (to: UInt16?, floods: Int, drops: [String: UInt64]) {
        var batch = FrameBatch()
        var plan = ForwardingPlan()
        let page = CounterPage()
        let bytes = [2, 0, 0, 0, 0, target, 2, 0, 0, 0, 0, 0x0a, 0x88, 0xb5]
        let frame = (target == 255 ? Array(repeating: 255, count: 6) + bytes[6...] : bytes)
        let set = FrameSet(
            [Array((frame + Array(repeating: 0, count: 64)).prefix(length))],
            into: &batch,
            cut: cut
        )
        batch.isUnlearned = true
        unsafe batch.ports[0] = place
        vale.classify(batch, from: 10, now: 1, counters: page.counters, into: &plan)
        withExtendedLifetime(set) {}
        let floods = plan.floodCount
        let count = plan.targetCount
        return (count == 1 ? plan.target(0).port : nil, floods, page.drops)
    }

    @Test(
        "force frames to a port, whatever their addresses say",
        arguments: [11, 99, 255] as [UInt8]
    )
    func forced(target: UInt8) {
        let vale = Self.makeSwitch()
        for cut in [{ [$0] }, { [5, 4, $0 - 9] }] as [(Int) -> [Int]] {
            let result = Self.classify(vale, to: target, place: 3, cut: cut)
            #expect(result.to == 12 && result.floods == 0 && result.drops.isEmpty)
        }
        #expect(vale.table.lookup(0x0a_0000_0000_02, now: 1, ageing: 300) == nil, "not learned")
    }

    @Test("leave it to the addresses where there is none")
    func unforced() {
        let vale = Self.makeSwitch()
        #expect(Self.classify(vale, to: 11, place: 0).to == 11)
        #expect(Self.classify(vale, to: 99, place: 0).floods == 1)
        #expect(Self.classify(vale, to: 255, place: 0).floods == 1)
        #expect(vale.floods == 2)
    }

    @Test("that no port has are no destination; one's own is the same segment")
    func nobody() {
        let vale = Self.makeSwitch()
        for place in [4, 254, 255] as [UInt8] {
            let result = Self.classify(vale, to: 255, place: place)
            #expect(result.to == nil && result.floods == 0)
            #expect(result.drops == ["no-destination": 1])
        }
        #expect(Self.classify(vale, to: 255, place: 1).drops == ["same-segment": 1])
        #expect(Self.classify(vale, to: 11, place: 2, length: 13).drops == ["malformed": 1])
        vale.setPort(nil, at: 3)
        #expect(Self.classify(vale, to: 11, place: 3).drops == ["no-destination": 1], "it has left")
        // What no slot can name changes nothing.
        vale.setPort(12, at: 0)
        vale.setPort(12, at: 255)
        vale.setPort(12, at: 70_000)
        #expect(Self.classify(vale, to: 99, place: 0).floods == 1)
        #expect(Self.classify(vale, to: 99, place: 255).drops == ["no-destination": 1])
    }
}
