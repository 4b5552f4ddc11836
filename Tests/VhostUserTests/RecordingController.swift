// Writes down what a session asks for, and objects to what a session must never ask for.

import Netmap
import Testing

@testable import VhostUser

struct RecordingController: RingController {
    /// What happened, one line a call.
    var events: [String] = []
    /// Rules that were broken.
    var violations: [String] = []
    var running: Set<Int> = []
    var enabled: [Int: Bool] = [:]
    var setups: [Int: RingSetup] = [:]
    var calls: [Int: OwnedDescriptor] = [:]
    var errors: [Int: OwnedDescriptor] = [:]
    /// What `stop` answers; by default the base that the ring was started with, plus 7.
    var indices: [Int: UInt32] = [:]
    var concluded: [Int] = []
    var channel: OwnedDescriptor?
    /// What the front-end was asked for.
    var asked: [BackendRequest] = []
    /// Throw this from `map`, `start` or `setMTU`.
    var refusal: SessionError?
    /// Map for real, as the engine does.
    var mapsMemory = false
    var memory: GuestMemory?

    /// The events since the last call.
    mutating func take() -> [String] {
        defer { events = [] }
        return events
    }

    mutating func map(_ regions: [MemoryRegion], _ files: [OwnedDescriptor]) throws(SessionError) {
        events.append("map \(regions.count) \(files.count)")
        if !running.isEmpty { violations.append("mapped while \(running.sorted()) run") }
        if let refusal { throw refusal }
        guard mapsMemory else { return }
        do {
            memory = try GuestMemory(regions, files: files)
        } catch {
            throw SessionError(error.description)
        }
    }

    mutating func start(ring index: Int, _ setup: RingSetup) throws(SessionError) {
        events.append("start \(index) size \(setup.size) base \(setup.base)")
        if running.contains(index) { violations.append("started \(index) while it runs") }
        let isPacked = setup.features & Feature.packedRing != 0
        if setup.size == 0 || !isPacked && setup.size & (setup.size - 1) != 0 {
            violations.append("started \(index) with \(setup.size) entries")
        }
        let areas = [(setup.descriptors, 16), (setup.available, 2), (setup.used, 4)]
        if areas.contains(where: { $0.0.isEmpty || $0.0[0].address % UInt64($0.1) != 0 }) {
            violations.append("started \(index) unaligned")
        }
        if let refusal { throw refusal }
        running.insert(index)
        setups[index] = setup
    }

    mutating func stop(ring index: Int) -> UInt32 {
        events.append("stop \(index)")
        if running.remove(index) == nil {
            violations.append("stopped \(index), which does not run")
        }
        return indices[index] ?? (setups[index]?.base ?? 0) &+ 7
    }

    mutating func conclude(ring index: Int) { concluded.append(index) }

    mutating func setTranslations(_ iotlb: IOTLB) {
        events.append("translate \(iotlb.entries.count)")
    }

    mutating func kick(ring index: Int) { events.append("kick \(index)") }

    mutating func makeInflight(
        rings: Int
    ) throws(SessionError) -> (file: OwnedDescriptor, size: UInt64) {
        events.append("make inflight \(rings)")
        do throws(SystemError) {
            let file = try InflightRegion.make(rings: rings)
            return (file, UInt64(InflightRegion.length(rings: rings)))
        } catch {
            throw SessionError("\(error)")
        }
    }

    mutating func setInflight(
        _ file: OwnedDescriptor,
        rings: Int,
        size: UInt64,
        offset: UInt64
    ) throws(SessionError) {
        events.append("inflight \(rings) \(size) at \(offset)")
        if !running.isEmpty { violations.append("new records while \(running.sorted()) run") }
        if let refusal { throw refusal }
    }

    mutating func setBackendChannel(_ file: OwnedDescriptor) throws(SessionError) {
        events.append("channel")
        channel = file
    }

    mutating func ask(_ request: BackendRequest) { asked.append(request) }

    func configuration() -> [UInt8] { Array(0..<17) }

    mutating func setLog(
        _ file: OwnedDescriptor,
        size: UInt64,
        offset: UInt64
    ) throws(SessionError) {
        events.append("log \(size) at \(offset)")
        if !running.isEmpty { violations.append("changed the log while \(running.sorted()) run") }
        if let refusal { throw refusal }
    }

    mutating func enable(ring index: Int, _ enabled: Bool) {
        events.append("\(enabled ? "enable" : "disable") \(index)")
        self.enabled[index] = enabled
    }

    mutating func setCall(ring index: Int, _ call: OwnedDescriptor?) throws(SessionError) {
        events.append("call \(index) \(call == nil ? "none" : "fd")")
        calls[index] = call
    }

    mutating func setError(ring index: Int, _ error: OwnedDescriptor?) {
        events.append("err \(index) \(error == nil ? "none" : "fd")")
        errors[index] = error
    }

    mutating func announce(_ mac: UInt64) { events.append("announce \(String(mac, radix: 16))") }

    mutating func setMTU(_ mtu: UInt64) throws(SessionError) {
        events.append("mtu \(mtu)")
        if let refusal { throw refusal }
    }
}

/// A message of a front-end.
struct FrontEndMessage {
    var request: UInt32
    var flags: UInt32 = 1
    var payload: [UInt8] = []
    var files = 0

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

    static let memory = table([
        MemoryRegion(
            guestAddress: 0,
            size: 1 << 20,
            userAddress: 0x7f00_0000_0000,
            fileOffset: 0
        )
    ])

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

    /// Sends a message.
    ///
    /// - Returns: the reply's payload, or nil if there was none; its header was checked, and its
    ///   descriptor is in `replyFile`.
    @discardableResult
    mutating func send(_ message: FrontEndMessage) throws -> [UInt8]? {
        var files: [OwnedDescriptor] = []
        for _ in 0..<message.files {
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
