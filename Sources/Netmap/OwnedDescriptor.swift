// File descriptors arrive from other processes by the dozen; one that has an owner cannot leak.

import CNetmap
import Glibc

/// A file descriptor that is closed when its last owner lets go of it.
///
/// Control plane only: the data plane uses the number while the control plane holds the owner.
public final class OwnedDescriptor: Sendable {
    /// The descriptor's number, valid as long as this object lives.
    public let number: Int32

    /// Whether its file can keep whoever asks it something, or closes it, waiting for ever.
    let canStall: Bool

    /// Takes ownership of an open descriptor.
    public init(_ number: Int32) {
        self.number = number
        canStall = false
    }

    /// Takes ownership of a descriptor that came from somebody else's process.
    public init(received number: Int32) {
        self.number = number
        canStall = nm_file_can_stall(number) == 1
    }

    deinit { if canStall { nm_close_elsewhere(number) } else { _ = close(number) } }
}

/// A system call's failure: what was tried, on what, and the errno.
public struct SystemError: Error, CustomStringConvertible, Sendable {
    /// What was tried, for example `bind /run/wirevale/control.sock`.
    public let operation: String
    /// The error number.
    public let errno: Int32

    /// Makes an error of a result that is `-errno`.
    public init(_ operation: String, result: some BinaryInteger) {
        self.operation = operation
        self.errno = Int32(truncatingIfNeeded: -Int64(result))
    }

    /// `bind /run/x: Permission denied`.
    public var description: String {
        // SAFETY: strerror returns a string that is valid until the next call on this thread.
        "\(operation): \(unsafe String(cString: strerror(errno)))"
    }

    /// Passes a shim's result through, or throws what it says.
    public static func check<Result: BinaryInteger>(
        _ result: Result,
        _ operation: @autoclosure () -> String
    ) throws(SystemError) -> Result {
        guard result >= 0 else { throw SystemError(operation(), result: result) }
        return result
    }
}
