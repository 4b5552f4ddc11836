// VALE port names: "vale0:vm1" is port vm1 of switch vale0 (netmap-spec 2.12).

/// The name of a port of a VALE switch.
public struct PortName: Hashable, Sendable, CustomStringConvertible {
    /// The switch, for example `vale0`.
    public let switchName: String
    /// The port within the switch, for example `vm1`.
    public let port: String

    /// `vale0:vm1`.
    public var description: String { switchName + ":" + port }

    /// What is wrong with a name, as a sentence that says what to write instead.
    public struct Invalid: Error, CustomStringConvertible {
        /// The sentence.
        public let description: String
    }

    /// Parses `valeX:Y`: X is letters, digits and underscores, the whole switch name at most 15
    /// characters; Y is 1 to 15 letters, digits, underscores, dots and dashes.
    public init(_ text: String) throws(Invalid) {
        let example = "write for example 'vale0:vm1'"
        guard let colon = text.firstIndex(of: ":") else {
            throw Invalid(description: "'\(text)' names no port of a switch: \(example)")
        }
        let switchName = text[..<colon]
        let port = text[text.index(after: colon)...]
        guard switchName.hasPrefix("vale") else {
            throw Invalid(
                description: "'\(text)': a switch's name begins with 'vale'; \(example)")
        }
        guard switchName.utf8.count <= 15, switchName.utf8.allSatisfy(PortName.isWordCharacter)
        else {
            throw Invalid(
                description: "'\(text)': a switch's name is 'vale' and letters, digits or "
                    + "underscores, at most 15 characters; \(example)")
        }
        guard (1...15).contains(port.utf8.count),
            port.utf8.allSatisfy({ PortName.isWordCharacter($0) || $0 == 0x2d || $0 == 0x2e }),
            port != ".", port != ".."
        else {
            throw Invalid(
                description: "'\(text)': a port's name is 1 to 15 letters, digits, "
                    + "underscores, dashes or dots; \(example)")
        }
        self.switchName = String(switchName)
        self.port = String(port)
    }

    private static func isWordCharacter(_ c: UInt8) -> Bool {
        (0x30...0x39).contains(c) || (0x41...0x5a).contains(c) || (0x61...0x7a).contains(c)
            || c == 0x5f
    }
}
