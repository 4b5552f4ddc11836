// One front-end's conversation with one port: a state machine without I/O. Messages and descriptors
// come in, replies go out, and what has to happen to memory and rings is asked of a `RingController`.

public import Netmap

/// The state of one connection.
///
/// Every setter is idempotent, and any order of messages is legal in which each makes sense by
/// itself: front-ends differ (vhost-user-spec 2.4, 2.6).
public struct Session {
    /// Ring pairs that a front-end may use.
    public static let maximumQueuePairs = 64

    /// Features acknowledged in SET_FEATURES.
    public internal(set) var features: UInt64 = 0
    /// Protocol features acknowledged.
    public internal(set) var protocolFeatures: UInt64 = 0
    /// How many requests were handled.
    public private(set) var messageCount = 0
    var isOwned = false
    /// What was answered when protocol features were first asked for.
    var protocolOffer: UInt64?
    var status: UInt64 = 0
    var hasMemory = false
    var regions: [MemoryRegion] = []
    var memoryFiles: [OwnedDescriptor] = []
    var iotlb = IOTLB()
    /// Pages that the front-end was asked for and has not translated yet.
    var asked: Set<UInt64> = []
    var rings: [RingState] = []

    /// Begins a conversation.
    public init() {}

    /// Handles one message.
    ///
    /// - Returns: what to send back, if anything.
    /// - Throws: when the connection must be closed; the error says why.
    public mutating func handle(
        _ header: MessageHeader,
        _ payload: [UInt8],
        _ files: [OwnedDescriptor],
        _ controller: inout some RingController
    ) throws(SessionError) -> Reply? {
        guard let request = Request(rawValue: header.request) else {
            throw SessionError("request \(header.request), which a network back-end does not have")
        }
        messageCount += 1
        do throws(SessionError) {
            if let answer = try perform(request, Payload(payload), files, &controller) {
                return Reply(request, answer)
            }
            // Looked up afterwards: the message that negotiates replies is the first that may ask for one.
            let isAsked = header.needsReply && has(ProtocolFeature.replyAck)
            return isAsked ? Reply(request, .word(0)) : nil
        } catch {
            guard error.isRefusal, header.needsReply, has(ProtocolFeature.replyAck) else {
                throw SessionError("\(request.name): \(error.description)")
            }
            return Reply(request, .word(1))
        }
    }

    /// Stops whatever still runs: the front-end is gone, and nobody asks for indices any more.
    public mutating func close(_ controller: inout some RingController) {
        _ = stopAll(&controller)
        rings = []
    }

    /// Whether a protocol feature was negotiated.
    public func has(_ feature: UInt64) -> Bool { protocolFeatures & feature != 0 }

    private mutating func perform(
        _ request: Request,
        _ message: Payload,
        _ files: [OwnedDescriptor],
        _ controller: inout some RingController
    ) throws(SessionError) -> Answer? {
        var payload = message
        switch request {
        case .getFeatures: return .word(Feature.offered)
        case .setFeatures: try setFeatures(payload.word(), &controller)
        case .getProtocolFeatures:
            // QEMU asks once for each queue pair, the first time before it owns.
            let offer = protocolOffer ?? ProtocolFeature.offered(isOwned: isOwned)
            protocolOffer = offer
            return .word(offer)
        case .setProtocolFeatures: try setProtocolFeatures(payload.word())
        case .getQueueNum: return .word(UInt64(Session.maximumQueuePairs))
        case .setOwner: isOwned = true
        case .resetOwner: break  // deprecated; dropping anything for it would surprise
        case .setStatus:
            // Zero comes before GET_VRING_BASE in QEMU 7.2, so it must not forget the indices.
            status = try payload.word()
        case .getStatus: return .word(status)
        case .resetDevice: resetDevice(&controller)

        case .setMemoryTable: try setMemoryTable(&payload, files, &controller)
        case .getMaximumMemorySlots: return .word(UInt64(GuestMemory.maximumRegions))
        case .addMemoryRegion: try addRegion(&payload, files, &controller)
        case .removeMemoryRegion: try removeRegion(&payload, &controller)
        case .iotlb: try changeTranslation(&payload, &controller)
        case .setLogBase:
            try setLogBase(&payload, files, &controller)
            return Answer(payload: [])
        case .setLogFD: break  // says when the log grew; who reads the log need not be told

        case .setVringNum: try setVringNum(&payload, &controller)
        case .setVringAddr: try setVringAddr(&payload, &controller)
        case .setVringBase:
            let (index, number) = try payload.state()
            try change(index, &controller) { $0.base = number }
        case .getVringBase: return try getVringBase(&payload, &controller)
        case .setVringKick:
            let (index, file) = try payload.ringFile(files)
            try change(index, &controller) {
                $0.kick = file
                $0.isKicked = true
            }
        case .vringKick: try kick(&payload, &controller)
        case .setVringCall:
            let (index, file) = try payload.ringFile(files)
            try controller.setCall(ring: index, file)
        case .setVringErr:
            let (index, file) = try payload.ringFile(files)
            controller.setError(ring: index, file)
        case .setVringEnable: try setVringEnable(&payload, &controller)

        case .getInflightFD: return try getInflight(&payload, &controller)
        case .setInflightFD: try setInflight(&payload, files, &controller)
        case .getConfig: return try getConfiguration(&payload, controller)
        case .setConfig:
            throw SessionError("the configuration is the device's to write", isRefusal: true)
        case .setBackendRequestFD:
            try files.expect(1)
            try controller.setBackendChannel(files[0])
        case .sendRARP: controller.announce(try payload.word() & 0xffff_ffff_ffff)
        case .netSetMTU: try controller.setMTU(payload.word())
        }
        return nil
    }

    private mutating func setFeatures(
        _ bits: UInt64,
        _ controller: inout some RingController
    ) throws(SessionError) {
        guard bits & ~Feature.offered == 0 else {
            throw SessionError("features that were not offered: \(hex(bits & ~Feature.offered))")
        }
        let changed = bits != features
        features = bits
        if bits & Feature.protocolFeatures == 0 {
            // Without protocol features there is no SET_VRING_ENABLE: all rings are enabled.
            for index in rings.indices where !rings[index].isEnabled {
                rings[index].isEnabled = true
                controller.enable(ring: index, true)
            }
        }
        guard changed else { return }
        for index in rings.indices where rings[index].isRunning {
            try change(index, &controller) { _ in }
        }
    }

    private mutating func setProtocolFeatures(_ bits: UInt64) throws(SessionError) {
        let foreign = bits & ~ProtocolFeature.offered(isOwned: true)
        guard foreign == 0 else {
            throw SessionError("protocol features that were not offered: \(hex(foreign))")
        }
        let needed = ProtocolFeature.backendRequests | ProtocolFeature.replyAck
        guard bits & ProtocolFeature.inBandNotifications == 0 || bits & needed == needed else {
            throw SessionError("in-band notifications without back-end requests and reply-ack")
        }
        protocolFeatures = bits
    }

    private func hex(_ bits: UInt64) -> String { "0x" + String(bits, radix: 16) }
}
