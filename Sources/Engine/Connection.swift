// A front-end's socket: bytes and descriptors to messages and back. What they mean is `Session`'s.

import CNetmap
import Glibc
import Netmap
import VhostUser

/// Reads whole messages from a non-blocking socket and writes replies without ever waiting.
final class Connection {
    /// Why a connection ended.
    struct Ended: Error, CustomStringConvertible {
        let description: String
        /// Whether the front-end simply left.
        let isOrderly: Bool
    }

    let file: OwnedDescriptor
    /// The front-end's process, if the kernel knows.
    let peer: Int32
    private var header: MessageHeader?
    private var bytes: [UInt8] = []
    private var files: [OwnedDescriptor] = []
    private(set) var unsent: [UInt8] = []
    /// To be sent with the first byte of `unsent`.
    private var pending: OwnedDescriptor?
    private static let maximumUnsent = 65_536

    init(_ file: OwnedDescriptor) {
        self.file = file
        var uid: UInt32 = 0
        var pid: Int32 = 0
        peer = unsafe nm_unix_peer_uid(file.number, &uid, &pid) == 0 ? pid : 0
    }

    /// The next whole message, or nil if the rest of it has not come yet.
    func next() throws -> (MessageHeader, [UInt8], [OwnedDescriptor])? {
        while true {
            let wanted = header.map { Int($0.size) } ?? MessageHeader.length
            if bytes.count < wanted {
                guard try read(wanted - bytes.count) else { return nil }
                continue
            }
            guard let header else {
                self.header = try MessageHeader(bytes)
                bytes = []
                continue
            }
            let message = (header, bytes, files)
            self.header = nil
            bytes = []
            files = []
            return message
        }
    }

    /// Reads up to `count` bytes of the message at hand.
    ///
    /// - Returns: false if there are none now.
    private func read(_ count: Int) throws(Ended) -> Bool {
        var buffer = [UInt8](repeating: 0, count: count)
        var numbers = [Int32](repeating: -1, count: 8)
        var fileCount: Int32 = 8
        let n = unsafe nm_receive(file.number, &buffer, count, &numbers, &fileCount)
        if n == -Int64(EAGAIN) { return false }
        files += numbers.prefix(Int(fileCount)).filter { $0 >= 0 }.map {
            OwnedDescriptor(received: $0)
        }
        guard n >= 0 else {
            if n == -Int64(ECONNRESET) {
                throw Ended(description: "the front-end went away", isOrderly: true)
            }
            throw Ended(
                description: SystemError("recvmsg", result: n).description,
                isOrderly: false
            )
        }
        guard n > 0 else {
            let orderly = bytes.isEmpty && header == nil
            throw Ended(
                description: orderly
                    ? "the front-end disconnected" : "the front-end disconnected within a message",
                isOrderly: orderly
            )
        }
        guard files.count <= 8 else {
            throw Ended(description: "more than 8 descriptors in a message", isOrderly: false)
        }
        bytes += buffer.prefix(Int(n))
        return true
    }

    /// Sends a message, or keeps what the socket does not take now in `unsent`.
    ///
    /// - Parameters:
    ///   - message: bytes.
    ///   - file: a descriptor to go with the first of them.
    /// - Throws: when the peer is gone or does not read.
    func send(_ message: [UInt8], _ file: OwnedDescriptor? = nil) throws(Ended) {
        if let file {
            // Descriptors come with the byte that they were sent with, so nothing may be before it.
            guard unsent.isEmpty else {
                throw Ended(description: "the front-end does not read replies", isOrderly: false)
            }
            pending = file
        }
        unsent += message
        try flush()
        // Who asks and never reads is not a front-end.
        guard unsent.count <= Connection.maximumUnsent else {
            throw Ended(description: "the front-end does not read replies", isOrderly: false)
        }
    }

    /// Sends what was left over.
    func flush() throws(Ended) {
        while !unsent.isEmpty {
            var number = pending?.number ?? -1
            let count: Int32 = pending == nil ? 0 : 1
            let n = unsafe nm_send(file.number, unsent, unsent.count, &number, count)
            if n == -Int64(EAGAIN) { return }
            guard n > 0 else {
                throw Ended(
                    description: SystemError("sendmsg", result: n).description,
                    isOrderly: true
                )
            }
            pending = nil
            unsent.removeFirst(Int(n))
        }
    }
}
