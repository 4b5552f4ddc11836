// Reading whole capture files, for tools that send what is in them.

internal import Glibc
internal import Wire

/// The frames of a capture file.
struct PcapFile {
    /// A frame and its time since the epoch in nanoseconds.
    struct Record {
        let time: UInt64
        let bytes: [UInt8]
    }

    private(set) var records: [Record] = []
    /// Why the file ends before its last frame does, if so.
    private(set) var truncation: CaptureError?

    /// Reads a whole file.
    init(_ path: String) throws {
        let bytes = try PcapFile.read(path)
        do throws(CaptureError) {
            var reader = try CaptureReader(bytes.span)
            while let record = try reader.next(bytes.span) {
                let end = record.offset + record.length
                records.append(
                    Record(time: record.time ?? 0, bytes: Array(bytes[record.offset..<end]))
                )
            }
            truncation = reader.truncation
        } catch {
            throw Failure(.noInput, "'\(path)' is no pcap file of Ethernet frames: \(error)")
        }
        guard !records.isEmpty else {
            throw Failure(
                .noInput,
                "there is no frame in '\(path)'"
                    + (truncation.map { " that is whole; \($0)" } ?? "")
            )
        }
        if let truncation { Terminal.diagnose("'\(path)' is cut: \(truncation)") }
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
