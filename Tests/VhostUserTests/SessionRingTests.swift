// What a front-end must not say about its rings: the connection ends with a sentence.

import Netmap
import Testing

@testable import VhostUser

@Suite("A hostile front-end's rings")
struct SessionRingTests {
    @Test("that names a ring which does not exist is disconnected")
    func ringIndices() throws {
        for index: UInt32 in [128, 129, 255, 256, 65_536, 1 << 31, .max] {
            let messages: [FrontEndMessage] = [
                .state(.setVringNum, index, 64), .state(.setVringBase, index, 0),
                .state(.getVringBase, index, 0), .state(.setVringEnable, index, 1),
                .addresses(index, descriptors: 0, used: 0, available: 0),
            ]
            for message in messages {
                var talk = try Conversation.ready()
                #expect(talk.refusal(of: message).contains("ring \(index)"))
            }
        }
        for index: UInt64 in [128, 200, 255] {
            for request: Request in [.setVringKick, .setVringCall, .setVringErr] {
                var talk = try Conversation.ready()
                #expect(talk.refusal(of: .file(request, index)).contains("ring \(index)"))
                #expect(talk.openFiles == 1)
            }
        }
        var talk = try Conversation.ready()
        for index: UInt32 in [127, 0, 64] {
            try talk.start(index)
        }
        #expect(talk.controller.running == [0, 64, 127])
    }

    @Test("that gives a ring an impossible size is disconnected")
    func ringSizes() throws {
        for size: UInt32 in [0, 32_769, 65_536, 1 << 31, .max] {
            var talk = try Conversation.ready()
            #expect(talk.refusal(of: .state(.setVringNum, 0, size)).contains("\(size) entries"))
        }
        // Whether a ring is split or packed is known when it starts.
        for size: UInt32 in [3, 5, 255, 257, 32_767] {
            var talk = try Conversation.ready()
            try talk.tell([.state(.setVringNum, 0, size), .addresses(0)])
            let text = talk.refusal(of: .file(.setVringKick, 0))
            #expect(text.contains("a split ring of \(size) entries"))
            #expect(talk.controller.running.isEmpty)
            talk = Conversation()
            try talk.negotiate(features: Feature.modern | Feature.packedRing)
            try talk.tell([.memory])
            try talk.start(0, size: size)
            #expect(talk.controller.setups[0]?.size == UInt16(size))
        }
        for exponent in 0...UInt32(15) {
            var talk = try Conversation.ready()
            try talk.start(0, size: 1 << exponent)
            #expect(talk.controller.setups[0]?.size == UInt16(1) << UInt16(exponent))
        }
    }

    @Test("that misaligns a ring is disconnected")
    func alignment() throws {
        let bad: [(UInt64, UInt64, UInt64)] = [
            (1, 0, 0), (8, 0, 0), (15, 0, 0), (0, 1, 0), (0, 2, 0), (0, 3, 0), (0, 0, 1),
            (.max, 0, 0), (0, .max, 0), (0, 0, .max),
        ]
        for (descriptors, used, available) in bad {
            var talk = try Conversation.ready()
            let message = FrontEndMessage.addresses(
                0,
                descriptors: descriptors,
                used: used,
                available: available
            )
            #expect(talk.refusal(of: message).contains("not aligned"))
        }
    }

    @Test("that enables a ring with other than 0 or 1 is disconnected")
    func enableValues() throws {
        for value: UInt32 in [2, 256, .max] {
            var talk = try Conversation.ready()
            #expect(talk.refusal(of: .state(.setVringEnable, 0, value)).contains("enabled by 1"))
        }
    }

    @Test("that starts a ring too early is disconnected")
    func earlyKick() throws {
        var talk = Conversation()
        try talk.negotiate()
        #expect(talk.refusal(of: .file(.setVringKick, 0)).contains("before its memory"))
        talk = Conversation()
        try talk.negotiate()
        try talk.tell([.state(.setVringNum, 0, 256), .addresses(0)])
        #expect(talk.refusal(of: .file(.setVringKick, 0)).contains("before its memory"))
        talk = try Conversation.ready()
        try talk.tell([.state(.setVringNum, 0, 256)])
        #expect(talk.refusal(of: .file(.setVringKick, 0)).contains("before its memory"))
        talk = try Conversation.ready()
        try talk.tell([.addresses(0)])
        #expect(talk.refusal(of: .file(.setVringKick, 0)).contains("before its memory"))
        #expect(talk.controller.running.isEmpty)
    }

    @Test("that describes an inflight file for impossible rings is disconnected")
    func inflightRings() throws {
        func message(_ request: Request, rings: UInt16) -> FrontEndMessage {
            var message = FrontEndMessage.inflight(rings: 0, size: 1 << 20)
            message.request = request.rawValue
            message.payload[16] = UInt8(rings & 255)
            message.payload[17] = UInt8(rings >> 8)
            message.files = request == .setInflightFD ? 1 : 0
            return message
        }
        for rings: UInt16 in [0, 129, 256, 0x8000, 0xffff] {
            for request: Request in [.getInflightFD, .setInflightFD] {
                var talk = try Conversation.ready()
                let text = talk.refusal(of: message(request, rings: rings))
                #expect(text.contains("an inflight file for \(rings) rings"))
                #expect(talk.openFiles == 1)
            }
        }
        var talk = try Conversation.ready()
        try talk.tell([message(.setInflightFD, rings: 128)])
        #expect(try talk.send(message(.getInflightFD, rings: 128))?.count == 20)
        // The file that was made is long enough for what it was made for, and no longer.
        let file = try #require(talk.replyFile)
        let length = UInt64(InflightRegion.length(rings: 128))
        for (rings, size, offset) in [
            (128, length - 1, 0), (129, length, 0), (128, length, 8), (128, .max, 1),
            (128, length, UInt64.max), (1, 1 << 41, 0), (1, length / 2, 4),
        ] as [(Int, UInt64, UInt64)] {
            #expect(throws: GuestMemoryError.self, "\(rings) rings, \(size) at \(offset)") {
                try InflightRegion(file, rings: rings, size: size, offset: offset)
            }
        }
        let region = try InflightRegion(file, rings: 128, size: length, offset: 0)
        #expect(region.record(127) != nil)
        #expect(region.record(128) == nil)
    }
}
