// Reading capture files of the classic pcap format, either byte order, microseconds or nanoseconds.

internal import Glibc

/// The frames of a capture file.
struct PcapFile {
    /// A frame and its time since the epoch in nanoseconds.
    struct Record {
        let time: UInt64
        let bytes: [UInt8]
    }

    private(set) var records: [Record] = []

    /// Reads a whole file.
    init(_ path: String) throws {
        let bytes = try PcapFile.read(path)
        func wrong(_ what: String) -> Failure {
            Failure(.noInput, "'\(path)' is no pcap file of Ethernet frames: \(what)")
        }
        guard bytes.count >= 24 else { throw wrong("it has \(bytes.count) bytes") }
        let magic = PcapFile.word(bytes, 0, isSwapped: false)
        let (isSwapped, unit): (Bool, UInt64) =
            switch magic {
            case 0xa1b2_c3d4: (false, 1000)
            case 0xd4c3_b2a1: (true, 1000)
            case 0xa1b2_3c4d: (false, 1)
            case 0x4d3c_b2a1: (true, 1)
            case 0x0a0d_0d0a: throw wrong("it is a pcapng file; 'editcap -F pcap' converts it")
            default: throw wrong("it does not begin like one")
            }
        let link = PcapFile.word(bytes, 20, isSwapped: isSwapped) & 0xffff
        guard link == 1 else { throw wrong("its link type is \(link), Ethernet is 1") }
        var at = 24
        while at + 16 <= bytes.count {
            let seconds = UInt64(PcapFile.word(bytes, at, isSwapped: isSwapped))
            let fraction = UInt64(PcapFile.word(bytes, at + 4, isSwapped: isSwapped))
            let length = Int(PcapFile.word(bytes, at + 8, isSwapped: isSwapped))
            at += 16
            guard length <= bytes.count - at else {
                throw wrong("frame \(records.count + 1) is cut off")
            }
            records.append(
                Record(
                    time: seconds * 1_000_000_000 + fraction * unit,
                    bytes: Array(bytes[at..<at + length])
                )
            )
            at += length
        }
        guard !records.isEmpty else { throw wrong("there is no frame in it") }
    }

    private static func word(_ bytes: [UInt8], _ at: Int, isSwapped: Bool) -> UInt32 {
        let value = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[at + $1]) << UInt32(8 * $1) }
        return isSwapped ? value.byteSwapped : value
    }

    private static func read(_ path: String) throws -> [UInt8] {
        guard let file = unsafe fopen(path, "rb") else {
            let reason = unsafe String(cString: strerror(errno))
            throw Failure(.noInput, "cannot read '\(path)': \(reason)")
        }
        defer { unsafe fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            // SAFETY: the chunk is alive during the call and its size is passed with it.
            let count = unsafe fread(&chunk, 1, chunk.count, file)
            if count == 0 { return bytes }
            bytes += chunk[..<count]
        }
    }
}
