// The records of a front-end's rings in a file that it keeps for its back-end (`GET_INFLIGHT_FD` and
// `SET_INFLIGHT_FD`, vhost-user-spec 2.6, rule 12). A network device has nothing in flight that it
// would finish in another order, so a record for each ring is all there is.

import CNetmap
public import Netmap

/// The mapped file of records.
@safe public final class InflightRegion {
    private let mapping: Mapping
    private let offset: Int
    private let rings: Int

    /// Bytes for so many rings.
    public static func length(rings: Int) -> Int { rings * NM_RECORD_STRIDE }

    /// Makes a file for so many rings, all zero.
    public static func make(rings: Int) throws(SystemError) -> OwnedDescriptor {
        OwnedDescriptor(
            try SystemError.check(
                unsafe nm_memfd_create("inflight", UInt64(length(rings: rings))),
                "memfd_create"
            )
        )
    }

    /// Maps a file that may come from an engine before this one, or from anywhere.
    public init(
        _ file: OwnedDescriptor,
        rings: Int,
        size: UInt64,
        offset: UInt64
    ) throws(GuestMemoryError) {
        try GuestMemoryError.requireLocal(file, "inflight")
        let needed = InflightRegion.length(rings: rings)
        let (end, overflow) = size.addingReportingOverflow(offset)
        guard !overflow, size >= UInt64(needed), end <= 1 << 40, offset % 8 == 0,
            nm_file_size(file.number) >= Int64(end)
        else {
            throw GuestMemoryError(
                description:
                    "\(size) bytes of inflight file at \(offset); \(rings) rings need \(needed)"
            )
        }
        do throws(SystemError) {
            mapping = try Mapping(file, length: Int(end), isForeign: true)
        } catch {
            throw GuestMemoryError(description: error.description)
        }
        self.offset = Int(offset)
        self.rings = rings
    }

    /// The record of ring `index`, if the file has one.
    public func record(_ index: Int) -> RingRecord? {
        guard index < rings else { return nil }
        // SAFETY: below the length for `rings`, which fits behind `offset` (init).
        return unsafe RingRecord(unsafeBase: mapping.base + offset + index * NM_RECORD_STRIDE)
    }
}
