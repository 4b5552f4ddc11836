// A vhost-user front-end that says what a back-end needs to start two rings, and no more.

import CNetmap
import Glibc
import Netmap
import VhostUser

/// What went wrong while a port was set up.
struct FrontEndError: Error, CustomStringConvertible {
    let description: String
}

/// One port's connection; the back-end serves the rings as long as it lives.
struct FrontEnd: ~Copyable {
    private let socket: OwnedDescriptor
    private let path: String

    init(connectingTo path: String) throws {
        self.path = path
        socket = OwnedDescriptor(
            try SystemError.check(unsafe nm_unix_connect(path), "connect \(path)")
        )
    }

    /// Shares `file`, whose first `length` bytes begin at `start`, and starts both rings.
    func start(
        memory file: OwnedDescriptor,
        length: Int,
        at start: UInt64,
        receive: borrowing DriverRing,
        transmit: borrowing DriverRing
    ) throws {
        let wanted = Feature.version1 | Feature.protocolFeatures
        guard try ask(.getFeatures) & wanted == wanted,
            try ask(.getProtocolFeatures) & ProtocolFeature.replyAck != 0
        else { throw FrontEndError(description: "\(path): virtio 1 or REPLY_ACK is missing") }
        try send(.setProtocolFeatures, words: [ProtocolFeature.replyAck])
        try tell(.setOwner)
        try tell(.setFeatures, words: [wanted])
        // One region, in the three shapes of an address.
        try tell(.setMemoryTable, words: [1, start, UInt64(length), start, 0], files: [file])
        try startRing(0, receive)
        try startRing(1, transmit)
    }

    private func startRing(_ index: UInt64, _ ring: borrowing DriverRing) throws {
        let areas = ring.areas
        try tell(.setVringNum, words: [index | UInt64(ring.entries) << 32])
        try tell(.setVringBase, words: [index])
        try tell(
            .setVringAddr,
            words: [index, areas.descriptors, areas.used, areas.available, 0]
        )
        try tell(.setVringCall, words: [index], files: [ring.call])
        try tell(.setVringKick, words: [index], files: [ring.kick])
        try tell(.setVringEnable, words: [index | 1 << 32])
    }

    /// Sends a request that the back-end must accept.
    private func tell(
        _ request: Request,
        words: [UInt64] = [],
        files: [OwnedDescriptor] = []
    ) throws {
        try send(request, words: words, files: files, needsReply: true)
        guard try reply(to: request) == 0 else {
            throw FrontEndError(description: "\(path): refused \(request)")
        }
    }

    private func ask(_ request: Request) throws -> UInt64 {
        try send(request)
        return try reply(to: request)
    }

    private func send(
        _ request: Request,
        words: [UInt64] = [],
        files: [OwnedDescriptor] = [],
        needsReply: Bool = false
    ) throws {
        let header = [request.rawValue, needsReply ? 9 : 1, UInt32(8 * words.count)]
        let message = header.flatMap(littleEndian) + words.flatMap(littleEndian)
        let numbers = files.map(\.number)
        let sent = unsafe nm_send(
            socket.number,
            message,
            message.count,
            numbers,
            Int32(numbers.count)
        )
        guard try SystemError.check(sent, "send to \(path)") == message.count else {
            throw FrontEndError(description: "\(path): sent half of \(request)")
        }
    }

    /// The number in a reply; every reply that is asked for here has one.
    private func reply(to request: Request) throws -> UInt64 {
        let header = try MessageHeader(receive(MessageHeader.length))
        guard header.request == request.rawValue, header.flags == 5, header.size == 8 else {
            throw FrontEndError(description: "\(path): \(header) answers \(request)")
        }
        return try receive(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    private func receive(_ count: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            var waiting = pollfd(fd: socket.number, events: Int16(POLLIN), revents: 0)
            guard unsafe poll(&waiting, 1, 10_000) > 0 else {
                throw FrontEndError(description: "\(path): no answer within 10 s")
            }
            var part = [UInt8](repeating: 0, count: count - bytes.count)
            let came = unsafe nm_receive(socket.number, &part, part.count, nil, nil)
            guard try SystemError.check(came, "receive from \(path)") > 0 else {
                throw FrontEndError(description: "\(path): closed by the back-end")
            }
            bytes += part.prefix(Int(came))
        }
        return bytes
    }
}

/// The bytes of a number on the wire.
private func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    (0..<value.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}
