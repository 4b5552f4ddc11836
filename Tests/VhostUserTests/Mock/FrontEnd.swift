// A front-end: what it sends, and the conversation that comes of it.

import Netmap
import Testing

@testable import VhostUser

/// A message of a front-end.
struct FrontEndMessage {
    var request: UInt32
    var flags: UInt32 = 1
    var payload: [UInt8] = []
    var files = 0

    init(request: UInt32, flags: UInt32 = 1, payload: [UInt8] = [], files: Int = 0) {
        self.request = request
        self.flags = flags
        self.payload = payload
        self.files = files
    }

    /// A payload of words and of bytes behind them.
    init(request: UInt32, words: [UInt32], more: [UInt8]) {
        self.init(request: request)
        for word in words { payload.append(little: word) }
        payload += more
    }

    static func plain(_ request: Request) -> FrontEndMessage {
        FrontEndMessage(request: request.rawValue)
    }

    static func word(_ request: Request, _ value: UInt64) -> FrontEndMessage {
        var payload: [UInt8] = []
        payload.append(little: value)
        return FrontEndMessage(request: request.rawValue, payload: payload)
    }

    static func state(_ request: Request, _ index: UInt32, _ num: UInt32) -> FrontEndMessage {
        word(request, UInt64(index) | UInt64(num) << 32)
    }

    /// KICK, CALL or ERR; without a descriptor if `polled`.
    static func file(_ request: Request, _ index: UInt64, polled: Bool = false) -> FrontEndMessage {
        var message = word(request, index | (polled ? 0x100 : 0))
        message.files = polled ? 0 : 1
        return message
    }

    static func addresses(
        _ index: UInt32,
        flags: UInt32 = 0,
        descriptors: UInt64,
        used: UInt64,
        available: UInt64
    ) -> FrontEndMessage {
        var payload: [UInt8] = []
        payload.append(little: index)
        payload.append(little: flags)
        for word in [descriptors, used, available, 0] { payload.append(little: word) }
        return FrontEndMessage(request: Request.setVringAddr.rawValue, payload: payload)
    }

    /// A usual set of addresses for ring `index`.
    static func addresses(_ index: UInt32) -> FrontEndMessage {
        let base = 0x7f00_0000_0000 + UInt64(index) * 0x1_0000
        return addresses(
            index,
            descriptors: base,
            used: base + 0x2000,
            available: base + 0x1000
        )
    }

    static func table(_ regions: [MemoryRegion], files: Int? = nil) -> FrontEndMessage {
        var payload: [UInt8] = []
        payload.append(little: UInt32(regions.count))
        payload.append(little: UInt32(0))
        for region in regions {
            for word in [
                region.guestAddress, region.size, region.userAddress, region.fileOffset,
            ] { payload.append(little: word) }
        }
        return FrontEndMessage(
            request: Request.setMemoryTable.rawValue,
            payload: payload,
            files: files ?? regions.count
        )
    }

    static let memory = table([region])

    static let region = MemoryRegion(
        guestAddress: 0,
        size: 1 << 20,
        userAddress: 0x7f00_0000_0000,
        fileOffset: 0
    )

    /// ADD_MEM_REG with its file, or REM_MEM_REG.
    static func slot(_ request: Request, _ region: MemoryRegion) -> FrontEndMessage {
        var payload: [UInt8] = []
        for word in [
            0, region.guestAddress, region.size, region.userAddress, region.fileOffset,
        ] { payload.append(little: word) }
        let files = request == .addMemoryRegion ? 1 : 0
        return FrontEndMessage(request: request.rawValue, payload: payload, files: files)
    }

    /// SET_INFLIGHT_FD for rings of 256 entries.
    static func inflight(rings: UInt8, size: UInt32) -> FrontEndMessage {
        var message = FrontEndMessage(
            request: Request.setInflightFD.rawValue,
            words: [size, 0, 0, 0],
            more: [rings, 0, 0, 1]
        )
        message.files = 1
        return message
    }

