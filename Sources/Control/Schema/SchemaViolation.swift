// What does not fit a schema, as data: QMP clients get QEMU's sentence, configuration files a place in a
// file and a hint.

/// A member that does not fit the schema, and where it is.
public struct SchemaViolation: Error, Sendable, Hashable {
    /// A step from an object or array into it.
    public enum Step: Sendable, Hashable {
        /// To the member of this name.
        case member(String)
        /// To the element with this index.
        case element(Int)
    }

    /// What is wrong with what the path leads to.
    public enum Problem: Sendable, Hashable {
        /// It is not there.
        case missing
        /// Nobody knows it; known are these.
        case unexpected(known: [String])
        /// It has another type than this.
        case wrongType(expected: String)
        /// It is none of these values.
        case badValue(String, accepted: [String])
    }

    /// The way from the outermost object.
    public let path: [Step]
    /// What is wrong there.
    public let problem: Problem

    /// The path as QEMU writes it: `backend.data[0].path`.
    public var name: String {
        path.reduce(into: "") { text, step in
            switch step {
            case .member(let name): text += text.isEmpty ? name : "." + name
            case .element(let index): text += "[\(index)]"
            }
        }
    }

    /// What a QMP client is told.
    public var error: QMPError {
        switch problem {
        case .missing: .missing(name)
        case .unexpected: .unexpected(name)
        case .wrongType(let expected): .wrongType(name, expected: expected)
        case .badValue(let value, _): .badValue(name, value)
        }
    }
}
