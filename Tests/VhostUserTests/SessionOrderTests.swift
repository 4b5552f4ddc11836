// The orders of messages that real front-ends use (vhost-user-spec 2.4, 2.6), replayed.

import Netmap
import Testing

@testable import VhostUser

@Suite("A session")
struct SessionOrderTests {
    static let qemuFeatures: UInt64 = 0x1_7020_e783 & Feature.offered | Feature.protocolFeatures
    static let gatherFeatures: [FrontEndMessage] = [
        .plain(.getFeatures), .plain(.getProtocolFeatures),
    ]

    /// QEMU 7.2 connects: before the guest runs, once for each pair.
    func connectQEMU(_ talk: inout Conversation, pairs: Int) throws {
        for pair in 0..<pairs {
            #expect(try talk.ask(.plain(.getFeatures)) == Feature.offered)
            #expect(try talk.ask(.plain(.getProtocolFeatures)) == ProtocolFeature.offered)
            try talk.tell([.word(.setProtocolFeatures, 0x1_003d)])
            if pair == 0 {
                #expect(try talk.ask(.plain(.getQueueNum)) == UInt64(Session.maximumQueuePairs))
                var channel = FrontEndMessage.plain(.setBackendRequestFD)
                channel.files = 1
                #expect(try talk.ask(channel.acknowledged) == 0)
                try talk.tell([.plain(.setOwner)])
            }
            #expect(try talk.ask(.plain(.getFeatures)) == Feature.offered)
            for ring in UInt64(2 * pair)...UInt64(2 * pair + 1) {
                try talk.tell([.file(.setVringCall, ring), .file(.setVringErr, ring)])
            }
        }
    }

    /// QEMU 7.2's driver-OK phase; `bases` are those of the rings.
    func driverOK(_ talk: inout Conversation, pairs: Int, bases: [UInt32]) throws {
        for pair in 0..<UInt32(pairs) {
            try talk.tell([
                .state(.setVringEnable, 2 * pair, 1), .state(.setVringEnable, 2 * pair + 1, 1),
                .word(.setFeatures, SessionOrderTests.qemuFeatures),
            ])
            _ = try talk.ask(.plain(.getStatus))
            #expect(try talk.ask(.word(.setStatus, 8).acknowledged) == 0)
            if pair == 0 { #expect(try talk.ask(.memory.acknowledged) == 0) }
            for ring in [2 * pair, 2 * pair + 1] {
                try talk.start(ring, base: bases[Int(ring)])
                try talk.tell([.file(.setVringCall, UInt64(ring))])
            }
        }
        #expect(try talk.ask(.plain(.getStatus)) == 8)
        try talk.tell([.word(.setStatus, 15)])
        #expect(try talk.ask(.plain(.getStatus)) == 15)
    }

    @Test("with QEMU 7.2 starts, stops, goes on and starts again", arguments: [1, 2, 4])
    func qemu(pairs: Int) throws {
        var talk = Conversation()
        try connectQEMU(&talk, pairs: pairs)
        #expect(
            talk.controller.take().allSatisfy {
                ["call", "err", "channel"].contains($0.prefix { $0 != " " })
            }
        )
        for round in 0..<5 {
            for ring in 0..<UInt32(2 * pairs) {
                try talk.tell([.state(.setVringEnable, ring, round > 1 || ring < 2 ? 1 : 0)])
            }
        }
        #expect(talk.controller.running.isEmpty)
        let zeroes = [UInt32](repeating: 0, count: 2 * pairs)
        try driverOK(&talk, pairs: pairs, bases: zeroes)
        #expect(talk.controller.running == Set(0..<2 * pairs))
        #expect(talk.controller.setups[0]?.features == SessionOrderTests.qemuFeatures)
        #expect(talk.controller.setups[1]?.descriptors.map(\.address) == [0x7f00_0001_0000])
        #expect(talk.controller.setups[1]?.available.map(\.address) == [0x7f00_0001_1000])
        #expect(talk.controller.setups[1]?.used.map(\.address) == [0x7f00_0001_2000])

        // Stop: status 0 comes in the middle, and forgets nothing.
        var bases: [UInt32] = []
        for ring in 0..<UInt32(2 * pairs) {
            if ring % 2 == 0 { try talk.tell([.word(.setStatus, 0)]) }
            talk.controller.indices[Int(ring)] = 100 + ring
            // The number in the request may be garbage.
            let reply = try talk.ask(.state(.getVringBase, ring, 0xdead_beef))
            #expect(reply == UInt64(ring) | UInt64(100 + ring) << 32)
            bases.append(UInt32(100 + ring))
        }
        #expect(talk.controller.running.isEmpty)
        #expect(talk.controller.enabled.values.allSatisfy { $0 }, "enabled survives a stop")

        _ = talk.controller.take()
        try driverOK(&talk, pairs: pairs, bases: bases)
        let starts = talk.controller.take().filter { $0.hasPrefix("start") }
        #expect(starts == (0..<2 * pairs).map { "start \($0) size 256 base \(100 + $0)" })
        talk.session.close(&talk.controller)
        #expect(talk.controller.running.isEmpty)
    }

