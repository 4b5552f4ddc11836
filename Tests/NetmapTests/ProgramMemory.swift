// A bound descriptor's memory, read with the published layout and nothing else (netmap-spec 1.4).

import CNetmap
import Glibc
@testable import Netmap
import Testing

@safe final class ProgramMemory {
    let attachment: nm_attachment
    private let region: Mapping
    private let control: Mapping

    init(_ attachment: nm_attachment, region: OwnedDescriptor, control: OwnedDescriptor) throws {
        self.attachment = attachment
        self.region = try Mapping(region, length: Int(attachment.region_size))
        self.control = try Mapping(control, length: Int(attachment.control_size))
    }

    var interface: Int { Int(attachment.nifp_offset) }

    func load16(_ at: Int) -> Int { Int(unsafe nm_load16(region.base + check(at))) }
    func load32(_ at: Int) -> Int { Int(unsafe nm_load32(region.base + check(at))) }
    func load64(_ at: Int) -> Int {
        Int(Int64(bitPattern: unsafe nm_load64(region.base + check(at))))
    }
    func store32(_ value: Int, _ at: Int) {
        unsafe nm_store32(region.base + check(at), UInt32(truncatingIfNeeded: value))
    }

    private func check(_ at: Int) -> Int {
        precondition(at >= 0 && at + 8 <= region.length)
        return at
    }

    var txRings: Int { load32(interface + 24) }
    var rxRings: Int { load32(interface + 28) }
    var extraHead: Int {
        get { load32(interface + 32) }
        set { store32(newValue, interface + 32) }
    }
    var hostTxRings: Int { load32(interface + 36) }
    var hostRxRings: Int { load32(interface + 40) }
    var name: String {
        var bytes: [UInt8] = []
        for at in interface..<interface + 16 {
            bytes.append(UInt8(load32(at & ~3) >> (at % 4 * 8) & 255))
        }
        return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    /// ring_ofs[].
    var places: [Int] {
        (0..<txRings + hostTxRings + rxRings + hostRxRings).map { load64(interface + 56 + 8 * $0) }
    }

    /// Where a ring is in the region; 0 in ring_ofs says that it is not bound.
    func transmit(_ ring: Int) -> Int? { place(ring) }
    func receive(_ ring: Int) -> Int? { place(txRings + hostTxRings + ring) }
    private func place(_ place: Int) -> Int? {
        let offset = places[place]
        return offset == 0 ? nil : interface + offset
    }

    func slots(_ ring: Int) -> Int { load32(ring + 8) }
    func buffer(_ ring: Int, _ slot: Int) -> Int { load32(ring + 256 + 16 * slot) }
    func setBuffer(_ buffer: Int, _ ring: Int, _ slot: Int) {
        store32(buffer, ring + 256 + 16 * slot)
    }
    func buffers(_ ring: Int) -> [Int] { (0..<slots(ring)).map { buffer(ring, $0) } }
    func length(_ ring: Int, _ slot: Int) -> Int { load16(ring + 256 + 16 * slot + 4) }
    func bufferAt(_ index: Int) -> Int {
        Int(attachment.buffer_offset) + index * Int(attachment.buffer_size)
    }

    /// The list of extra buffers, as a program walks through it.
    var extraBuffers: [Int] {
        var list: [Int] = []
        var next = extraHead
        while next != 0, list.count < 100_000 {
            list.append(next)
            next = load32(bufferAt(next))
        }
        return list
    }

    /// A field of a kring; `ring` counts from the control file's beginning.
    func kring(_ ring: Int, _ field: Int) -> Int {
        precondition(128 + 128 * ring + field + 4 <= control.length)
        return Int(unsafe nm_load32(control.base + 128 + 128 * ring + field))
    }
    func setKring(_ value: Int, _ ring: Int, _ field: Int) {
        precondition(128 + 128 * ring + field + 4 <= control.length)
        unsafe nm_store32(
            control.base + 128 + 128 * ring + field,
            UInt32(truncatingIfNeeded: value)
        )
    }
}
