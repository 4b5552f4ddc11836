// The engine's counters in a file that others may map: live numbers without asking the engine.

import CNetmap
import Glibc
import Netmap

/// The counter file of one engine (layout: CNetmap/counters.h).
///
/// Owns file and mapping. Port and worker areas are handed out as plain handles that must not
/// outlive it.
@safe final class CounterPage {
    let path: String
    private let base: UnsafeMutableRawPointer
    private static let capacity = 65_536
    private static let length =
        NM_COUNTERS_PORTS + capacity * MemoryLayout<nm_port_counters>.stride

    /// Makes the file, replacing one that a dead engine left.
    init(path: String) throws(SystemError) {
        self.path = path
        _ = unsafe unlink(path)
        let file = unsafe OwnedDescriptor(
            try SystemError.check(creat(path, 0o644), "create \(path)", errno: true)
        )
        // Sparse: only the pages of ports that exist take memory.
        _ = try SystemError.check(
            ftruncate(file.number, CounterPage.length),
            "ftruncate \(path)",
            errno: true
        )
        let writable = OwnedDescriptor(
            try SystemError.check(unsafe nm_open_read_write(path), "open \(path)")
        )
        // SAFETY: a fresh file of this length that only this process can write.
        guard
            let base = unsafe mmap(
                nil,
                CounterPage.length,
                PROT_READ | PROT_WRITE,
                MAP_SHARED,
                writable.number,
                0
            ),
            unsafe base != MAP_FAILED
        else { throw SystemError("mmap \(path)", result: -Glibc.errno) }
        unsafe self.base = unsafe base
        unsafe base.storeBytes(
            of: nm_counters_header(
                magic: NM_COUNTERS_MAGIC,
                version: 1,
                capacity: UInt32(CounterPage.capacity),
                engine_pid: UInt64(getpid()),
                started: UInt64(time(nil))
            ),
            as: nm_counters_header.self
        )
    }

    deinit {
        unsafe munmap(base, CounterPage.length)
        _ = unsafe unlink(path)
    }

    /// The counters of worker `index`.
    func worker(_ index: Int) -> UnsafeMutablePointer<nm_worker_counters> {
        precondition((0..<NM_COUNTERS_MAX_WORKERS).contains(index))
        // SAFETY: inside the mapping by the precondition.
        return unsafe (base + NM_COUNTERS_WORKERS).assumingMemoryBound(
            to: nm_worker_counters.self
        ) + index
    }

    /// The counters of port number `number`, zeroed and named.
    func claim(_ number: UInt16, name: String) -> UnsafeMutablePointer<nm_port_counters> {
        // SAFETY: any 16-bit number is inside the mapping.
        let page =
            unsafe (base + NM_COUNTERS_PORTS).assumingMemoryBound(
                to: nm_port_counters.self
            ) + Int(number)
        unsafe memset(page, 0, MemoryLayout<nm_port_counters>.stride)
        let bytes = Array(name.utf8.prefix(39))
        unsafe memcpy(page, bytes, bytes.count)
        return unsafe page
    }

    /// Marks a port number as free.
    func release(_ number: UInt16) { _ = unsafe claim(number, name: "") }
}

extension SystemError {
    /// Checks a libc call that returns -1 and sets errno.
    static func check(
        _ result: Int32,
        _ operation: @autoclosure () -> String,
        errno: Bool
    ) throws(SystemError) -> Int32 {
        let code = Glibc.errno
        guard result >= 0 else { throw SystemError(operation(), result: -code) }
        return result
    }
}
