// A descriptor that tells when all its copies are closed, so that leaks show in any process.

import CNetmap
import Glibc
import Netmap

enum Pipe {
    /// A pipe: the end to look at, and the number of the end to give away.
    static func make() throws -> (readEnd: OwnedDescriptor, writeEnd: Int32) {
        var ends: [Int32] = [-1, -1]
        guard unsafe pipe(&ends) == 0 else { throw SystemError("pipe", result: -errno) }
        for end in ends { _ = nm_set_close_on_exec(end, 1) }
        return (OwnedDescriptor(ends[0]), ends[1])
    }

    /// Whether the other end is closed everywhere.
    ///
    /// An exit test on another thread can hold a copy between its fork and its exec; `patience` is
    /// how many milliseconds to wait for that.
    static func isHungUp(_ readEnd: Int32, patience: Int32 = 50) -> Bool {
        var query = pollfd(fd: readEnd, events: 0, revents: 0)
        return unsafe poll(&query, 1, patience) == 1 && Int32(query.revents) & POLLHUP != 0
    }
}
