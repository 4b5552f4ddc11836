// VLANs: what enters, what leaves, and with which tag (IEEE 802.1Q).

import Netmap
import TestSupport
import Testing

@testable import Vale

@Suite("VLANs")
struct VLANTests {
    static let access = VLANRule.access(10)
    static func trunk(_ vlans: [UInt16], native: UInt16? = nil) -> VLANRule {
        var set = VLANSet()
        for vlan in vlans { set.insert(vlan) }
        return .trunk(set, native: native)
    }

    /// What a frame is when it comes, and its VLAN at a port with a rule; nil if it is not let in.
    struct Entry: Sendable, CustomTestStringConvertible {
        let name: String
        let rule: VLANRule
        let tags: [[UInt16]]
        let vlan: UInt16?
        var testDescription: String { name }
    }

    static let entries: [Entry] = [
        Entry(name: "access, untagged", rule: access, tags: [], vlan: 10),
        Entry(name: "access, its own tag", rule: access, tags: [[0x8100, 0x600a]], vlan: 10),
        Entry(name: "access, another tag", rule: access, tags: [[0x8100, 20]], vlan: nil),
        Entry(name: "access, priority", rule: access, tags: [[0x8100, 0xa000]], vlan: 10),
        Entry(name: "access, 4095", rule: access, tags: [[0x8100, 4095]], vlan: nil),
        Entry(name: "access, service tag", rule: access, tags: [[0x88a8, 20]], vlan: 10),
        Entry(
            name: "access, two tags",
            rule: access,
            tags: [[0x8100, 10], [0x8100, 30]],
            vlan: 10
        ),
        Entry(name: "trunk, untagged", rule: trunk([10, 20]), tags: [], vlan: nil),
        Entry(name: "trunk, 10", rule: trunk([10, 20]), tags: [[0x8100, 0x200a]], vlan: 10),
        Entry(name: "trunk, 20", rule: trunk([10, 20]), tags: [[0x8100, 20]], vlan: 20),
        Entry(name: "trunk, 30", rule: trunk([10, 20]), tags: [[0x8100, 30]], vlan: nil),
        Entry(
            name: "trunk, priority",
            rule: trunk([10, 20]),
            tags: [[0x8100, 0xe000]],
            vlan: nil
        ),
        Entry(name: "native, untagged", rule: trunk([20], native: 10), tags: [], vlan: 10),
        Entry(
            name: "native, tagged",
            rule: trunk([20], native: 10),
            tags: [[0x8100, 10]],
            vlan: 10
        ),
        Entry(name: "native, 20", rule: trunk([20], native: 10), tags: [[0x8100, 20]], vlan: 20),
        Entry(
            name: "native, priority",
            rule: trunk([20], native: 10),
            tags: [[0x8100, 0x4000]],
            vlan: 10
        ),
        Entry(name: "nothing said, untagged", rule: .everything, tags: [], vlan: 0),
        Entry(name: "nothing said, 10", rule: .everything, tags: [[0x8100, 10]], vlan: 10),
        Entry(name: "nothing said, 4094", rule: .everything, tags: [[0x8100, 4094]], vlan: 4094),
        Entry(name: "nothing said, 4095", rule: .everything, tags: [[0x8100, 4095]], vlan: nil),
        Entry(name: "trunk with 0, untagged", rule: trunk([0, 10]), tags: [], vlan: 0),
    ]

    /// The ports that a frame can leave by, and what a VLAN's frames look like there.
    static let exits: [(UInt16, VLANRule)] = [
        (2, .access(10)), (3, .access(20)), (4, trunk([10, 20])), (5, trunk([20], native: 10)),
        (6, .everything), (7, trunk([0, 30])),
    ]

    static func expected(_ entry: Entry, at rule: VLANRule) -> [[UInt16]]? {
        guard let vlan = entry.vlan else { return nil }
        let hadTag = entry.tags.first?.first == 0x8100
        let priority = hadTag ? entry.tags[0][1] & 0xf000 : 0
        let inner = hadTag ? Array(entry.tags.dropFirst()) : entry.tags
        let tagged = [[0x8100, priority | vlan]] + inner
        switch rule {
        case .access(let own): return own == vlan ? inner : nil
        case .trunk(let set, let native):
            if vlan == native { return inner }
            guard set.contains(vlan) else { return nil }
            // In no VLAN a priority tag stays what it is.
            return vlan == 0 && !hadTag ? inner : tagged
        }
    }

    @Test("enter and leave as they should", arguments: entries)
    func matrix(entry: Entry) {
        for cuts in [[64], [3, 61], [12, 1, 1, 1, 49], [14, 50], [17, 47], [18, 46]] {
            let bed = PolicyBed(ports: 7)
            for (port, rule) in [(1, entry.rule)] + VLANTests.exits {
                bed.tell(port) { $0.vlan = rule }
            }
            let tags = entry.tags.map { ($0[0], $0[1]) }
            let note = Comment(rawValue: "\(entry.name), cut at \(cuts)")
            // To everybody, then to a station that is known everywhere.
            let all = frame(to: 0xff, from: 1, tags: tags, length: 64)
            let got = bed.send([all], from: 1) { _ in cuts }
            for (port, rule) in VLANTests.exits {
                let want = VLANTests.expected(entry, at: rule).map { tags in
                    let head = tags.map { ($0[0], $0[1]) }
                    // The rest is what it was.
                    let rest = all.bytes.dropFirst(14 + 4 * entry.tags.count)
                    return SeenFrame(frame(to: 0xff, from: 1, tags: head, length: 0).bytes + rest)
                }
                #expect(got[port] == want.map { [$0] }, note)
            }
            #expect(bed.drops(1)["vlan"] == (entry.vlan == nil ? 1 : nil), note)
            // Learned in its VLAN only.
            let table = bed.vale.table.contents(now: 1, ageing: 300)
            #expect(table.map(\.vlan) == (entry.vlan.map { [$0] } ?? []), note)
        }
    }

