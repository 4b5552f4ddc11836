// Paths of unix sockets: whose they are, and what to say when they are somebody else's.

import CNetmap
import Glibc
import Netmap

/// Makes a path free for a new socket without ever taking one that is in use.
enum SocketFile {
    /// What stands in the way, as a sentence.
    struct Taken: Error, CustomStringConvertible {
        let description: String
    }

    /// What kind of socket is to be made.
    enum Kind { case stream, datagrams }

    /// Removes a socket that nobody listens on any more, and makes the parent directory.
    static func clear(_ path: String, type: Kind = .stream) throws {
        let directory = path.split(separator: "/", omittingEmptySubsequences: false)
            .dropLast().joined(separator: "/")
        if !directory.isEmpty, unsafe mkdir(directory, 0o700) != 0, errno != EEXIST {
            throw Taken(
                description: "cannot make the directory \(directory): "
                    + SystemError("mkdir", result: -errno).description
            )
        }
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            throw Taken(
                description: "\(path) exists and is not a socket; remove it or choose another path"
            )
        }
        var address = nm_address()
        var number = unsafe nm_address_unix(&address, path)
        if number == 0 {
            number =
                type == .stream
                ? unsafe nm_unix_connect(path) : unsafe nm_datagram_probe(&address)
        }
        if number >= 0 {
            _ = close(number)
            throw Taken(
                description: "\(path) is in use by another process; choose another path or stop it"
            )
        }
        guard number == -ECONNREFUSED else {
            throw Taken(
                description: SystemError("look at \(path)", result: number).description
            )
        }
        _ = unsafe unlink(path)
    }
}