    @Test("with DPDK's virtio-user gets its call descriptors before anything else")
    func virtioUser() throws {
        var talk = Conversation()
        try talk.tell([.plain(.setOwner)])
        #expect(try talk.ask(.plain(.getFeatures)) == Feature.offered)
        #expect(
            try talk.ask(.plain(.getProtocolFeatures)) == ProtocolFeature.offered(isOwned: true)
        )
        try talk.tell([.word(.setProtocolFeatures, 0x1_0009)])
        #expect(try talk.ask(.plain(.getQueueNum)) == 64)
        for status: UInt64 in [0, 1, 3] {
            #expect(try talk.ask(.word(.setStatus, status).acknowledged) == 0)
        }
        for ring: UInt64 in 0..<2 { try talk.tell([.file(.setVringCall, ring)]) }
        try talk.tell([.word(.setFeatures, Feature.modern | Feature.protocolFeatures)])
        #expect(try talk.ask(.memory.acknowledged) == 0)
        for ring: UInt32 in 0..<2 { try talk.start(ring) }
        for ring: UInt32 in 0..<2 { try talk.tell([.state(.setVringEnable, ring, 1)]) }
        try talk.tell([.word(.setStatus, 15)])
        #expect(
            talk.controller.events == [
                "call 0 fd", "call 1 fd", "map 1 1", "start 0 size 256 base 0",
                "start 1 size 256 base 0", "enable 0", "enable 1",
            ]
        )
        #expect(try talk.ask(.state(.getVringBase, 0, 0)) == 7 << 32)
        #expect(try talk.ask(.state(.getVringBase, 1, 0)) == 1 | 7 << 32)
    }

    @Test("with cloud-hypervisor acknowledges everything")
    func cloudHypervisor() throws {
        var talk = Conversation()
        try talk.tell([.plain(.setOwner)])
        _ = try talk.ask(.plain(.getFeatures))
        _ = try talk.ask(.plain(.getProtocolFeatures))
        try talk.tell([.word(.setProtocolFeatures, 0x9)])
        #expect(try talk.ask(.plain(.getQueueNum)) == 64)
        let features = FrontEndMessage.word(
            .setFeatures,
            Feature.modern | Feature.protocolFeatures
        )
        #expect(try talk.ask(features.acknowledged) == 0)
        #expect(try talk.ask(.memory.acknowledged) == 0)
        for ring: UInt32 in 0..<2 {
            #expect(try talk.ask(.state(.setVringNum, ring, 256).acknowledged) == 0)
        }
        for ring: UInt32 in 0..<2 {
            let index = UInt64(ring)
            #expect(try talk.ask(.addresses(ring).acknowledged) == 0)
            #expect(try talk.ask(.state(.setVringBase, ring, 9).acknowledged) == 0)
            #expect(try talk.ask(.file(.setVringCall, index).acknowledged) == 0)
            #expect(try talk.ask(.file(.setVringKick, index).acknowledged) == 0)
        }
        for ring: UInt32 in 0..<2 {
            #expect(try talk.ask(.state(.setVringEnable, ring, 1).acknowledged) == 0)
        }
        var channel = FrontEndMessage.plain(.setBackendRequestFD)
        channel.files = 1
        #expect(try talk.ask(channel.acknowledged) == 0)
        #expect(
            talk.controller.take() == [
                "map 1 1", "call 0 fd", "start 0 size 256 base 9", "call 1 fd",
                "start 1 size 256 base 9", "enable 0", "enable 1", "channel",
            ]
        )
        for ring: UInt32 in 0..<2 {
            #expect(try talk.ask(.state(.setVringEnable, ring, 0).acknowledged) == 0)
            #expect(try talk.ask(.state(.getVringBase, ring, 0)) == UInt64(ring) | 16 << 32)
        }
        #expect(talk.controller.take() == ["disable 0", "stop 0", "disable 1", "stop 1"])
    }

    @Test("without bit 30 enables its rings by itself")
    func withoutProtocolFeatures() throws {
        var talk = Conversation()
        try talk.tell([.plain(.setOwner), .word(.setFeatures, Feature.version1), .memory])
        try talk.start(0)
        try talk.start(1)
        #expect(talk.controller.enabled == [0: true, 1: true])
        #expect(talk.controller.running == [0, 1])
    }

    @Test("enables rings that it heard of before SET_FEATURES came without bit 30")
    func enablesLate() throws {
        var talk = Conversation()
        try talk.tell([.state(.setVringNum, 1, 64)])
        #expect(talk.controller.enabled.isEmpty)
        try talk.tell([.word(.setFeatures, Feature.version1)])
        #expect(talk.controller.enabled[1] == true)
    }

    @Test("starts a ring by its KICK, with or without a descriptor, and keeps it while it runs")
    func kick() throws {
        var talk = Conversation()
        try talk.negotiate()
        try talk.tell([
            .memory, .state(.setVringNum, 0, 128), .addresses(0), .state(.setVringBase, 0, 3),
        ])
        #expect(talk.controller.running.isEmpty)
        try talk.tell([.file(.setVringKick, 0, polled: true)])
        #expect(talk.controller.running == [0])
        #expect(talk.controller.setups[0]?.kick == nil)
        try talk.tell([.file(.setVringKick, 0)])
        #expect(talk.controller.setups[0]?.kick != nil)
        #expect(
            talk.controller.take() == [
                "map 1 1", "start 0 size 128 base 3", "stop 0", "start 0 size 128 base 10",
            ]
        )
        _ = try talk.send(.state(.getVringBase, 0, 0))
        talk.controller.setups = [:]
        #expect(talk.openFiles == 1, "GET_VRING_BASE closes the kick; memory stays")
    }

    @Test("stops a running ring around every setter, and starts it at its index")
    func settersOnRunningRing() throws {
        var talk = Conversation()
        try talk.negotiate()
        try talk.tell([.memory])
        try talk.start(0)
        try talk.start(1)
        let other = MemoryRegion(
            guestAddress: 0,
            size: 2 << 20,
            userAddress: 0x7f00_0000_0000,
            fileOffset: 0
        )
        let setters: [(FrontEndMessage, [String])] = [
            (.state(.setVringNum, 1, 64), ["stop 1", "start 1 size 64 base 500"]),
            (.state(.setVringBase, 1, 77), ["stop 1", "start 1 size 64 base 77"]),
            (.addresses(1), ["stop 1", "start 1 size 64 base 500"]),
            (.file(.setVringKick, 1), ["stop 1", "start 1 size 64 base 500"]),
            (
                .word(.setFeatures, Feature.version1 | Feature.protocolFeatures),
                [
                    "stop 0", "start 0 size 256 base 400", "stop 1", "start 1 size 64 base 500",
                ]
            ),
            (
                .table([other]),
                [
                    "stop 0", "stop 1", "map 1 1", "start 0 size 256 base 400",
                    "start 1 size 64 base 500",
                ]
            ),
        ]
        talk.controller.indices = [0: 400, 1: 500]
        _ = talk.controller.take()
        for (message, expected) in setters {
            try talk.tell([message])
            #expect(talk.controller.take() == expected, "request \(message.request)")
        }
        // These leave it alone.
        for message: FrontEndMessage in [
            .word(.setFeatures, Feature.version1 | Feature.protocolFeatures), .table([other]),
            .plain(.setOwner), .plain(.resetOwner), .word(.setStatus, 0), .word(.setStatus, 15),
        ] {
            try talk.tell([message])
            #expect(talk.controller.take().isEmpty, "request \(message.request)")
        }
        try talk.tell([.file(.setVringCall, 1), .file(.setVringCall, 1, polled: true)])
        #expect(talk.controller.take() == ["call 1 fd", "call 1 none"])
    }

    @Test("takes every setter twice")
    func repeatedSetters() throws {
        var talk = Conversation()
        let messages: [FrontEndMessage] = [
            .word(.setProtocolFeatures, ProtocolFeature.offered), .plain(.setOwner),
            .word(.setFeatures, Feature.modern | Feature.protocolFeatures), .memory,
            .state(.setVringNum, 0, 256), .state(.setVringBase, 0, 5), .addresses(0),
            .file(.setVringCall, 0), .file(.setVringErr, 0), .file(.setVringKick, 0),
            .state(.setVringEnable, 0, 1), .word(.setStatus, 15),
        ]
        for message in messages { try talk.tell([message, message, message]) }
        #expect(talk.controller.running == [0])
        #expect(talk.controller.setups[0]?.size == 256)
        #expect(talk.controller.enabled == [0: true])
        // What was replaced is closed: memory, a kick, a call and an error descriptor are left.
        #expect(talk.openFiles == 4)
    }

    @Test("resets rings on RESET_DEVICE and goes on")
    func resetDevice() throws {
        var talk = Conversation()
        try talk.negotiate()
        try talk.tell([.memory])
        try talk.start(0)
        try talk.tell([.state(.setVringEnable, 0, 1), .state(.setVringEnable, 1, 1)])
        _ = talk.controller.take()
        try talk.tell([.plain(.resetDevice)])
        #expect(talk.controller.take() == ["stop 0", "disable 0", "disable 1"])
        #expect(try talk.ask(.state(.getVringBase, 0, 0)) == 0)
        try talk.start(0, base: 12)
        #expect(talk.controller.take() == ["start 0 size 256 base 12"])
    }

    @Test("passes on the guest's address and MTU")
    func announces() throws {
        var talk = Conversation()
        try talk.negotiate()
        try talk.tell([.word(.sendRARP, 0xffff_5634_1200_5452), .word(.netSetMTU, 1400)])
        #expect(talk.controller.events == ["announce 563412005452", "mtu 1400"])
    }
}
