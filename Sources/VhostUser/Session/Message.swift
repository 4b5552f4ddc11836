// vhost-user messages as bytes (vhost-user-spec 2.1): a 12-byte header, a payload in host byte order,
// file descriptors beside it. Here is layout only; `Session` knows what they mean.

public import Netmap

/// What a front-end can ask of a back-end.
public enum Request: UInt32, Sendable {
    case getFeatures = 1
    case setFeatures = 2
    case setOwner = 3
    case resetOwner = 4
    case setMemoryTable = 5
    case setLogBase = 6
    case setLogFD = 7
    case setVringNum = 8
    case setVringAddr = 9
    case setVringBase = 10
    case getVringBase = 11
    case setVringKick = 12
    case setVringCall = 13
    case setVringErr = 14
    case getProtocolFeatures = 15
    case setProtocolFeatures = 16
    case getQueueNum = 17
    case setVringEnable = 18
    case sendRARP = 19
    case netSetMTU = 20
    case setBackendRequestFD = 21
    case iotlb = 22
    case getConfig = 24
    case setConfig = 25
    case getInflightFD = 31
    case setInflightFD = 32
    case resetDevice = 34
    case vringKick = 35
    case getMaximumMemorySlots = 36
    case addMemoryRegion = 37
    case removeMemoryRegion = 38
    case setStatus = 39
    case getStatus = 40

    /// The name in the specification.
    var name: String {
        switch self {
        case .getFeatures: "GET_FEATURES"
        case .setFeatures: "SET_FEATURES"
        case .setOwner: "SET_OWNER"
        case .resetOwner: "RESET_OWNER"
        case .setMemoryTable: "SET_MEM_TABLE"
        case .setLogBase: "SET_LOG_BASE"
        case .setLogFD: "SET_LOG_FD"
        case .setVringNum: "SET_VRING_NUM"
        case .setVringAddr: "SET_VRING_ADDR"
        case .setVringBase: "SET_VRING_BASE"
        case .getVringBase: "GET_VRING_BASE"
        case .setVringKick: "SET_VRING_KICK"
        case .setVringCall: "SET_VRING_CALL"
        case .setVringErr: "SET_VRING_ERR"
        case .getProtocolFeatures: "GET_PROTOCOL_FEATURES"
        case .setProtocolFeatures: "SET_PROTOCOL_FEATURES"
        case .getQueueNum: "GET_QUEUE_NUM"
        case .setVringEnable: "SET_VRING_ENABLE"
        case .sendRARP: "SEND_RARP"
        case .netSetMTU: "NET_SET_MTU"
        case .setBackendRequestFD: "SET_BACKEND_REQ_FD"
        case .iotlb: "IOTLB_MSG"
        case .getConfig: "GET_CONFIG"
        case .setConfig: "SET_CONFIG"
        case .getInflightFD: "GET_INFLIGHT_FD"
        case .setInflightFD: "SET_INFLIGHT_FD"
        case .resetDevice: "RESET_DEVICE"
        case .vringKick: "VRING_KICK"
        case .getMaximumMemorySlots: "GET_MAX_MEM_SLOTS"
        case .addMemoryRegion: "ADD_MEM_REG"
        case .removeMemoryRegion: "REM_MEM_REG"
        case .setStatus: "SET_STATUS"
        case .getStatus: "GET_STATUS"
        }
    }
}

/// Why a connection cannot go on.
public struct SessionError: Error, CustomStringConvertible, Sendable {
    /// A sentence about what the front-end sent.
    public let description: String
    /// Whether a negative reply is enough where the front-end asked for one.
    public let isRefusal: Bool

    /// Makes an error.
    ///
    /// - Parameters:
    ///   - description: a sentence.
    ///   - isRefusal: false for a violation of the protocol, after which nothing can be trusted.
    public init(_ description: String, isRefusal: Bool = false) {
        self.description = description
        self.isRefusal = isRefusal
    }
}

/// The header of a message.
public struct MessageHeader: Sendable, Equatable {
    /// Bytes of a header.
    public static let length = 12
    /// The most payload that any message to a network back-end has.
    public static let maximumPayload = 4096

    /// The request's number.
    public var request: UInt32
    /// Version in bits 0 and 1, reply in bit 2, need_reply in bit 3.
    public var flags: UInt32
    /// Bytes of payload.
    public var size: UInt32

    /// Makes a header of its fields.
    public init(request: UInt32, flags: UInt32, size: UInt32) {
        self.request = request
        self.flags = flags
        self.size = size
    }

    /// Reads a header from the first twelve of `bytes`.
    public init(_ bytes: [UInt8]) throws(SessionError) {
        var reader = Payload(bytes)
        guard let request = reader.u32(), let flags = reader.u32(), let size = reader.u32() else {
            throw SessionError("a message header of \(bytes.count) bytes")
        }
        guard flags & 3 == 1 else {
            throw SessionError("a message of protocol version \(flags & 3), expected 1")
        }
        guard size <= MessageHeader.maximumPayload else {
            throw SessionError("request \(request) with \(size) bytes of payload")
        }
        self.init(request: request, flags: flags, size: size)
    }

    /// Whether the sender waits for a reply to a request that has none of its own.
    public var needsReply: Bool { flags & 8 != 0 }

    /// The header and, behind it, the payload that it announces.
    fileprivate static func message(
        _ request: UInt32,
        flags: UInt32,
        _ payload: [UInt8]
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(little: request)
        bytes.append(little: flags)
        bytes.append(little: UInt32(payload.count))
        return bytes + payload
    }
}

/// What goes back to the front-end for one of its requests.
public struct Reply {
    /// Header and payload.
    public let bytes: [UInt8]
    /// A descriptor to send with the first byte.
    public let file: OwnedDescriptor?

    /// Front-ends accept no other flags than version 1 and reply.
    init(_ request: Request, _ answer: Answer) {
        bytes = MessageHeader.message(request.rawValue, flags: 5, answer.payload)
        file = answer.file
    }
}

/// The part of a reply that is the request's own.
struct Answer {
    var payload: [UInt8]
    var file: OwnedDescriptor?

    static func word(_ value: UInt64) -> Answer { Answer(payload: .word(value)) }
}

/// What a back-end can ask of its front-end, on the socket of `SET_BACKEND_REQ_FD`.
public enum BackendRequest: Sendable, Equatable {
    /// BACKEND_IOTLB_MSG: a translation is missing.
    case translationMiss(address: UInt64, isWrite: Bool)
    /// BACKEND_CONFIG_CHANGE_MSG: read the configuration again.
    case configurationChange
    /// BACKEND_VRING_CALL: interrupt the guest for a ring.
    case call(ring: Int)
    /// BACKEND_VRING_ERR: a ring was stopped.
    case error(ring: Int)

    /// The message; no reply is asked for, because nothing here waits for one.
    public var bytes: [UInt8] {
        switch self {
        case .translationMiss(let address, let isWrite):
            return MessageHeader.message(
                1,
                flags: 1,
                Translation.miss(address, isWrite: isWrite)
            )
        case .configurationChange: return MessageHeader.message(2, flags: 1, [])
        case .call(let ring): return MessageHeader.message(4, flags: 1, .word(UInt64(ring)))
        case .error(let ring): return MessageHeader.message(5, flags: 1, .word(UInt64(ring)))
        }
    }
}
