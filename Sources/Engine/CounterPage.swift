// The engine's counters in a file that others may map: live numbers without asking the engine.

import CNetmap
import Glibc
import Netmap

/// The counter file of one engine (layout: CNetmap/counters.h).
///
/// Owns the mapping; the file stays for the next engine until `remove`. Port and worker areas are handed
/// out as plain handles that must not outlive it.
@safe final class CounterPage {
    let path: String
    private let mapping: Mapping
    private var base: UnsafeMutableRawPointer { unsafe mapping.base }
    private static let capacity = 65_536
    private static let length =
        NM_COUNTERS_PORTS + capacity * MemoryLayout<nm_port_counters>.stride

    /// Goes on with the file of an engine before this one, or makes a new one.
    ///
    /// Who has the file mapped sees the counters of ports that stay go on.
    ///
    /// - Parameters:
    ///   - path: where the file is.
    ///   - kept: the ports whose counters go on, by number; all others start at zero.
    /// - Throws: when the file cannot be made or mapped.
    init(path: String, keeping kept: [UInt16: String] = [:]) throws(SystemError) {
        self.path = path
        let (file, isNew) = try OwnedDescriptor.ownFile(
            path,
            length: CounterPage.length,
            mode: 0o644,
            where: { !kept.isEmpty && CounterPage.isCounterPage($0) }
        )
        mapping = try Mapping(file, length: CounterPage.length)
        unsafe base.storeBytes(
            of: nm_counters_header(
                magic: NM_COUNTERS_MAGIC,
                version: UInt32(NM_COUNTERS_VERSION),
                capacity: UInt32(CounterPage.capacity),
                engine_pid: UInt64(getpid()),
                started: UInt64(time(nil))
            ),
            as: nm_counters_header.self
        )
        if !isNew { clear(file, keeping: kept) }
    }

    /// Removes the file: nobody comes back.
    func remove() { _ = unsafe unlink(path) }

    private static func isCounterPage(_ file: OwnedDescriptor) -> Bool {
        var header = nm_counters_header()
        let size = MemoryLayout<nm_counters_header>.size
        return unsafe pread(file.number, &header, size, 0) == size
            && header.magic == NM_COUNTERS_MAGIC && header.version == UInt32(NM_COUNTERS_VERSION)
            && header.capacity == UInt32(capacity)
    }

    /// Zeroes everything but the ports in `kept`, touching only what is not a hole.
    private func clear(_ file: OwnedDescriptor, keeping kept: [UInt16: String]) {
        let stride = MemoryLayout<nm_port_counters>.stride
        unsafe memset(base + NM_COUNTERS_WORKERS, 0, NM_COUNTERS_PORTS - NM_COUNTERS_WORKERS)
        var from = Int64(NM_COUNTERS_PORTS)
        var start: Int64 = 0
        var end: Int64 = 0
        while unsafe nm_file_data(file.number, from, &start, &end) == 1, end > from {
            let first = (Int(max(start, from)) - NM_COUNTERS_PORTS) / stride
            let last = min(
                (Int(end) - NM_COUNTERS_PORTS + stride - 1) / stride,
                CounterPage.capacity
            )
            for number in first..<max(first, last) {
                let page = unsafe port(UInt16(number))
                guard let name = kept[UInt16(number)], unsafe CounterPage.name(page) == name else {
                    unsafe memset(page, 0, stride)
                    continue
                }
            }
            from = end
        }
    }

    private static func name(_ page: UnsafeMutablePointer<nm_port_counters>) -> String {
        unsafe withUnsafeBytes(of: &page.pointee.name) {
            unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
    }

    /// The counters of worker `index`.
    func worker(_ index: Int) -> UnsafeMutablePointer<nm_worker_counters> {
        precondition((0..<NM_COUNTERS_MAX_WORKERS).contains(index))
        // SAFETY: inside the mapping by the precondition.
        return unsafe (base + NM_COUNTERS_WORKERS).assumingMemoryBound(
            to: nm_worker_counters.self
        ) + index
    }

    private func port(_ number: UInt16) -> UnsafeMutablePointer<nm_port_counters> {
        // SAFETY: any 16-bit number is inside the mapping.
        unsafe (base + NM_COUNTERS_PORTS).assumingMemoryBound(to: nm_port_counters.self)
            + Int(number)
    }

    /// The counters of port number `number`, named; zeroed, unless they are kept from the engine
    /// before this one and were this port's then.
    func claim(
        _ number: UInt16,
        name: String,
        keeping: Bool = false
    ) -> UnsafeMutablePointer<nm_port_counters> {
        let page = unsafe port(number)
        if keeping, unsafe CounterPage.name(page) == String(name.prefix(39)) { return unsafe page }
        unsafe memset(page, 0, MemoryLayout<nm_port_counters>.stride)
        let bytes = Array(name.utf8.prefix(39))
        unsafe memcpy(page, bytes, bytes.count)
        return unsafe page
    }

    /// Marks a port number as free.
    func release(_ number: UInt16) { _ = unsafe claim(number, name: "") }
}
