// The names that people type: vale0:vm1. Checked here once, with errors that say what to write.

/// The name of a switch and of a port on it, as netmap writes them: `vale0:vm1`.
public struct ValePortName: Sendable, Hashable, CustomStringConvertible {
    /// The switch, such as `vale0`.
    public let master: String
    /// The port within the switch, such as `vm1`.
    public let port: String

    /// The most characters that either half may have; the limit is netmap's.
    public static let maximumLength = 15

    /// The whole name.
    public var description: String { "\(master):\(port)" }

    /// The name as an id for `netdev_add`, `vale0-vm1`; hardly two names share one, because the
    /// name of a switch has no '-'.
    public var identifier: String {
        port.hasSuffix("^") ? "\(master)-\(port.dropLast())_host" : "\(master)-\(port)"
    }

    /// Checks and takes apart a name.
    ///
    /// - Throws: a sentence that says which half is wrong, why, and what a right one looks like.
    public init(_ name: String) throws(NameError) {
        guard let colon = name.firstIndex(of: ":") else {
            let hint =
                name.hasPrefix("vale")
                ? "write '\(name):vm1' for a port called vm1 on that switch"
                : "write switch:port, such as 'vale0:\(Self.suggestion(name))'"
            throw NameError("'\(name)' names no VALE port: \(hint)")
        }
        let master = String(name[..<colon])
        let port = String(name[name.index(after: colon)...])
        try self.init(master: master, port: port, name: name)
    }

    private init(master: String, port: String, name: String) throws(NameError) {
        try Self.check(switch: master, in: name)
        let example = "such as '\(master):vm1'"
        guard !port.isEmpty else {
            throw NameError("'\(name)' has no port name after the ':'; write one, \(example)")
        }
        guard port.utf8.count <= Self.maximumLength else {
            throw NameError(
                "port name '\(port)' in '\(name)' has \(port.utf8.count) characters; "
                    + "at most \(Self.maximumLength) are possible, \(example)"
            )
        }
        // One '^' at the end is netmap's for the host's stack of an interface.
        let letters = port.hasSuffix("^") ? port.dropLast() : port[...]
        if let bad = letters.unicodeScalars.first(where: { !Self.isAllowed($0, also: "_.-") }) {
            throw NameError(
                "port name '\(port)' in '\(name)' has the character '\(bad)'; "
                    + "letters, digits, '_', '.' and '-' are possible, \(example)"
            )
        }
        // The name becomes a file name below the runtime directory.
        guard letters.unicodeScalars.contains(where: { $0 != "." }) else {
            throw NameError("port name '\(port)' in '\(name)' is only dots; write one, \(example)")
        }
        self.master = master
        self.port = port
    }

    /// Checks the name of a switch alone.
    public static func check(switch master: String) throws(NameError) {
        try check(switch: master, in: master)
    }

    private static func check(switch master: String, in name: String) throws(NameError) {
        let example = "such as 'vale0:vm1'"
        guard master.hasPrefix("vale") else {
            throw NameError(
                "'\(name)' does not start with 'vale': the name of a switch does, \(example)"
            )
        }
        guard master.utf8.count <= maximumLength else {
            throw NameError(
                "switch name '\(master)' has \(master.utf8.count) characters; "
                    + "at most \(maximumLength) are possible, \(example)"
            )
        }
        if let bad = master.unicodeScalars.first(where: { !isAllowed($0, also: "_") }) {
            throw NameError(
                "switch name '\(master)' has the character '\(bad)'; "
                    + "letters, digits and '_' are possible, \(example)"
            )
        }
    }

    private static func isAllowed(_ scalar: Unicode.Scalar, also extra: String) -> Bool {
        scalar.isASCII
            && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar)
                || extra.unicodeScalars.contains(scalar))
    }

    private static func suggestion(_ name: String) -> String {
        let usable = name.unicodeScalars.filter { isAllowed($0, also: "_.-") }
        return usable.isEmpty ? "vm1" : String(String.UnicodeScalarView(usable.prefix(15)))
    }

    /// What is wrong with a name.
    public struct NameError: Error, Sendable, Hashable, CustomStringConvertible {
        /// The sentence.
        public let description: String
        init(_ description: String) { self.description = description }
    }
}