    static func log(size: UInt64, offset: UInt64) -> FrontEndMessage {
        var payload: [UInt8] = []
        payload.append(little: size)
        payload.append(little: offset)
        return FrontEndMessage(request: Request.setLogBase.rawValue, payload: payload, files: 1)
    }

    /// The same message, asking for a reply.
    var acknowledged: FrontEndMessage {
        var message = self
        message.flags |= 8
        return message
    }
}

/// A session, its controller, and the front-end's end of both.
struct Conversation {
    var session = Session()
    var controller = RecordingController()
    /// The far ends of all pipes whose near ends went out as descriptors.
    var farEnds: [OwnedDescriptor] = []
    /// What came with the last reply.
    var replyFile: OwnedDescriptor?

    /// A front-end that has negotiated and shared its memory.
    static func ready() throws -> Conversation {
        var talk = Conversation()
        try talk.negotiate()
        try talk.tell([.memory])
        return talk
    }

    /// Sends a message with `files`, or with as many pipes as it says.
    ///
    /// - Returns: the reply's payload, or nil if there was none; its header was checked, and its
    ///   descriptor is in `replyFile`.
    @discardableResult
    mutating func send(_ message: FrontEndMessage, _ files: [OwnedDescriptor] = []) throws
        -> [UInt8]?
    {
        var files = files
        for _ in 0..<message.files where files.count < message.files {
            let (far, near) = try Pipe.make()
            farEnds.append(far)
            files.append(OwnedDescriptor(near))
        }
        let header = MessageHeader(
            request: message.request,
            flags: message.flags,
            size: UInt32(message.payload.count)
        )
        let reply = try session.handle(header, message.payload, files, &controller)
        #expect(controller.violations.isEmpty)
        replyFile = reply?.file
        guard let reply = reply?.bytes else { return nil }
        var expected: [UInt8] = []
        expected.append(little: message.request)
        expected.append(little: UInt32(5))
        expected.append(little: UInt32(reply.count - 12))
        #expect(Array(reply[..<12]) == expected, "the same request, flags 5, the payload's size")
        return Array(reply[12...])
    }

    /// Sends a message whose reply is a number.
    mutating func ask(_ message: FrontEndMessage) throws -> UInt64? {
        guard let payload = try send(message), payload.count == 8 else { return nil }
        return payload.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Sends messages that have no replies.
    mutating func tell(
        _ messages: [FrontEndMessage],
        _ sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        for message in messages {
            let reply = try send(message)
            #expect(reply == nil, "request \(message.request)", sourceLocation: sourceLocation)
        }
    }

    /// Sends a message that must end the connection.
    ///
    /// - Returns: the sentence.
    mutating func refusal(
        of message: FrontEndMessage,
        _ sourceLocation: SourceLocation = #_sourceLocation
    ) -> String {
        do {
            try send(message)
            Issue.record("accepted request \(message.request)", sourceLocation: sourceLocation)
            return ""
        } catch let error as SessionError {
            #expect(!error.isRefusal, sourceLocation: sourceLocation)
            return error.description
        } catch {
            return "\(error)"
        }
    }

    /// What every front-end does before its rings: features with bit 30, protocol features.
    mutating func negotiate(
        features: UInt64 = Feature.modern | Feature.protocolFeatures,
        protocolFeatures: UInt64 = ProtocolFeature.offered
    ) throws {
        try tell([
            .word(.setProtocolFeatures, protocolFeatures), .plain(.setOwner),
            .word(.setFeatures, features),
        ])
    }

    /// Brings a ring up to its KICK.
    mutating func start(_ index: UInt32, size: UInt32 = 256, base: UInt32 = 0) throws {
        try tell([
            .state(.setVringNum, index, size), .state(.setVringBase, index, base),
            .addresses(index), .file(.setVringKick, UInt64(index)),
        ])
    }

    /// Which of the descriptors that were sent are still open here.
    var openFiles: Int { farEnds.count { !Pipe.isHungUp($0.number) } }
}
