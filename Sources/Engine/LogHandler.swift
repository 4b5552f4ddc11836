// Log lines for people and for programs, on stderr, where systemd and shells expect them.

import Glibc
public import Logging

/// How log lines look.
public enum LogFormat: String, Sendable, CaseIterable {
    /// `2026-11-23T10:00:00.123Z info  port added port=vale0:vm1`, or with a priority prefix and no
    /// time under systemd, which has a clock of its own.
    case text
    /// One JSON object a line.
    case json
}

/// Writes each line with one system call, so that lines of several threads do not mix.
public struct EngineLogHandler: LogHandler {
    /// What is logged.
    public var logLevel = Logger.Level.info
    /// Words that every line carries.
    public var metadata: Logger.Metadata = [:]
    private let format: LogFormat
    private let isJournal: Bool

    /// Logs to stderr.
    public init(format: LogFormat) {
        self.format = format
        // SAFETY: only compared with nil.
        isJournal = unsafe getenv("JOURNAL_STREAM") != nil
    }

    /// A word that every line carries.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes one line.
    public func log(event: LogEvent) {
        let words = metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }
        var line: String
        switch format {
        case .json:
            line = "{\"time\":\(quoted(time())),\"level\":\(quoted("\(event.level)"))"
            line += ",\"message\":\(quoted("\(event.message)"))"
            for (key, value) in words { line += ",\(quoted(key)):\(quoted("\(value)"))" }
            line += "}\n"
        case .text:
            line = isJournal ? "<\(priority(event.level))>" : time() + " \(event.level): "
            line += "\(event.message)"
            for (key, value) in words { line += " \(key)=\(value)" }
            line += "\n"
        }
        let bytes = Array(line.utf8)
        _ = unsafe write(2, bytes, bytes.count)
    }

    /// syslog(3)'s number for a level.
    private func priority(_ level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }

    private func time() -> String {
        var now = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &now)
        var parts = unsafe tm()
        unsafe gmtime_r(&now.tv_sec, &parts)
        func two(_ n: Int32) -> String { n < 10 ? "0\(n)" : "\(n)" }
        let fraction = String(String(1000 + now.tv_nsec / 1_000_000).dropFirst())
        let day = unsafe "\(1900 + parts.tm_year)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
        let clock = unsafe "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
        return "\(day)T\(clock).\(fraction)Z"
    }

    private func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\t": out += "\\t"
            case let c where c.value < 0x20:
                let hex = String(c.value, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }
}
