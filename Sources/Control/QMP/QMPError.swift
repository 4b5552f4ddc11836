// Errors as QMP reports them: a class for programs, a sentence for people.

/// An error that a command answers with.
public struct QMPError: Error, Sendable, Hashable {
    /// The classes that QMP knows and we use.
    public enum Class: String, Sendable, Hashable {
        /// Any error that a program has no reason to tell from others.
        case genericError = "GenericError"
        /// There is no such command, or not yet.
        case commandNotFound = "CommandNotFound"
        /// There is no such port.
        case deviceNotFound = "DeviceNotFound"
    }

    /// What a program may branch on.
    public let `class`: Class
    /// What a person reads.
    public let description: String

    /// Makes an error of a class.
    public init(_ class: Class, _ description: String) {
        self.class = `class`
        self.description = description
    }

    /// Makes an error of the general class.
    public init(_ description: String) { self.init(.genericError, description) }

    /// The `error` member of a reply.
    public var json: JSONValue {
        ["class": .string(`class`.rawValue), "desc": .string(description)]
    }
}

extension QMPError: CustomStringConvertible {}

/// The wordings that QEMU uses and that clients and people know.
extension QMPError {
    /// `Parameter 'x' is missing`.
    public static func missing(_ name: String) -> QMPError {
        QMPError("Parameter '\(name)' is missing")
    }

    /// `Parameter 'x' is unexpected`.
    public static func unexpected(_ name: String) -> QMPError {
        QMPError("Parameter '\(name)' is unexpected")
    }

    /// `Invalid parameter 'x'`, as the key=value parsers say it.
    public static func invalidKey(_ name: String) -> QMPError {
        QMPError("Invalid parameter '\(name)'")
    }

    /// `Invalid parameter type for 'x', expected: T`.
    public static func wrongType(_ name: String, expected: String) -> QMPError {
        QMPError("Invalid parameter type for '\(name)', expected: \(expected)")
    }

    /// `Parameter 'x' does not accept value 'v'`.
    public static func badValue(_ name: String, _ value: String) -> QMPError {
        QMPError("Parameter '\(name)' does not accept value '\(value)'")
    }

    /// `Parameter 'x' expects SOMETHING`.
    public static func expects(_ name: String, _ what: String) -> QMPError {
        QMPError("Parameter '\(name)' expects \(what)")
    }

    /// `Duplicate ID 'x' for netdev`.
    public static func duplicate(_ id: String, for kind: String = "netdev") -> QMPError {
        QMPError("Duplicate ID '\(id)' for \(kind)")
    }

    /// `Device 'x' not found`.
    public static func deviceNotFound(_ name: String) -> QMPError {
        QMPError(.deviceNotFound, "Device '\(name)' not found")
    }

    /// `The command x has not been found`.
    public static func commandNotFound(_ name: String) -> QMPError {
        QMPError(.commandNotFound, "The command \(name) has not been found")
    }

    /// `JSON parse error, REASON`.
    public static func syntax(_ error: JSONSyntaxError) -> QMPError {
        QMPError("JSON parse error, \(error.reason)")
    }
}
