// Unix datagram sockets with paths, which are removed with them.

import CNetmap
import Glibc
import Netmap

/// A bound socket.
final class DatagramSocket {
    let file: OwnedDescriptor
    let path: String

    /// Binds a socket in a directory of ours or of a VDE switch; a leftover of its name is replaced.
    init(_ path: String) throws(SystemError) {
        self.path = path
        _ = unsafe unlink(path)
        file = OwnedDescriptor(try SystemError.check(unsafe nm_unix_datagram(path), "bind \(path)"))
    }

    deinit { removePath() }

    /// Removes the path; whoever is connected stays so.
    func removePath() { _ = unsafe unlink(path) }
}

/// Permissions and group of VDE's sockets.
struct SocketAccess {
    let mode: mode_t
    let group: gid_t?

    init(mode: Int, group: String?) {
        self.mode = mode_t(mode)
        // SAFETY: the control thread is the only one that asks for groups.
        self.group = group.flatMap { name in unsafe getgrnam(name).map { unsafe $0.pointee.gr_gid }
        }
    }

    /// Gives them to a file.
    func apply(to path: String, isDirectory: Bool = false) throws(SystemError) {
        if let group, unsafe chown(path, uid_t.max, group) != 0 {
            throw SystemError("chgrp \(path)", result: -errno)
        }
        // Who may use a socket may look for it, and make one.
        let directory = mode | (mode & 0o444) >> 2 | (group == nil ? 0 : 0o2000)
        if unsafe chmod(path, isDirectory ? directory : mode) != 0 {
            throw SystemError("chmod \(path)", result: -errno)
        }
    }
}
