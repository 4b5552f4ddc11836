// What a VDE client and a VDE switch tell each other when one plugs into the other. It is all there is:
// the stream socket that carried it stays open, and its end is the plug's.

/// A client's wish to plug in, version 3 of the protocol.
///
/// Layout, in the machine's byte order: magic, version, type (the port wanted, above a byte of flags), the address of
/// the client's datagram socket as a `sockaddr_un`, and a description up to the end of the message.
public struct VdeRequest: Sendable, Equatable {
    /// Where the client takes frames.
    public let path: String
    /// The port that it wants; 0 for any.
    public let port: Int
    /// Who it is, for people.
    public let description: String

    /// Makes a request.
    public init(path: String, port: Int, description: String) {
        self.path = path
        self.port = port
        self.description = description
    }

    /// Bytes before the description.
    public static let headerLength = 12 + VdeAddress.length
    /// Bytes of the longest description; what is behind is nobody's.
    public static let maximumDescription = 128
    private static let magic: UInt32 = 0xfeed_face
    private static let version: UInt32 = 3

    /// The message.
    public var bytes: [UInt8] {
        var message: [UInt8] = []
        for word in [VdeRequest.magic, VdeRequest.version, UInt32(port) << 8] {
            message += (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) }
        }
        message += VdeAddress(path).bytes
        message += description.utf8.prefix(VdeRequest.maximumDescription)
        return message
    }

    /// What is wrong with a message, for people.
    public struct Flaw: Error, Equatable, CustomStringConvertible {
        /// The sentence.
        public let description: String
    }

    /// Reads a message, all of it.
    public init(_ message: [UInt8]) throws(Flaw) {
        guard message.count >= VdeRequest.headerLength else {
            throw Flaw(
                description: "a request of \(message.count) bytes, where "
                    + "\(VdeRequest.headerLength) are the least"
            )
        }
        func word(_ at: Int) -> UInt32 {
            (0..<4).reduce(0) { $0 | UInt32(message[at + $1]) << (8 * $1) }
        }
        guard word(0) == VdeRequest.magic else {
            throw Flaw(description: "a request without VDE's magic number")
        }
        guard word(4) == VdeRequest.version else {
            throw Flaw(description: "a request of version \(word(4)), where 3 is spoken")
        }
        port = Int(word(8) >> 8)
        let end = VdeRequest.headerLength
        guard let address = VdeAddress(Array(message[12..<end])) else {
            throw Flaw(description: "a request without the path of a socket")
        }
        path = address.path
        let text = message[end...].prefix(VdeRequest.maximumDescription).prefix { $0 != 0 }
        description = String(
            String.UnicodeScalarView(
                String(decoding: text, as: UTF8.self).unicodeScalars.filter {
                    // For a terminal, in the end.
                    $0.value >= 32 && $0.value != 127
                }
            )
        )
    }
}

/// The path of a unix socket as a `sockaddr_un`; also the whole of a switch's answer.
public struct VdeAddress: Sendable, Equatable {
    /// The path.
    public let path: String

    /// Bytes of a `sockaddr_un`.
    public static let length = 110

    /// Makes an address of a path that fits.
    public init(_ path: String) { self.path = path }

    /// The address as it is sent.
    public var bytes: [UInt8] {
        // AF_UNIX, in the machine's byte order; every machine of ours is little-endian.
        let address = [1, 0] + Array(path.utf8.prefix(VdeAddress.length - 3))
        return address + Array(repeating: 0, count: VdeAddress.length - address.count)
    }

    /// Reads an address; nil if it is none, or has no path in the file system.
    public init?(_ bytes: [UInt8]) {
        guard bytes.count == VdeAddress.length, bytes[0] == 1, bytes[1] == 0 else { return nil }
        let path = bytes[2...].prefix { $0 != 0 }
        guard path.first == UInt8(ascii: "/"), path.count < VdeAddress.length - 2,
            let text = String(validating: path, as: UTF8.self)
        else { return nil }
        self.path = text
    }
}
