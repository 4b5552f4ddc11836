// Reading capture files: pcap with microseconds or nanoseconds and pcapng, in either byte order. The
// file is a span that somebody else has brought into memory; nothing is copied, and nothing in it is
// believed before it was held against the file's length.

/// Finds the frames of a capture file, one after the other.
///
/// A state machine without I/O: the same bytes are given to `init` and to each call of `next`.
public struct CaptureReader: Sendable {
    /// The longest frame that is believed; the formats' own programs have the same limit.
    public static let maximumLength = 262_144

    /// The format of the file.
    public let format: CaptureFormat
    /// Why the file ends before its last record does; nil for one that is whole.
    public private(set) var truncation: CaptureError?

    /// An interface of a pcapng section.
    private struct Interface: Sendable {
        var link: Int
        var snapLength: Int
        /// `if_tsresol`: a power of ten, or of two with the highest bit set.
        var resolution: UInt8 = 6
        /// `if_tsoffset`, seconds.
        var offset: UInt64 = 0
    }

    private var at: Int
    private var isBigEndian: Bool
    /// Nanoseconds that a unit of a pcap record's second number is.
    private var unit: UInt64 = 1000
    private var interfaces: [Interface] = []
    private var count = 0

    private static let ethernet = 1
    private static let sectionBlock: UInt32 = 0x0a0d_0d0a

    /// Reads the beginning of a file.
    ///
    /// - Throws: `CaptureError` when it is none, or not of Ethernet frames.
    public init(_ bytes: borrowing Span<UInt8>) throws(CaptureError) {
        guard bytes.holds(4, at: 0) else {
            throw CaptureError(0, "no capture file: it has \(bytes.count) bytes")
        }
        let magic = bytes.number32(0, isBigEndian: false)
        if magic == CaptureReader.sectionBlock {
            format = .pcapng
            isBigEndian = false
            at = 0
            guard bytes.holds(28, at: 0) else {
                throw CaptureError(0, "a pcapng file that ends within its first block")
            }
            // So that what is no capture file is refused at once.
            try readSection(bytes, at: 0)
            return
        }
        format = .pcap
        at = 24
        switch magic {
        case 0xa1b2_c3d4: (isBigEndian, unit) = (false, 1000)
        case 0xd4c3_b2a1: (isBigEndian, unit) = (true, 1000)
        case 0xa1b2_3c4d: (isBigEndian, unit) = (false, 1)
        case 0x4d3c_b2a1: (isBigEndian, unit) = (true, 1)
        default: throw CaptureError(0, "no capture file: it does not begin like pcap or pcapng")
        }
        guard bytes.holds(24, at: 0) else {
            throw CaptureError(0, "a pcap file that ends within its header")
        }
        let link = Int(bytes.number32(20, isBigEndian: isBigEndian) & 0xffff)
        guard link == CaptureReader.ethernet else {
            throw CaptureError(20, "its link type is \(link), and Ethernet is 1")
        }
    }

    /// Finds the next frame.
    ///
    /// - Returns: nil at the end of the file, which may be a cut one: `truncation`.
    /// - Throws: `CaptureError` when the file contradicts itself; there is no next frame then.
    public mutating func next(
        _ bytes: borrowing Span<UInt8>
    ) throws(CaptureError) -> CaptureRecord? {
        guard truncation == nil, at < bytes.count else { return nil }
        return try format == .pcap ? nextRecord(bytes) : nextBlock(bytes)
    }

    private mutating func nextRecord(
        _ bytes: borrowing Span<UInt8>
    ) throws(CaptureError) -> CaptureRecord? {
        guard bytes.holds(16, at: at) else {
            truncation = CaptureError(at, "the file ends within the header of frame \(count + 1)")
            return nil
        }
        let seconds = UInt64(bytes.number32(at, isBigEndian: isBigEndian))
        let fraction = UInt64(bytes.number32(at + 4, isBigEndian: isBigEndian))
        let length = Int(bytes.number32(at + 8, isBigEndian: isBigEndian))
        let original = Int(bytes.number32(at + 12, isBigEndian: isBigEndian))
        guard length <= CaptureReader.maximumLength else {
            throw CaptureError(at + 8, "frame \(count + 1) says that it has \(length) bytes")
        }
        guard bytes.holds(length, at: at + 16) else {
            truncation = CaptureError(at + 16, "the file ends within frame \(count + 1)")
            return nil
        }
        count += 1
        defer { at += 16 + length }
        return CaptureRecord(
            offset: at + 16,
            length: length,
            originalLength: max(length, original),
            time: seconds * 1_000_000_000 + fraction &* unit,
            interface: 0
        )
    }

