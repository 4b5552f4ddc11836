// Reading and replacing whole files, and looking into directories: what configuration needs of a file system.

internal import Glibc

enum FileAccess {
    /// Why a file cannot be had, in the C library's words.
    struct Failure: Error {
        let description: String
        let isMissing: Bool

        init(_ description: String, isMissing: Bool = false) {
            self.description = description
            self.isMissing = isMissing
        }

        init(errno code: Int32) {
            self.init(ErrorText.of(code), isMissing: code == ENOENT)
        }
    }

    /// The bytes of a file of limited size.
    static func read(_ path: String, atMost limit: Int) -> Result<[UInt8], Failure> {
        // Not to wait for the other end of a FIFO.
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { return .failure(Failure(errno: errno)) }
        defer { close(file) }
        var status = stat()
        guard unsafe fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            return .failure(Failure("it is no file"))
        }
        return read(descriptor: file, atMost: limit)
    }

    /// What a descriptor yields until its end.
    static func read(descriptor: Int32, atMost limit: Int) -> Result<[UInt8], Failure> {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            // SAFETY: the buffer is alive during the call and its length is passed with it.
            let count = unsafe buffer.withUnsafeMutableBytes {
                unsafe Glibc.read(descriptor, $0.baseAddress, $0.count)
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { return .failure(Failure(errno: errno)) }
            if count == 0 { return .success(bytes) }
            bytes += buffer[..<count]
            guard bytes.count <= limit else {
                return .failure(Failure("it has more than \(limit) bytes"))
            }
        }
    }

    /// Replaces a file as a whole, so that a reader finds the old or the new one.
    ///
    /// - Returns: why that was not possible.
    static func replace(_ path: String, with bytes: [UInt8]) -> String? {
        let draft = "\(path).\(getpid())"
        _ = unsafe unlink(draft)
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW
        let file = unsafe open(draft, flags, 0o600)
        guard file >= 0 else { return ErrorText.of(errno) }
        defer { close(file) }
        var rest = bytes[...]
        while !rest.isEmpty {
            // SAFETY: the bytes are alive during the call and their count is passed with them.
            let count = unsafe rest.withUnsafeBytes {
                unsafe Glibc.write(file, $0.baseAddress, $0.count)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return ErrorText.of(errno) }
            rest = rest.dropFirst(count)
        }
        return unsafe rename(draft, path) == 0 ? nil : ErrorText.of(errno)
    }

    /// The names in a directory, sorted; none if it cannot be read.
    static func names(in directory: String) -> [String] {
        guard let stream = unsafe opendir(directory) else { return [] }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        // SAFETY: an entry is valid until the next call, and its name ends with a zero.
        while let entry = unsafe readdir(stream) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { tuple in
                unsafe tuple.withMemoryRebound(to: CChar.self, capacity: 256) {
                    unsafe String(cString: $0)
                }
            }
            names.append(name)
        }
        return names.sorted()
    }

    /// Whether there is a directory of that name.
    static func isDirectory(_ path: String) -> Bool {
        let file = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard file >= 0 else { return false }
        close(file)
        return true
    }

    /// The path from the root, without looking at anything.
    static func absolute(_ path: String) -> String { RuntimeDirectory(path: path).path }
}