    @Test("have tables of their own")
    func independentLearning() {
        let bed = PolicyBed(ports: 4)
        bed.tell(1) { $0.vlan = .access(10) }
        bed.tell(2) { $0.vlan = .access(20) }
        bed.tell(3) { $0.vlan = VLANTests.trunk([10, 20]) }
        bed.tell(4) { $0.vlan = VLANTests.trunk([10, 20]) }
        // The same station in two VLANs, at two ports.
        _ = bed.send([frame(to: 0xff, from: 9)], from: 1)
        _ = bed.send([frame(to: 0xff, from: 9)], from: 2)
        let to10 = bed.send([frame(to: 9, from: 5, tags: [(0x8100, 10)])], from: 3)
        let to20 = bed.send([frame(to: 9, from: 5, tags: [(0x8100, 20)])], from: 3)
        #expect(Array(to10.keys) == [1])
        #expect(Array(to20.keys) == [2])
        #expect(bed.vale.table.moves == 0)
    }

    @Test("end where nobody else is in them, counted")
    func alone() {
        let bed = PolicyBed(ports: 2)
        bed.tell(1) { $0.vlan = .access(10) }
        bed.tell(2) { $0.vlan = .access(20) }
        #expect(bed.send([frame(to: 0xff, from: 1), frame(to: 2, from: 1)], from: 1).isEmpty)
        #expect(bed.drops(1) == ["no-destination": 2])
        // A station that an operator put at a port which is not in the VLAN.
        let station = BridgeModel.mac([2, 0, 0, 0, 0, 2])
        #expect(bed.vale.table.addStatic(station, vlan: 10, on: 2) == true)
        #expect(bed.send([frame(to: 2, from: 1)], from: 1).isEmpty)
        #expect(bed.drops(1) == ["no-destination": 2, "vlan": 1])
    }

    @Test("keep offload requests right when a tag comes or goes")
    func offloads() {
        let bed = PolicyBed(ports: 3)
        bed.tell(1) { $0.vlan = .access(10) }
        bed.tell(2) { $0.vlan = .access(10) }
        bed.tell(3) { $0.vlan = VLANTests.trunk([10]) }
        var bare = frame(to: 0xff, from: 1, length: 500)
        bare.start = 34
        bare.headerLength = 54
        let out = bed.send([bare], from: 1)
        #expect(out[2]?.first == bare)
        #expect(out[3]?.first?.start == 38)
        #expect(out[3]?.first?.headerLength == 58)
        #expect(out[3]?.first?.bytes.count == 504)
        var tagged = frame(to: 0xff, from: 3, tags: [(0x8100, 10)], length: 500)
        tagged.start = 38
        tagged.headerLength = 58
        let back = bed.send([tagged], from: 3)
        #expect(back[1]?.first?.start == 34)
        #expect(back[1]?.first?.headerLength == 54)
        // What begins within the addresses would be a checksum over what is exchanged.
        tagged.start = 17
        #expect(bed.send([tagged], from: 3).isEmpty)
        bare.start = 0xfffc
        #expect(bed.send([bare], from: 1).isEmpty)
        #expect(bed.drops(3) == ["bad-offload": 1])
        #expect(bed.drops(1) == ["bad-offload": 1])
    }

    @Test("drop a tag without the bytes that follow one", arguments: 14..<18)
    func shortTag(length: Int) {
        let bed = PolicyBed(ports: 2)
        bed.tell(1) { $0.vlan = VLANTests.trunk([10]) }
        let whole = frame(to: 0xff, from: 1, tags: [(0x8100, 10)])
        let cut = SeenFrame(Array(whole.bytes.prefix(length)))
        #expect(bed.send([cut, SeenFrame(Array(whole.bytes.prefix(18)))], from: 1)[2]?.count == 1)
        #expect(bed.drops(1) == ["malformed": 1])
    }

    @Test("deliver what was checked, whatever the sender writes meanwhile")
    func senderChangesItsMind() {
        let bed = PolicyBed(ports: 2)
        bed.tell(1) { $0.vlan = VLANTests.trunk([10]) }
        bed.tell(2) { $0.vlan = VLANTests.trunk([10, 20]) }
        let good = frame(to: 0xff, from: 1, tags: [(0x8100, 10)])
        unsafe bed.classify([good], from: 1) { batch, gate, clock in
            // Another VLAN, and another's address.
            unsafe batch.frames[0].address.storeBytes(of: 20, toByteOffset: 15, as: UInt8.self)
            unsafe batch.frames[0].address.storeBytes(of: 7, toByteOffset: 11, as: UInt8.self)
            guard let page = bed.tx[2] else { return }
            let target = unsafe bed.pass.target(
                2,
                0..<1,
                of: bed.plan,
                batch,
                from: gate,
                to: bed.gates.gate(2),
                clock,
                page.counters
            )
            #expect(target.count == 1)
            #expect(bed.pass.views.littleEndian(0, from: 6, length: 6) == 0x01_0000_0000_02)
            #expect(bed.pass.views.littleEndian(0, from: 12, length: 4) == 0x0a00_0081)
        }
    }
}