    // MARK: pcapng

    private mutating func readSection(
        _ bytes: borrowing Span<UInt8>,
        at: Int
    ) throws(CaptureError) {
        switch bytes.number32(at + 8, isBigEndian: false) {
        case 0x1a2b_3c4d: isBigEndian = false
        case 0x4d3c_2b1a: isBigEndian = true
        default: throw CaptureError(at + 8, "a section without its byte-order magic")
        }
        let version = bytes.number16(at + 12, isBigEndian: isBigEndian)
        guard version == 1 else {
            throw CaptureError(at + 12, "pcapng of version \(version), and 1 is known")
        }
        interfaces = []
    }

    private mutating func nextBlock(
        _ bytes: borrowing Span<UInt8>
    ) throws(CaptureError) -> CaptureRecord? {
        while at < bytes.count {
            guard bytes.holds(12, at: at) else {
                truncation = CaptureError(at, "the file ends within the header of a block")
                return nil
            }
            let begin = at
            let isSection = bytes.number32(begin, isBigEndian: false) == CaptureReader.sectionBlock
            if isSection {
                guard bytes.holds(28, at: begin) else {
                    truncation = CaptureError(begin, "the file ends within a section's header")
                    return nil
                }
                try readSection(bytes, at: begin)
            }
            let length = Int(bytes.number32(begin + 4, isBigEndian: isBigEndian))
            guard length >= (isSection ? 28 : 12), length % 4 == 0 else {
                throw CaptureError(begin + 4, "a block says that it has \(length) bytes")
            }
            guard bytes.holds(length, at: begin) else {
                truncation = CaptureError(
                    begin,
                    "a block of \(length) bytes begins here, and the file has "
                        + "\(bytes.count - begin) more"
                )
                return nil
            }
            let again = Int(bytes.number32(begin + length - 4, isBigEndian: isBigEndian))
            guard again == length else {
                throw CaptureError(
                    begin + length - 4,
                    "the block ends with length \(again), and begins with \(length)"
                )
            }
            at = begin + length
            let body = begin + 8..<begin + length - 4
            switch bytes.number32(begin, isBigEndian: isBigEndian) {
            case 1 where !isSection: try readInterface(bytes, body)
            case 2: return try readFrame(bytes, body, isObsolete: true)
            case 3: return try readSimpleFrame(bytes, body)
            case 6: return try readFrame(bytes, body, isObsolete: false)
            default: break  // names, statistics, secrets: nothing that is a frame
            }
        }
        return nil
    }

    private mutating func readInterface(
        _ bytes: borrowing Span<UInt8>,
        _ body: Range<Int>
    ) throws(CaptureError) {
        guard body.count >= 8 else {
            throw CaptureError(body.lowerBound, "an interface of \(body.count) bytes")
        }
        var made = Interface(
            link: Int(bytes.number16(body.lowerBound, isBigEndian: isBigEndian)),
            snapLength: Int(bytes.number32(body.lowerBound + 4, isBigEndian: isBigEndian))
        )
        var option = body.lowerBound + 8
        while option + 4 <= body.upperBound {
            let code = bytes.number16(option, isBigEndian: isBigEndian)
            let length = Int(bytes.number16(option + 2, isBigEndian: isBigEndian))
            guard code != 0 else { break }
            guard option + 4 + length <= body.upperBound else {
                throw CaptureError(option, "an option of \(length) bytes does not fit its block")
            }
            if code == 9, length >= 1 { made.resolution = bytes[option + 4] }
            if code == 14, length >= 8 {
                made.offset = bytes.number64(option + 4, isBigEndian: isBigEndian)
            }
            option += 4 + (length + 3) & ~3
        }
        interfaces.append(made)
    }

