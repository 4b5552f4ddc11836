// Programs that the engine starts for a port. They end with the engine, however that ends.

import CNetmap
import Glibc
import Netmap

enum ChildProcess {
    /// Starts a program, found by its path, or in PATH if it has no slash.
    ///
    /// - Parameters:
    ///   - arguments: the program and what it is told.
    ///   - files: descriptors, and the numbers that they get there.
    /// - Returns: its process, to be ended and reaped by `end` or `reap`.
    /// - Throws: why it cannot be run.
    static func spawn(
        _ arguments: [String],
        passing files: [(OwnedDescriptor, Int32)]
    ) throws(SystemError) -> pid_t {
        // SAFETY: the strings live until the call has returned, when the child has them.
        var strings: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) }
        unsafe strings.append(nil)
        defer { unsafe strings.indices.forEach { unsafe free(strings[$0]) } }
        let from = files.map(\.0.number)
        let to = files.map(\.1)
        let result = unsafe nm_spawn(&strings, from, to, Int32(files.count))
        return try SystemError.check(result, "run \(arguments.first ?? "")")
    }

    /// Asks a process to end, and takes its status when it has.
    static func end(_ process: pid_t) {
        _ = kill(process, SIGTERM)
        reap(process)
    }

    /// Takes a process's status, now or when it ends, without waiting for it here.
    static func reap(_ process: pid_t) {
        if waitpid(process, nil, WNOHANG) == 0 { nm_reap_elsewhere(process) }
    }
}
