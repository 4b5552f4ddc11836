// The state on disk: replaced as a whole by a rename, so that a reader finds the old one or the new
// one, whenever the engine was killed.

import CNetmap
import Control
import Glibc
import Logging
import Netmap

/// `state.json` in the runtime directory.
struct StateFile {
    let path: String
    private static let maximumSize = 64 << 20

    /// What the engine before this one left.
    ///
    /// A file that cannot be used is renamed, so that somebody may look at it, and is as good as none.
    func read(logger: Logger) -> EngineState {
        let number = unsafe nm_open_own(path, 0)
        if number == -ENOENT { return EngineState() }
        do throws(EngineState.Damage) {
            guard number >= 0 else {
                let reason = SystemError("open", result: number).description
                throw EngineState.Damage(description: "it is not a file of ours (\(reason))")
            }
            return try EngineState(text: contents(OwnedDescriptor(number)))
        } catch {
            let aside = path + ".damaged"
            _ = unsafe rename(path, aside)
            logger.error(
                """
                starting without the ports of before: \(path) cannot be used, because \
                \(error.description); it is now \(aside), and 'wirevale port add' makes ports anew
                """
            )
            return EngineState()
        }
    }

    private func contents(_ file: OwnedDescriptor) throws(EngineState.Damage) -> [UInt8] {
        let size = nm_file_size(file.number)
        guard size <= Int64(StateFile.maximumSize) else {
            throw EngineState.Damage(description: "it has \(size) bytes")
        }
        var bytes = [UInt8](repeating: 0, count: Int(max(0, size)))
        let count = unsafe pread(file.number, &bytes, bytes.count, 0)
        return Array(bytes.prefix(max(0, count)))
    }

    /// Replaces the file.
    func write(_ state: EngineState) throws(SystemError) {
        let draft = path + ".new"
        _ = unsafe unlink(draft)
        let file = OwnedDescriptor(
            try SystemError.check(unsafe nm_open_own(draft, 0o600), "create \(draft)")
        )
        var rest = state.json.line[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes {
                unsafe Glibc.write(file.number, $0.baseAddress, $0.count)
            }
            guard count > 0 else { throw SystemError("write \(draft)", result: -errno) }
            rest = rest.dropFirst(count)
        }
        guard unsafe rename(draft, path) == 0 else {
            throw SystemError("rename \(draft)", result: -errno)
        }
    }

    /// Removes the file: there is nothing to come back to.
    func remove() { _ = unsafe unlink(path) }
}
