// The records of a port's packed rings, in a file: the next engine goes on where this one ended.

import CNetmap
import Netmap
import VhostUser

/// A mapped file with a record for each ring of a port.
///
/// Owns the mapping, not the file: that stays for the next engine until the port is removed.
final class RecordFile {
    private let mapping: Mapping
    private static let length = 2 * Session.maximumQueuePairs * NM_RECORD_STRIDE

    /// Opens the file, or makes it with records of no ring.
    init(path: String) throws(SystemError) {
        let (file, _) = try OwnedDescriptor.ownFile(path, length: RecordFile.length)
        mapping = try Mapping(file, length: RecordFile.length)
    }

    /// The record of ring `index` for the front-end of process `owner`.
    ///
    /// What was noted of another front-end's ring says nothing of this one's.
    func record(_ index: Int, owner: Int32) -> RingRecord {
        // SAFETY: below the number of rings that a session knows, which the length is made of.
        let record = unsafe RingRecord(unsafeBase: mapping.base + index * NM_RECORD_STRIDE)
        if record.owner != UInt32(bitPattern: owner) { record.end() }
        record.owner = UInt32(bitPattern: owner)
        return record
    }
}
