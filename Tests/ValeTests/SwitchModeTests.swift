// Wires, hubs, and what a learning switch does with addresses that IEEE 802.1Q reserves.

import Netmap
import TestSupport
import Testing

@testable import Vale

@Suite("Switch modes")
struct SwitchModeTests {
    /// A kind of frame by its destination and type.
    struct Kind: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let to: [UInt8]
        let type: UInt16
        /// Whether a wire keeps it, and a switch that keeps reserved groups.
        let isWires: Bool
        let isReserved: Bool
    }

    static let kinds: [Kind] = [
        Kind(testDescription: "STP", to: bridge(0), type: 0x0026, isWires: false, isReserved: true),
        Kind(
            testDescription: "pause",
            to: bridge(1),
            type: 0x8808,
            isWires: true,
            isReserved: true
        ),
        Kind(
            testDescription: "not pause",
            to: bridge(1),
            type: 0x8809,
            isWires: false,
            isReserved: true
        ),
        Kind(
            testDescription: "LACP",
            to: bridge(2),
            type: 0x8809,
            isWires: false,
            isReserved: true
        ),
        Kind(
            testDescription: "802.1X",
            to: bridge(3),
            type: 0x888e,
            isWires: false,
            isReserved: true
        ),
        Kind(
            testDescription: "LLDP",
            to: bridge(14),
            type: 0x88cc,
            isWires: false,
            isReserved: true
        ),
        Kind(
            testDescription: "the last",
            to: bridge(15),
            type: 0x88cc,
            isWires: false,
            isReserved: true
        ),
        Kind(
            testDescription: "GMRP",
            to: bridge(0x20),
            type: 0x88cc,
            isWires: false,
            isReserved: false
        ),
        Kind(
            testDescription: "after it",
            to: bridge(0x10),
            type: 0x8808,
            isWires: false,
            isReserved: false
        ),
        Kind(
            testDescription: "another octet",
            to: [1, 0x80, 0xc2, 0, 1, 2],
            type: 0x8809,
            isWires: false,
            isReserved: false
        ),
        Kind(
            testDescription: "broadcast",
            to: Array(repeating: 255, count: 6),
            type: 0x0806,
            isWires: false,
            isReserved: false
        ),
        Kind(
            testDescription: "IPv6 multicast",
            to: [0x33, 0x33, 0, 0, 0, 1],
            type: 0x86dd,
            isWires: false,
            isReserved: false
        ),
        Kind(
            testDescription: "unknown station",
            to: [2, 0, 0, 0, 9, 9],
            type: 0x0800,
            isWires: false,
            isReserved: false
        ),
        Kind(
            testDescription: "a tag",
            to: [2, 0, 0, 0, 9, 9],
            type: 0x8100,
            isWires: false,
            isReserved: false
        ),
    ]

    static func bridge(_ last: UInt8) -> [UInt8] { [1, 0x80, 0xc2, 0, 0, last] }

    @Test("treat each kind of frame as they should", arguments: kinds)
    func table(kind: Kind) {
        for cuts in [[60], [5, 55], [13, 47]] {
            var bytes = frame(to: 0, from: 1, type: kind.type).bytes
            bytes.replaceSubrange(0..<6, with: kind.to)
            let sent = SeenFrame(bytes)
            let hub = PolicyBed(ports: 3)
            hub.vale.mode = .hub
            #expect(hub.send([sent], from: 1) { _ in cuts } == [2: [sent], 3: [sent]])
            let wire = PolicyBed(ports: 2)
            wire.vale.mode = .wire
            #expect(wire.send([sent], from: 2) { _ in cuts } == (kind.isWires ? [:] : [1: [sent]]))
            #expect(wire.drops(2) == (kind.isWires ? ["filtered": 1] : [:]))
            let open = PolicyBed(ports: 3)
            #expect(open.send([sent], from: 1) { _ in cuts } == [2: [sent], 3: [sent]])
            let closed = PolicyBed(ports: 3)
            closed.vale.forwardsGroups = false
            #expect(
                closed.send([sent], from: 1) { _ in cuts }
                    == (kind.isReserved ? [:] : [2: [sent], 3: [sent]])
            )
            #expect(closed.drops(1) == (kind.isReserved ? ["filtered": 1] : [:]))
            for bed in [hub, wire] {
                #expect(bed.vale.table.contents(now: 1, ageing: 300).isEmpty)
            }
            #expect(
                closed.vale.table.contents(now: 1, ageing: 300).count == (kind.isReserved ? 0 : 1)
            )
        }
    }

    @Test("say whether anything has to be checked")
    func isPlain() {
        let vale = Switch(seed: hashSeed(1))
        #expect(vale.isPlain == true)
        for mode in [SwitchMode.wire, .hub] {
            vale.mode = mode
            #expect(vale.isPlain == false)
            #expect(vale.mode == mode)
        }
        vale.mode = .learning
        #expect(vale.isPlain == true)
        vale.forwardsGroups = false
        #expect(vale.isPlain == false && vale.mode == .learning)
        vale.forwardsGroups = true
        vale.setRules(any: true, vlans: false)
        #expect(vale.isPlain == false && vale.forwardsGroups == true)
        vale.setRules(any: false, vlans: false)
        #expect(vale.isPlain == true)
    }
}
