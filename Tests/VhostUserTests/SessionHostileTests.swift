// What a front-end must not send: the connection ends with a sentence, nothing leaks, nothing traps.

import Glibc
import Netmap
import TestSupport
import Testing

@testable import VhostUser

@Suite("A hostile front-end")
struct SessionHostileTests {
    @Test("that sends an unknown request is disconnected")
    func unknownRequests() throws {
        for request: UInt32 in [0, 23, 26, 33, 41, 46, 1000, .max] {
            var talk = try Conversation.ready()
            let text = talk.refusal(of: FrontEndMessage(request: request, flags: 9))
            #expect(text.contains("request \(request)"))
        }
    }

    @Test("that sends payloads of the wrong size is disconnected")
    func payloadSizes() throws {
        let eights: [Request] = [
            .setFeatures, .setVringNum, .setVringBase, .getVringBase, .setVringKick,
            .setVringCall, .setVringErr, .setProtocolFeatures, .setVringEnable, .sendRARP,
            .netSetMTU, .setStatus,
        ]
        for request in eights {
            for size in [0, 1, 4, 7, 9, 12, 16, 4096] {
                var talk = try Conversation.ready()
                let message = FrontEndMessage(
                    request: request.rawValue,
                    payload: [UInt8](repeating: 0, count: size),
                    files: 1
                )
                let text = talk.refusal(of: message)
                #expect(text.hasPrefix(request.name), "\(text)")
                #expect(text.contains("\(size) bytes of payload, expected 8"), "\(text)")
            }
        }
        for size in [0, 8, 39, 41, 4096] {
            var talk = try Conversation.ready()
            let message = FrontEndMessage(
                request: Request.setVringAddr.rawValue,
                payload: [UInt8](repeating: 0, count: size)
            )
            #expect(talk.refusal(of: message).contains("expected 40"))
        }
        for size in [0, 4, 7, 8, 39, 41, 72, 4096] {
            var talk = try Conversation.ready()
            var payload = [UInt8](repeating: 0, count: size)
            if size > 0 { payload[0] = 1 }
            let message = FrontEndMessage(
                request: Request.setMemoryTable.rawValue,
                payload: payload,
                files: 1
            )
            #expect(talk.refusal(of: message).contains("memory table"))
        }
        for count: UInt8 in [9, 32, 255] {
            var talk = try Conversation.ready()
            var payload = [UInt8](repeating: 0, count: 8 + 32 * Int(count) % 4080)
            payload[0] = count
            payload[3] = count == 255 ? 255 : 0
            let message = FrontEndMessage(
                request: Request.setMemoryTable.rawValue,
                payload: payload
            )
            #expect(talk.refusal(of: message).contains("memory table"))
        }
    }

    @Test("that sends the wrong number of descriptors is disconnected, and they are closed")
    func descriptorCounts() throws {
        for request: Request in [.setVringKick, .setVringCall, .setVringErr] {
            for (bits, files) in [(UInt64(0), 0), (0, 2), (0, 8), (0x100, 1), (0x100, 3)] {
                var talk = try Conversation.ready()
                var message = FrontEndMessage.word(request, bits)
                message.files = files
                #expect(talk.refusal(of: message).contains("\(files) descriptors, expected"))
                #expect(talk.openFiles == 1, "memory")
            }
        }
        for files in [0, 2, 8] {
            var talk = try Conversation.ready()
            var message = FrontEndMessage.plain(.setBackendRequestFD)
            message.files = files
            #expect(talk.refusal(of: message).contains("\(files) descriptors, expected 1"))
            #expect(talk.openFiles == 1, "memory")
        }
    }

    @Test("that sends memory with other than a file for each region is disconnected")
    func memoryFiles() throws {
        let region = MemoryRegion(
            guestAddress: 0,
            size: 4096,
            userAddress: 0x1000,
            fileOffset: 0
        )
        for files in [0, 2, 8] {
            var talk = Conversation()
            talk.controller.mapsMemory = true
            try talk.negotiate()
            #expect(talk.refusal(of: .table([region], files: files)).contains("memory region"))
            #expect(talk.openFiles == 0)
            #expect(talk.controller.memory == nil)
        }
        var talk = Conversation()
        talk.controller.mapsMemory = true
        // Pipes are no memory; they are closed, too.
        #expect(talk.refusal(of: .table([region])).contains("SET_MEM_TABLE"))
        #expect(talk.openFiles == 0)
    }

    @Test("that attaches descriptors to other messages does not leak them")
    func unsolicited() throws {
        var talk = try Conversation.ready()
        for message: FrontEndMessage in [
            .plain(.getFeatures), .plain(.setOwner), .plain(.getStatus), .word(.setStatus, 1),
            .word(.setFeatures, Feature.modern | Feature.protocolFeatures),
            .state(.setVringNum, 0, 64), .state(.setVringBase, 0, 0), .addresses(0),
            .state(.getVringBase, 0, 0), .state(.setVringEnable, 0, 1), .plain(.resetDevice),
            .word(.netSetMTU, 1500), .word(.sendRARP, 1), .plain(.getQueueNum),
        ] {
            var message = message
            message.files = 8
            _ = try? talk.send(message)
            #expect(talk.openFiles == 1, "request \(message.request)")
        }
    }

