// What wakes a port that is served in its own process: two ends of a socket, like a port of the engine's.

import CNetmap
import Glibc

/// Rung by whoever moves frames; the port waits at the other end.
package final class Doorbell: Sendable {
    package let ringing: OwnedDescriptor
    package let waiting: OwnedDescriptor

    package init() throws(PortError) {
        var ends: [Int32] = [-1, -1]
        let type = Int32(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        guard unsafe socketpair(AF_UNIX, type, 0, &ends) == 0 else {
            throw PortError(SystemError("socketpair for a port", result: -errno))
        }
        ringing = OwnedDescriptor(ends[0])
        waiting = OwnedDescriptor(ends[1])
    }
}
