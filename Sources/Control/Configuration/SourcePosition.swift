// Where something stands in a configuration file, and what is wrong there.

/// A place in a file; lines and columns begin with one.
public struct SourcePosition: Sendable, Hashable, CustomStringConvertible {
    /// The file, as the operator named it.
    public let file: String
    /// The line.
    public let line: Int
    /// The column, in characters.
    public let column: Int

    /// Makes a place.
    public init(file: String, line: Int, column: Int) {
        self.file = file
        self.line = line
        self.column = column
    }

    /// `lab.yaml:3:7`, which editors and terminals turn into a link.
    public var description: String { "\(file):\(line):\(column)" }
}

/// What is wrong with a configuration file.
public struct ConfigurationError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The file.
    public let file: String
    /// Where in it; nil when the file as a whole cannot be used.
    public let position: SourcePosition?
    /// What is wrong, and what to write instead.
    public let message: String

    /// Says what is wrong somewhere in a file.
    public init(_ position: SourcePosition, _ message: String) {
        file = position.file
        self.position = position
        self.message = message
    }

    /// Says what is wrong with a file as a whole.
    public init(file: String, _ message: String) {
        self.file = file
        position = nil
        self.message = message
    }

    /// `lab.yaml:3:7: what is wrong`.
    public var description: String { "\(position?.description ?? file): \(message)" }
}
