// The one question that option checks ask the file system; tests answer it themselves.

internal import Glibc

/// Questions about files.
public enum FileProbe {
    /// Whether something exists at `path`.
    public static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

    /// Whether this process may read and write `path`, found by opening it.
    public static func opens(_ path: String) -> Bool {
        let descriptor = unsafe open(path, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        close(descriptor)
        return true
    }
}
