// Starting a program with its descriptors in place and a clean signal mask, as the demo needs it.

internal import Control
internal import Glibc

/// A program to start.
struct DemoChild {
    let program: String
    let arguments: [String]
    /// `NAME=value`, on top of what this process has.
    let environment: [String]

    /// Starts it in a process group of its own; its standard error is appended to a file.
    func spawn(input: Int32, output: Int32, errors: String) throws -> pid_t {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_adddup2(&actions, input, 0)
        unsafe posix_spawn_file_actions_adddup2(&actions, output, 1)
        unsafe posix_spawn_file_actions_addopen(
            &actions,
            2,
            errors,
            O_WRONLY | O_CREAT | O_APPEND,
            0o600
        )

        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        unsafe posix_spawnattr_setflags(
            &attributes,
            Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK)
        )
        // The demo waits for its signals in a descriptor, so they are blocked here, but not there.
        var none = sigset_t()
        unsafe sigemptyset(&none)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)

        let names = environment.map { $0.prefix { $0 != "=" } + "=" }
        let inherited = Self.environment.filter { entry in
            !names.contains { entry.hasPrefix($0) }
        }
        var process: pid_t = 0
        let code = unsafe CStringArray.with(arguments) { words in
            unsafe CStringArray.with(inherited + environment) { variables in
                unsafe posix_spawn(&process, program, &actions, &attributes, words, variables)
            }
        }
        guard code == 0 else {
            throw DemoGuest.Failure(description: "cannot start '\(program)': error \(code)")
        }
        return process
    }

    private static var environment: [String] {
        var entries: [String] = []
        var next = unsafe environ
        // SAFETY: environ ends with a null pointer, and no thread changes it here.
        while let entry = unsafe next.pointee {
            entries.append(unsafe String(cString: entry))
            unsafe next = next.successor()
        }
        return entries
    }

    /// The contents of a small file; empty when it cannot be read.
    static func contents(of path: String) -> String {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return "" }
        defer { close(file) }
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16384)
        while text.count < 1 << 20 {
            // SAFETY: the buffer is alive during the call and its length is passed with it.
            let count = unsafe buffer.withUnsafeMutableBytes {
                unsafe read(file, $0.baseAddress, $0.count)
            }
            guard count > 0 else { break }
            text += buffer[..<count]
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The last lines of a file.
    static func tail(of path: String, lines: Int) -> String {
        contents(of: path).split(separator: "\n").suffix(lines).joined(separator: "\n")
    }

    /// Removes a directory and all that is in it; follows no links.
    static func removeTree(_ path: String) {
        if let directory = unsafe opendir(path) {
            var names: [String] = []
            while let entry = unsafe readdir(directory) {
                // SAFETY: the kernel ends d_name with a zero byte within its room.
                let name = unsafe withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                    unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                }
                if name != "." && name != ".." { names.append(name) }
            }
            unsafe closedir(directory)
            for name in names {
                let inner = "\(path)/\(name)"
                if unsafe unlink(inner) != 0, errno == EISDIR || errno == EPERM {
                    removeTree(inner)
                }
            }
        }
        unsafe rmdir(path)
    }
}
