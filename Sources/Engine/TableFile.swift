// The forwarding table of a switch in a file: stations stay known when the engine is killed and
// comes back, so nothing is flooded that was not before.

import CNetmap
import Glibc
import Netmap
import Vale

/// A mapped table file (layout: CNetmap/fdb.h).
///
/// Owns the mapping, not the file: that stays for the next engine until `remove`. Control thread only;
/// the table made of `storage` is what workers share.
@safe final class TableFile {
    let path: String
    private let mapping: Mapping
    /// Whether what an engine of this boot learned was found.
    let isAdopted: Bool
    private static let capacity = 8192
    private static let length = NM_FDB_ENTRIES + capacity * NM_FDB_ENTRY_SIZE

    /// Opens the file if it is one that this boot's engine can have written, else makes it anew.
    init(path: String, bootID: String = TableFile.bootID) throws(SystemError) {
        self.path = path
        let (file, _) = try OwnedDescriptor.ownFile(path, length: TableFile.length)
        mapping = try Mapping(file, length: TableFile.length)
        let base = unsafe mapping.base
        let header = unsafe base.assumingMemoryBound(to: nm_fdb_header.self)
        isAdopted =
            unsafe header.pointee.magic == NM_FDB_MAGIC && header.pointee.version == 1
            && header.pointee.capacity == UInt32(TableFile.capacity)
            && header.pointee.multiplier & 1 == 1
            && !bootID.isEmpty && TableFile.boot(of: header) == bootID
        guard !isAdopted else { return }
        unsafe memset(base, 0, TableFile.length)
        unsafe header.pointee.version = 1
        unsafe header.pointee.capacity = UInt32(TableFile.capacity)
        unsafe header.pointee.multiplier = UInt64.random(in: .min ... .max) | 1
        unsafe withUnsafeMutableBytes(of: &header.pointee.boot_id) {
            unsafe $0.copyBytes(from: bootID.utf8.prefix($0.count - 1))
        }
        // Last, so that a file without its rest has no magic.
        unsafe nm_store64_release(&header.pointee.magic, NM_FDB_MAGIC)
    }

    /// What a table is made of; it must not outlive this.
    var storage: ForwardingTable.Storage {
        // SAFETY: the file has this length (init) and the header's array has 8 words.
        let base = unsafe mapping.base
        let header = unsafe base.assumingMemoryBound(to: nm_fdb_header.self)
        let statistics =
            unsafe (base + MemoryLayout<nm_fdb_header>.size - 64)
            .assumingMemoryBound(to: UInt64.self)
        return unsafe ForwardingTable.Storage(
            entries: base + NM_FDB_ENTRIES,
            statistics: statistics,
            capacity: TableFile.capacity,
            multiplier: header.pointee.multiplier
        )
    }

    /// Removes the file.
    func remove() { _ = unsafe unlink(path) }

    /// The kernel's name for this boot; empty where it has none.
    static let bootID: String = {
        let file = OwnedDescriptor(unsafe nm_open_read("/proc/sys/kernel/random/boot_id"))
        var bytes = [UInt8](repeating: 0, count: 36)
        guard file.number >= 0, unsafe read(file.number, &bytes, 36) == 36 else { return "" }
        return String(decoding: bytes, as: UTF8.self)
    }()

    private static func boot(of header: UnsafeMutablePointer<nm_fdb_header>) -> String {
        unsafe withUnsafeBytes(of: &header.pointee.boot_id) {
            unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
    }
}
