// Why a port cannot be opened or used: what was wrong, where, and what to write instead.

import Glibc

/// A failure of an operation on a port.
public struct PortError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Kinds that a program may want to tell apart; there may be more of them later.
    public enum Kind: Sendable, Hashable {
        /// The specification of the port does not follow the grammar.
        case specification
        /// Nobody answers at the engine's socket.
        case noEngine
        /// The engine that the port was at has ended; open the port again.
        case engineGone
        /// The request made sense and was turned down; `errno` says which way.
        case refused
        /// The ring was taken away under the port, or its monitor's parent has left.
        case stopped
        /// This machine or this process has no more of something.
        case resources
    }

    /// The kind.
    public let kind: Kind
    /// What the C interface would have set `errno` to.
    public let errno: Int32
    /// The sentence.
    public let description: String

    /// Makes an error; `description` says what was wrong, where, and what to do.
    public init(_ kind: Kind, errno: Int32, _ description: String) {
        self.kind = kind
        self.errno = errno
        self.description = description
    }

    init(_ error: SystemError) {
        self.init(.resources, errno: error.errno, "\(error)")
    }

    /// A request that was turned down by an engine which only says an errno.
    static func refusal(_ what: String, _ errno: Int32, reason: String?) -> PortError {
        let sentence = reason ?? "\(text(errno)); \(advice(errno))"
        return PortError(.refused, errno: errno, "\(what): \(sentence)")
    }

    private static func text(_ errno: Int32) -> String {
        // SAFETY: strerror returns a string that is valid until the next call on this thread.
        unsafe strerror(errno).map { unsafe String(cString: $0) } ?? "error \(errno)"
    }

    /// What usually helps (netmap-spec 2.21).
    private static func advice(_ errno: Int32) -> String {
        switch errno {
        case EBUSY: "somebody has it exclusively, or it is on a switch; close or detach it first"
        case EEXIST: "the name is taken; choose another one"
        case ENXIO, ENODEV: "there is no such port; 'wirevale vale-ctl' lists those on switches"
        case ENOENT: "there is no such switch; 'wirevale vale-ctl' lists what there is"
        case ENOMEM: "ask for fewer rings, slots or buffers, or check the name"
        case EIO: "the port has virtio-net headers; open it with .acceptsHeader"
        case EINVAL: "the engine's log says which part of the request makes no sense"
        case EOPNOTSUPP: "the engine does not offer that"
        default: "the engine's log says more"
        }
    }
}
