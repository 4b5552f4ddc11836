// Files of ours that outlive us: the next engine finds them, and nobody else may write to them.

import CNetmap
import Glibc
import Netmap

extension OwnedDescriptor {
    /// Opens our file of exactly `length` bytes at `path`, or makes it anew, all zero.
    ///
    /// - Parameters:
    ///   - path: where it is.
    ///   - length: bytes; a file of another length is not ours any more.
    ///   - mode: permissions of a new one.
    ///   - isUsable: whether what is there can be gone on with; by its length alone, without it.
    /// - Returns: the file, and whether it was made just now.
    /// - Throws: when it cannot be made.
    static func ownFile(
        _ path: String,
        length: Int,
        mode: Int32 = 0o600,
        where isUsable: (OwnedDescriptor) -> Bool = { _ in true }
    ) throws(SystemError) -> (file: OwnedDescriptor, isNew: Bool) {
        let number = unsafe nm_open_own(path, 0)
        if number >= 0 {
            let file = OwnedDescriptor(number)
            if nm_file_size(number) == Int64(length), isUsable(file) { return (file, false) }
        }
        _ = unsafe unlink(path)
        let file = OwnedDescriptor(
            try SystemError.check(unsafe nm_open_own(path, mode), "create \(path)")
        )
        // Sparse: only pages that are written to take memory.
        guard ftruncate(file.number, length) == 0 else {
            throw SystemError("ftruncate \(path)", result: -errno)
        }
        return (file, true)
    }
}