    private mutating func readFrame(
        _ bytes: borrowing Span<UInt8>,
        _ body: Range<Int>,
        isObsolete: Bool
    ) throws(CaptureError) -> CaptureRecord {
        let begin = body.lowerBound
        guard body.count >= 20 else {
            throw CaptureError(begin, "a frame's block of \(body.count) bytes")
        }
        let number =
            isObsolete
            ? Int(bytes.number16(begin, isBigEndian: isBigEndian))
            : Int(bytes.number32(begin, isBigEndian: isBigEndian))
        let interface = try interface(number, at: begin)
        let high = UInt64(bytes.number32(begin + 4, isBigEndian: isBigEndian))
        let low = UInt64(bytes.number32(begin + 8, isBigEndian: isBigEndian))
        let length = Int(bytes.number32(begin + 12, isBigEndian: isBigEndian))
        let original = Int(bytes.number32(begin + 16, isBigEndian: isBigEndian))
        guard length <= body.count - 20, length <= CaptureReader.maximumLength else {
            throw CaptureError(
                begin + 12,
                "frame \(count + 1) says that it has \(length) bytes, and its block has room for "
                    + "\(body.count - 20)"
            )
        }
        count += 1
        return CaptureRecord(
            offset: begin + 20,
            length: length,
            originalLength: max(length, original),
            time: CaptureReader.nanoseconds(
                high &<< 32 | low,
                resolution: interface.resolution
            ) &+ interface.offset &* 1_000_000_000,
            interface: number
        )
    }

    private mutating func readSimpleFrame(
        _ bytes: borrowing Span<UInt8>,
        _ body: Range<Int>
    ) throws(CaptureError) -> CaptureRecord {
        guard body.count >= 4 else {
            throw CaptureError(body.lowerBound, "a frame's block of \(body.count) bytes")
        }
        let interface = try interface(0, at: body.lowerBound)
        let original = Int(bytes.number32(body.lowerBound, isBigEndian: isBigEndian))
        let limit = interface.snapLength == 0 ? Int.max : interface.snapLength
        let length = min(original, body.count - 4, limit, CaptureReader.maximumLength)
        count += 1
        return CaptureRecord(
            offset: body.lowerBound + 4,
            length: length,
            originalLength: max(length, original),
            time: nil,
            interface: 0
        )
    }

    private func interface(_ number: Int, at offset: Int) throws(CaptureError) -> Interface {
        guard number < interfaces.count else {
            throw CaptureError(
                offset,
                "frame \(count + 1) is of interface \(number), and the section has "
                    + "\(interfaces.count)"
            )
        }
        let found = interfaces[number]
        guard found.link == CaptureReader.ethernet else {
            throw CaptureError(
                offset,
                "frame \(count + 1) has link type \(found.link), and Ethernet is 1"
            )
        }
        return found
    }

    /// What a time in units of an `if_tsresol` is in nanoseconds; wraps where that is out of range.
    static func nanoseconds(_ ticks: UInt64, resolution: UInt8) -> UInt64 {
        let exponent = Int(resolution & 0x7f)
        guard resolution & 0x80 != 0 else {
            if exponent <= 9 { return ticks &* power(9 - exponent) }
            return exponent - 9 > 19 ? 0 : ticks / power(exponent - 9)
        }
        let product = ticks.multipliedFullWidth(by: 1_000_000_000)
        if exponent == 0 { return product.low }
        if exponent >= 64 { return exponent - 64 > 63 ? 0 : product.high >> UInt64(exponent - 64) }
        return product.low >> UInt64(exponent) | product.high << UInt64(64 - exponent)
    }

    private static func power(_ exponent: Int) -> UInt64 {
        (0..<exponent).reduce(1) { value, _ in value &* 10 }
    }
}

extension Span where Element == UInt8 {
    func number16(_ offset: Int, isBigEndian: Bool) -> UInt16 {
        isBigEndian ? bigEndian16(offset) : littleEndian16(offset)
    }

    func number32(_ offset: Int, isBigEndian: Bool) -> UInt32 {
        isBigEndian ? bigEndian32(offset) : bigEndian32(offset).byteSwapped
    }

    func number64(_ offset: Int, isBigEndian: Bool) -> UInt64 {
        isBigEndian ? bigEndian64(offset) : bigEndian64(offset).byteSwapped
    }
}
