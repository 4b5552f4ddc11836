// Writing capture files: pcap and pcapng with nanoseconds, little-endian. The frame's own bytes are
// appended by the caller between `appendHead` and `appendTail`, from wherever they lie.

/// What a capture file says of a frame besides its bytes.
public struct CaptureMark: Sendable, Hashable {
    /// Which way a frame went.
    public enum Direction: UInt8, Sendable {
        /// Unknown.
        case unknown = 0
        /// Into the switch.
        case inbound = 1
        /// Out of the switch.
        case outbound = 2
    }

    /// Nanoseconds since the epoch.
    public var time: UInt64
    /// How many bytes of the frame follow.
    public var captured: Int
    /// How many it has.
    public var length: Int
    /// The interface, counted from 0 in the order of `appendInterface`.
    public var interface: Int
    /// Which way it went.
    public var direction: Direction
    /// A sentence about it.
    public var comment: String?

    /// Describes a frame.
    public init(
        time: UInt64,
        captured: Int,
        length: Int,
        interface: Int = 0,
        direction: Direction = .unknown,
        comment: String? = nil
    ) {
        self.time = time
        self.captured = captured
        self.length = length
        self.interface = interface
        self.direction = direction
        self.comment = comment
    }
}

/// Makes the parts of a capture file.
///
/// What a format cannot express, pcap's interfaces, directions, comments and statistics, is left out.
public struct CaptureEncoder: Sendable {
    /// The format.
    public let format: CaptureFormat
    /// The most bytes of a frame that the file has.
    public let snapLength: Int

    /// Makes an encoder.
    public init(_ format: CaptureFormat, snapLength: Int) {
        self.format = format
        self.snapLength = snapLength
    }

    /// Appends what a file begins with.
    ///
    /// - Parameters:
    ///   - application: the program that writes it.
    ///   - out: the file.
    public func appendBeginning(application: String, to out: inout [UInt8]) {
        guard format == .pcapng else {
            out.append32(0xa1b2_3c4d)
            out.append16(2)
            out.append16(4)
            out.append32(0)
            out.append32(0)
            out.append32(UInt32(snapLength))
            out.append32(1)
            return
        }
        let begin = out.beginBlock(0x0a0d_0d0a)
        out.append32(0x1a2b_3c4d)
        out.append16(1)
        out.append16(0)
        // The length of the section is not known.
        out.append32(.max)
        out.append32(.max)
        out.appendOption(4, application)
        out.append32(0)
        out.endBlock(begin)
    }

    /// Appends the description of the next interface.
    public func appendInterface(
        name: String,
        description: String,
        filter: String? = nil,
        to out: inout [UInt8]
    ) {
        guard format == .pcapng else { return }
        let begin = out.beginBlock(1)
        out.append16(1)
        out.append16(0)
        out.append32(UInt32(snapLength))
        out.appendOption(2, name)
        out.appendOption(3, description)
        out.appendOption(9, [9])
        if let filter { out.appendOption(11, [0] + Array(filter.utf8)) }
        out.append32(0)
        out.endBlock(begin)
    }

    /// Appends what stands before a frame's bytes.
    public func appendHead(_ mark: CaptureMark, to out: inout [UInt8]) {
        if format == .pcapng {
            out.append32(6)
            out.append32(UInt32(blockLength(mark)))
            out.append32(UInt32(mark.interface))
            out.append32(UInt32(truncatingIfNeeded: mark.time >> 32))
            out.append32(UInt32(truncatingIfNeeded: mark.time))
        } else {
            out.append32(UInt32(truncatingIfNeeded: mark.time / 1_000_000_000))
            out.append32(UInt32(truncatingIfNeeded: mark.time % 1_000_000_000))
        }
        out.append32(UInt32(mark.captured))
        out.append32(UInt32(mark.length))
    }

    /// Appends what stands behind a frame's bytes.
    public func appendTail(_ mark: CaptureMark, to out: inout [UInt8]) {
        guard format == .pcapng else { return }
        out.pad(mark.captured)
        if mark.direction != .unknown {
            out.append16(2)
            out.append16(4)
            out.append32(UInt32(mark.direction.rawValue))
        }
        if let comment = mark.comment { out.appendOption(1, comment) }
        if hasOptions(mark) { out.append32(0) }
        out.append32(UInt32(blockLength(mark)))
    }

    /// Appends the counters of an interface, at the end of its section.
    ///
    /// - Parameters:
    ///   - interface: which.
    ///   - time: nanoseconds since the epoch.
    ///   - received: frames that were seen.
    ///   - dropped: frames among them that should be in the file and are not.
    ///   - accepted: frames among them that the filter let through.
    ///   - out: the file.
    public func appendStatistics(
        interface: Int,
        time: UInt64,
        received: UInt64,
        dropped: UInt64,
        accepted: UInt64,
        to out: inout [UInt8]
    ) {
        guard format == .pcapng else { return }
        let begin = out.beginBlock(5)
        out.append32(UInt32(interface))
        out.append32(UInt32(truncatingIfNeeded: time >> 32))
        out.append32(UInt32(truncatingIfNeeded: time))
        for (code, value) in [(4, received), (5, dropped), (6, accepted)] {
            out.append16(UInt16(code))
            out.append16(8)
            out.append32(UInt32(truncatingIfNeeded: value))
            out.append32(UInt32(truncatingIfNeeded: value >> 32))
        }
        out.append32(0)
        out.endBlock(begin)
    }

    private func hasOptions(_ mark: CaptureMark) -> Bool {
        mark.direction != .unknown || mark.comment != nil
    }

    private func blockLength(_ mark: CaptureMark) -> Int {
        var length = 32 + (mark.captured + 3) & ~3
        if mark.direction != .unknown { length += 8 }
        if let comment = mark.comment { length += 4 + (comment.utf8.count + 3) & ~3 }
        return hasOptions(mark) ? length + 4 : length
    }
}

extension [UInt8] {
    fileprivate mutating func append16(_ value: UInt16) {
        append(UInt8(truncatingIfNeeded: value))
        append(UInt8(truncatingIfNeeded: value &>> 8))
    }

    fileprivate mutating func append32(_ value: UInt32) {
        append16(UInt16(truncatingIfNeeded: value))
        append16(UInt16(truncatingIfNeeded: value &>> 16))
    }

    /// Fills up what has `count` bytes to a multiple of four.
    fileprivate mutating func pad(_ count: Int) {
        for _ in 0..<(-count & 3) { append(0) }
    }

    fileprivate mutating func appendOption(_ code: UInt16, _ text: String) {
        appendOption(code, Array(text.utf8.prefix(0xffff)))
    }

    fileprivate mutating func appendOption(_ code: UInt16, _ value: [UInt8]) {
        append16(code)
        append16(UInt16(value.count))
        append(contentsOf: value)
        pad(value.count)
    }

    /// Begins a block whose length `endBlock` fills in.
    fileprivate mutating func beginBlock(_ type: UInt32) -> Int {
        append32(type)
        append32(0)
        return count - 8
    }

    fileprivate mutating func endBlock(_ begin: Int) {
        let length = UInt32(count + 4 - begin)
        append32(length)
        for k in 0..<4 { self[begin + 4 + k] = UInt8(truncatingIfNeeded: length >> UInt32(8 * k)) }
    }
}
