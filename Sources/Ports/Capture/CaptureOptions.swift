// What a capture is to write, and how its files are called: tcpdump's -C, -G and -W.

import Glibc
public import Wire

/// When a capture begins another file.
public struct CaptureRotation: Sendable, Hashable {
    /// After so many bytes.
    public var bytes: Int?
    /// After so many seconds.
    public var seconds: Int?
    /// After so many files it begins again with the first (`bytes`), or ends (`seconds` alone).
    public var files: Int?

    /// Makes a rotation; without arguments, none.
    public init(bytes: Int? = nil, seconds: Int? = nil, files: Int? = nil) {
        self.bytes = bytes
        self.seconds = seconds
        self.files = files
    }

    /// Whether there is ever another file.
    public var isActive: Bool { bytes != nil || seconds != nil }

    /// What a file is called: by number if files end by size, by `strftime` if they end by time.
    public func name(_ path: String, number: Int, time now: Int) -> String {
        var name = path
        if seconds != nil { name = CaptureRotation.formatted(path, now) }
        guard bytes != nil else { return name }
        guard let files else { return number == 0 ? name : name + "\(number)" }
        // As many digits as the last of them has.
        let digits = String(max(0, files - 1)).count
        let text = String(files > 0 ? number % files : number)
        return name + String(repeating: "0", count: max(0, digits - text.count)) + text
    }

    private static func formatted(_ format: String, _ time: Int) -> String {
        guard format.contains("%") else { return format }
        var now = time_t(time)
        var parts = unsafe tm()
        unsafe localtime_r(&now, &parts)
        var buffer = [CChar](repeating: 0, count: 4096)
        // SAFETY: the buffer's length is passed with it; a result of 0 leaves nothing to read.
        let count = unsafe strftime(&buffer, buffer.count, format, &parts)
        guard count > 0 else { return format }
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// What a capture is made of.
public struct CaptureOptions: Sendable, Hashable {
    /// The file, or FIFO, that is written.
    public var path: String
    /// Its format.
    public var format = CaptureFormat.pcapng
    /// The most bytes of a frame that are kept.
    public var snapLength = 262_144
    /// Which frames, in tcpdump's language; nil for all.
    public var filter: String?
    /// After how many frames it ends.
    public var count: UInt64?
    /// When another file begins.
    public var rotation = CaptureRotation()
    /// Bytes of memory for frames that are not written yet.
    public var bufferSize = 8 << 20

    /// The defaults, for a path.
    public init(path: String) { self.path = path }
}
