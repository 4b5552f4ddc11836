// What capture files consist of, whichever format they have.

/// The two formats of capture files.
public enum CaptureFormat: String, Sendable, Hashable, CaseIterable {
    /// The classic one (draft-ietf-opsawg-pcap).
    case pcap
    /// Its successor of blocks and options (draft-ietf-opsawg-pcapng).
    case pcapng
}

/// One frame of a capture file: where in the file it lies, and when it was seen.
public struct CaptureRecord: Sendable, Hashable {
    /// Where the frame begins in the file.
    public let offset: Int
    /// How many bytes of it there are.
    public let length: Int
    /// How many it had on the wire.
    public let originalLength: Int
    /// Nanoseconds since the epoch; nil in the blocks that have no time.
    public let time: UInt64?
    /// The interface that it was seen on, counted within its section.
    public let interface: Int
}

/// What is wrong with a capture file, and where.
public struct CaptureError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The byte of the file where it is.
    public let offset: Int
    /// A phrase for people.
    public let reason: String

    /// Makes an error about byte `offset`.
    public init(_ offset: Int, _ reason: String) {
        self.offset = offset
        self.reason = reason
    }

    /// `byte 24: ...`.
    public var description: String { "byte \(offset): \(reason)" }
}