    @Test("that acknowledges features which were not offered is disconnected")
    func features() throws {
        for bit in 0..<UInt64(64) {
            let mask = UInt64(1) << bit
            var talk = Conversation()
            if Feature.offered & mask == 0 {
                #expect(talk.refusal(of: .word(.setFeatures, mask)).contains("not offered"))
            } else {
                try talk.tell([.word(.setFeatures, mask)])
            }
            if mask == ProtocolFeature.inBandNotifications {
                let text = talk.refusal(of: .word(.setProtocolFeatures, mask))
                #expect(text.contains("without back-end requests"))
            } else if ProtocolFeature.offered(isOwned: true) & mask == 0 {
                let text = talk.refusal(of: .word(.setProtocolFeatures, mask))
                #expect(text.contains("not offered"))
            } else {
                try talk.tell([.word(.setProtocolFeatures, mask)])
            }
        }
    }

    @Test("that sends a malformed dirty log or memory slot is disconnected")
    func logsAndSlots() throws {
        for size in [0, 8, 15, 17, 4096] {
            var talk = try Conversation.ready()
            let message = FrontEndMessage(
                request: Request.setLogBase.rawValue,
                payload: [UInt8](repeating: 0, count: size),
                files: 1
            )
            #expect(talk.refusal(of: message).contains("\(size) bytes of dirty log"))
            #expect(talk.openFiles == 1)
        }
        for request: Request in [.addMemoryRegion, .removeMemoryRegion] {
            for size in [0, 32, 39, 41, 4096] {
                var talk = try Conversation.ready()
                let message = FrontEndMessage(
                    request: request.rawValue,
                    payload: [UInt8](repeating: 0, count: size),
                    files: 1
                )
                #expect(talk.refusal(of: message).contains("\(size) bytes of memory region"))
                #expect(talk.openFiles == 1)
            }
        }
        for files in [0, 2, 8] {
            var talk = try Conversation.ready()
            let add = FrontEndMessage(
                request: Request.addMemoryRegion.rawValue,
                payload: [UInt8](repeating: 1, count: 40),
                files: files
            )
            #expect(talk.refusal(of: add).contains("\(files) descriptors, expected 1"))
            #expect(talk.openFiles == 1)
        }
    }

    @Test("gets replies exactly where it asked and may ask")
    func replies() throws {
        var talk = Conversation()
        // Without REPLY_ACK the bit means nothing.
        #expect(try talk.send(FrontEndMessage.plain(.setOwner).acknowledged) == nil)
        try talk.tell([.word(.setProtocolFeatures, ProtocolFeature.replyAck)])
        #expect(try talk.ask(FrontEndMessage.plain(.setOwner).acknowledged) == 0)
        #expect(try talk.send(.plain(.setOwner)) == nil)
        // A request with its own reply gets only that one.
        #expect(try talk.ask(FrontEndMessage.plain(.getFeatures).acknowledged) == Feature.offered)
        try talk.tell([.word(.setProtocolFeatures, 0)])
        #expect(try talk.send(FrontEndMessage.plain(.setOwner).acknowledged) == nil)
        // The message that switches it on is the first that may ask.
        let on = FrontEndMessage.word(.setProtocolFeatures, ProtocolFeature.replyAck)
        #expect(try talk.ask(on.acknowledged) == 0)
    }

    @Test("is told of a refusal if it asked, and disconnected if not")
    func refusals() throws {
        var talk = try Conversation.ready()
        talk.controller.refusal = SessionError("an MTU of 9 bytes", isRefusal: true)
        #expect(try talk.ask(.word(.netSetMTU, 9).acknowledged) == 1)
        #expect(throws: SessionError.self) { try talk.send(.word(.netSetMTU, 9)) }
        talk.controller.refusal = SessionError("no such thing")
        #expect(throws: SessionError.self) { try talk.send(.word(.netSetMTU, 9).acknowledged) }
    }

    @Test("that sends a bad header is disconnected")
    func headers() throws {
        func header(_ request: UInt32, _ flags: UInt32, _ size: UInt32) -> [UInt8] {
            var bytes: [UInt8] = []
            for word in [request, flags, size] { bytes.append(little: word) }
            return bytes
        }
        for count in 0..<12 {
            #expect(throws: SessionError.self) {
                try MessageHeader(Array(header(1, 1, 0)[..<count]))
            }
        }
        for version: UInt32 in [0, 2, 3, 8, 12] {
            #expect(throws: SessionError.self) { try MessageHeader(header(1, version, 0)) }
        }
        for size: UInt32 in [4097, 65_536, .max] {
            #expect(throws: SessionError.self) { try MessageHeader(header(1, 1, size)) }
        }
        let good = try MessageHeader(header(5, 9, 4096))
        #expect(good == MessageHeader(request: 5, flags: 9, size: 4096))
        #expect(good.needsReply)
    }
}
