// What a hostile guest or front-end can do (vhost-user-spec 2.10), and which tests do it. Where rings
// have anything to do with it, they do it to both formats.

import Glibc
import Netmap
import Testing

/// The rows of the table, each with the functions that are its tests.
private let attacks: [(attack: String, tests: [String])] = [
    (
        "a descriptor chain that loops",
        [
            "HostileChainTests.loops", "HostileChainTests.indirectLoops",
            "HostileChainTests.fullRing",
        ]
    ),
    (
        "a head, a successor or a buffer id that does not exist",
        ["HostileChainTests.heads", "HostileChainTests.bufferIDs"]
    ),
    (
        "an available index that jumps; more entries than the ring has",
        [
            "HostileRingTests.availableIndex", "HostileRingTests.jumpsInBatch",
            "HostileChainTests.overlappingChains",
        ]
    ),
    (
        "a buffer outside memory, in a hole, or across regions",
        [
            "HostileAddressTests.addresses", "HostileAddressTests.seams",
            "TransmitTests.acrossRegions",
        ]
    ),
    (
        "lengths that overflow, in one descriptor or in sum",
        [
            "HostileAddressTests.addresses", "HostileChainTests.giantChain",
            "HostileReceiveTests.giantReceiveChain",
        ]
    ),
    (
        "huge chains and huge frames",
        [
            "HostileChainTests.longChain", "TransmitTests.limits", "VisitBudgetTests.bytes",
            "VisitBudgetTests.descriptors", "MigrationTests.giantChain",
        ]
    ),
    (
        "an indirect table that is nested, odd, across regions, longer than the ring",
        [
            "HostileAddressTests.indirect", "HostileAddressTests.nested",
            "HostileAddressTests.longIndirectTable", "TransmitTests.acrossRegions",
        ]
    ),
    (
        "a header in pieces, or too short",
        [
            "TransmitTests.everySplit", "TransmitTests.spreadHeader", "TransmitTests.limits",
            "HostileChainTests.emptyFrames",
        ]
    ),
    (
        "descriptors, header or frame rewritten between check and use",
        ["HostileRingTests.rewritesAfterCheck", "HostileThreadTests.rewritesEverything"]
    ),
    (
        "offload requests that contradict the frame",
        [
            "HostileHeaderTests.contradiction", "HostileHeaderTests.finishing",
            "SegmenterHostileTests.flaws", "SegmenterHostileTests.noise",
            "OffloadFinisherTests.hostile",
        ]
    ),
    (
        "receive buffers that are read-only, empty, or too small",
        [
            "HostileChainTests.direction", "HostileReceiveTests.emptyReceiveBuffers",
            "HostileReceiveTests.tinyReceiveBuffers", "HostileReceiveTests.smallBuffers",
        ]
    ),
    ("rings on top of buffers or of each other", ["HostileRingTests.overlappingRings"]),
    (
        "a ring that reaches out of its region",
        ["GuestMemoryTests.rings", "GuestMemoryTests.ringAreas", "AddressSpaceTests.rings"]
    ),
    (
        "a dirty log that is too short for what is logged, or for itself",
        ["DirtyLogTests.bounds", "DirtyLogTests.refusals", "MigrationTests.smallLog"]
    ),
    ("a ring index that is too large", ["SessionRingTests.ringIndices"]),
    (
        "setters again and again, descriptors that nobody asked for",
        [
            "SessionOrderTests.repeatedSetters", "SessionOrderTests.settersOnRunningRing",
            "SessionHostileTests.unsolicited", "SessionFuzzTests.descriptorsOfTheProcess",
        ]
    ),
    (
        "an inflight file of impossible rings, or with anything in it",
        [
            "SessionRingTests.inflightRings", "HostileRecordTests.longChains",
            "HostileRecordTests.anyContent",
        ]
    ),
    (
        "regions that are empty, overflow, overlap, or have short files",
        [
            "GuestMemoryTests.sizes", "GuestMemoryTests.wraps", "GuestMemoryTests.overlap",
            "GuestMemoryTests.shortFile", "GuestMemoryTests.tooMany",
        ]
    ),
    (
        "files that are cut short while in use",
        [
            "TruncationTests.truncated", "TruncationTests.truncatedQueue",
            "TruncationTests.exhaustedGuards", "DirtyLogTests.truncated",
        ]
    ),
    (
        "messages of the wrong size or version, or that do not exist",
        [
            "SessionHostileTests.headers", "SessionHostileTests.payloadSizes",
            "SessionHostileTests.unknownRequests", "SessionFuzzTests.fuzz",
        ]
    ),
    (
        "a front-end that stops reading its socket",
        ["SocketTests.`a front-end that never reads is let go, and nobody waits for it`"]
    ),
    (
        "descriptors that block whoever writes to them",
        [
            "NotificationFileTests.`what is no eventfd is refused`",
            "NotificationFileTests.`a call eventfd that is full does not hold up a worker`",
            "NotificationFileTests.`a call eventfd that is made to block after it was given holds up nobody`",
            "NotificationFileTests.`error and kick eventfds that block do not hold up the control thread`",
        ]
    ),
    (
        "a flood of frames or kicks",
        ["VisitBudgetTests.fullSize", "VisitBudgetTests.vain", "TransmitTests.bounded"]
    ),
    (
        "sources that are forged, move, or fill the table",
        [
            "ForwardingTableTests.flood", "ForwardingTableTests.moves",
            "ForwardingTableTests.staticEntries", "ForwardingTableTests.fullOfStatics",
        ]
    ),
]

@Suite("The table of attacks")
struct AttackTableTests {
    /// All test files, by suite: a suite is the file of its name.
    private func source(of suite: String) -> String? {
        let here = Array("\(#filePath)".utf8)
        guard let slash = here.lastIndex(of: UInt8(ascii: "/")) else { return nil }
        let tests = String(decoding: here[..<slash], as: UTF8.self) + "/.."
        for module in ["VhostUserTests", "EngineTests", "WireTests", "NetmapTests", "ValeTests"] {
            let number = unsafe open("\(tests)/\(module)/\(suite).swift", O_RDONLY | O_CLOEXEC)
            guard number >= 0 else { continue }
            let file = OwnedDescriptor(number)
            var bytes = [UInt8](repeating: 0, count: 1 << 17)
            let count = unsafe read(file.number, &bytes, bytes.count)
            return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
        }
        return nil
    }

    @Test("names tests that exist")
    func names() {
        for (attack, tests) in attacks {
            #expect(!tests.isEmpty, "\(attack)")
            for test in tests {
                let parts = test.split(separator: ".", maxSplits: 1).map(String.init)
                let text = source(of: parts[0]) ?? ""
                #expect(text.contains("func \(parts[1])("), "\(attack): \(test)")
            }
        }
    }
}
