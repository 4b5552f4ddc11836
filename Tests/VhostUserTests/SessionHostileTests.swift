// What a front-end must not send: the connection ends with a sentence, nothing leaks, nothing traps.

import Glibc
import Netmap
import TestSupport
import Testing

@testable import VhostUser

@Suite("A hostile front-end")
struct SessionHostileTests {
    func ready() throws -> Conversation {
        var talk = Conversation()
        try talk.negotiate()
        try talk.tell([.memory])
        return talk
    }

    @Test("that sends an unknown request is disconnected")
    func unknownRequests() throws {
        for request: UInt32 in [0, 23, 26, 33, 41, 46, 1000, .max] {
            var talk = try ready()
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
                var talk = try ready()
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
            var talk = try ready()
            let message = FrontEndMessage(
                request: Request.setVringAddr.rawValue,
                payload: [UInt8](repeating: 0, count: size)
            )
            #expect(talk.refusal(of: message).contains("expected 40"))
        }
        for size in [0, 4, 7, 8, 39, 41, 72, 4096] {
            var talk = try ready()
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
            var talk = try ready()
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
                var talk = try ready()
                var message = FrontEndMessage.word(request, bits)
                message.files = files
                #expect(talk.refusal(of: message).contains("\(files) descriptors, expected"))
                #expect(talk.openFiles == 1, "memory")
            }
        }
        for files in [0, 2, 8] {
            var talk = try ready()
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
        var talk = try ready()
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

    @Test("that names a ring which does not exist is disconnected")
    func ringIndices() throws {
        for index: UInt32 in [128, 129, 255, 256, 65_536, 1 << 31, .max] {
            let messages: [FrontEndMessage] = [
                .state(.setVringNum, index, 64), .state(.setVringBase, index, 0),
                .state(.getVringBase, index, 0), .state(.setVringEnable, index, 1),
                .addresses(index, descriptors: 0, used: 0, available: 0),
            ]
            for message in messages {
                var talk = try ready()
                #expect(talk.refusal(of: message).contains("ring \(index)"))
            }
        }
        for index: UInt64 in [128, 200, 255] {
            for request: Request in [.setVringKick, .setVringCall, .setVringErr] {
                var talk = try ready()
                #expect(talk.refusal(of: .file(request, index)).contains("ring \(index)"))
                #expect(talk.openFiles == 1)
            }
        }
        var talk = try ready()
        for index: UInt32 in [127, 0, 64] {
            try talk.start(index)
        }
        #expect(talk.controller.running == [0, 64, 127])
    }

    @Test("that gives a ring an impossible size is disconnected")
    func ringSizes() throws {
        for size: UInt32 in [0, 32_769, 65_536, 1 << 31, .max] {
            var talk = try ready()
            #expect(talk.refusal(of: .state(.setVringNum, 0, size)).contains("\(size) entries"))
        }
        // Whether a ring is split or packed is known when it starts.
        for size: UInt32 in [3, 5, 255, 257, 32_767] {
            var talk = try ready()
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
            var talk = try ready()
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
            var talk = try ready()
            let message = FrontEndMessage.addresses(
                0,
                descriptors: descriptors,
                used: used,
                available: available
            )
            #expect(talk.refusal(of: message).contains("not aligned"))
        }
    }

    @Test("that sends a malformed dirty log or memory slot is disconnected")
    func logsAndSlots() throws {
        for size in [0, 8, 15, 17, 4096] {
            var talk = try ready()
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
                var talk = try ready()
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
            var talk = try ready()
            let add = FrontEndMessage(
                request: Request.addMemoryRegion.rawValue,
                payload: [UInt8](repeating: 1, count: 40),
                files: files
            )
            #expect(talk.refusal(of: add).contains("\(files) descriptors, expected 1"))
            #expect(talk.openFiles == 1)
        }
    }

    @Test("that enables a ring with other than 0 or 1 is disconnected")
    func enableValues() throws {
        for value: UInt32 in [2, 256, .max] {
            var talk = try ready()
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
        talk = try ready()
        try talk.tell([.state(.setVringNum, 0, 256)])
        #expect(talk.refusal(of: .file(.setVringKick, 0)).contains("before its memory"))
        talk = try ready()
        try talk.tell([.addresses(0)])
        #expect(talk.refusal(of: .file(.setVringKick, 0)).contains("before its memory"))
        #expect(talk.controller.running.isEmpty)
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
        var talk = try ready()
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

    @Test("that sends anything at all does not trap, leak or break a rule", arguments: 0..<10)
    func fuzz(seed: Int) throws {
        var random = Seeded(seed)
        var talk = Conversation()
        var handled = 0
        for _ in 0..<10_000 {
            let request = UInt32(random.chance(97) ? random.within(1...21) : random.below(50))
            var message = FrontEndMessage(request: request)
            let index = UInt32(random.chance(97) ? random.below(6) : random.below(1 << 20))
            let num = UInt32(random.chance(80) ? 1 << random.below(17) : random.below(1 << 31))
            switch Request(rawValue: request) {
            case .setMemoryTable:
                let count = random.within(0...8)
                message = .table(
                    (0..<count).map { _ in
                        MemoryRegion(
                            guestAddress: random.next() >> UInt64(random.below(64)),
                            size: random.next() >> UInt64(random.below(64)),
                            userAddress: random.next() >> UInt64(random.below(64)),
                            fileOffset: random.next() >> UInt64(random.below(64))
                        )
                    }
                )
                if random.chance(70) { message = .memory }
            case .setVringAddr:
                let mask: UInt64 = random.chance(90) ? ~15 : .max
                message = .addresses(
                    index,
                    flags: random.chance(97) ? 0 : 1,
                    descriptors: random.next() & mask,
                    used: random.next() & mask,
                    available: random.next() & mask
                )
            case .setVringKick, .setVringCall, .setVringErr:
                let polled = random.chance(30)
                message = .word(
                    Request(rawValue: request) ?? .setVringKick,
                    UInt64(index) | (polled ? 0x100 : 0)
                )
                message.files = polled ? 0 : 1
            case .setFeatures:
                let bits = random.chance(90) ? random.next() & Feature.offered : random.next()
                message = .word(.setFeatures, bits)
            case .setProtocolFeatures:
                let offered = ProtocolFeature.offered
                message = .word(
                    .setProtocolFeatures,
                    random.chance(90) ? random.next() & offered : random.next()
                )
            case .setVringEnable:
                message = .state(
                    .setVringEnable,
                    index,
                    UInt32(random.below(random.chance(95) ? 2 : 9))
                )
            case .some(let known) where random.chance(95):
                message = .state(known, index, num)
            default:
                message.payload = random.bytes(random.below(60))
            }
            if random.chance(40) { message.flags |= 8 }
            if random.chance(2) { message.payload = random.bytes(random.below(60)) }
            if random.chance(2) { message.files = random.below(5) }
            do {
                try talk.send(message)
                handled += 1
            } catch {
                // The engine closes the connection; the front-end comes back.
                if random.chance(20) {
                    talk.session.close(&talk.controller)
                    #expect(talk.controller.running.isEmpty, "seed \(seed)")
                    talk = Conversation()
                }
            }
            // Keep what the test itself holds open small.
            if talk.farEnds.count > 400 {
                talk.farEnds.removeAll { Pipe.isHungUp($0.number, patience: 0) }
            }
            #expect(talk.controller.violations.isEmpty, "seed \(seed)")
        }
        #expect(handled > 3000, "seed \(seed)")
        talk.session.close(&talk.controller)
        let farEnds = talk.farEnds
        talk = Conversation()
        #expect(farEnds.allSatisfy { Pipe.isHungUp($0.number) }, "seed \(seed)")
    }

    @Test("leaves no descriptor behind in the process")
    func descriptorsOfTheProcess() async {
        await #expect(processExitsWith: .success) {
            func count() -> Int {
                guard let directory = unsafe opendir("/proc/self/fd") else { return -1 }
                defer { unsafe closedir(directory) }
                var n = 0
                while unsafe readdir(directory) != nil { n += 1 }
                return n
            }
            let before = count()
            for seed in 0..<50 {
                var random = Seeded(seed)
                var talk = Conversation()
                try talk.negotiate()
                try talk.tell([.memory, .memory])
                for ring: UInt32 in 0..<8 {
                    try talk.start(ring)
                    try talk.tell([
                        .file(.setVringCall, UInt64(ring)), .file(.setVringErr, UInt64(ring)),
                        .file(.setVringCall, UInt64(ring)), .file(.setVringKick, UInt64(ring)),
                    ])
                    if random.chance(50) { _ = try talk.send(.state(.getVringBase, ring, 0)) }
                }
                var message = FrontEndMessage.word(.setVringKick, 0)
                message.files = random.below(9)
                _ = try? talk.send(message)
                if random.chance(50) { talk.session.close(&talk.controller) }
            }
            // A leak would show by the hundred; the runtime opens one or two of its own.
            precondition(count() <= before + 4)
            exit(0)
        }
    }
}
