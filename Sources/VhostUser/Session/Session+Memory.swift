// Guest memory: the table, its slots, the dirty log, and the device's IOTLB.

import CNetmap
import Netmap

extension Session {
    mutating func setMemoryTable(
        _ payload: inout Payload,
        _ files: [OwnedDescriptor],
        _ controller: inout some RingController
    ) throws(SessionError) {
        guard let count = payload.u32(), payload.u32() != nil, count <= 8,
            payload.count == 8 + 32 * Int(count)
        else { throw SessionError("a memory table of \(payload.count) bytes") }
        let table = (0..<count).compactMap { _ in payload.region() }
        guard files.count == table.count else {
            throw SessionError("\(table.count) memory regions but \(files.count) files")
        }
        // The same table again, while rings run, changes nothing (QEMU sends it once per pair).
        if hasMemory, table == regions, rings.contains(where: \.isRunning) { return }
        try setMemory(table, files, &controller)
    }

    mutating func addRegion(
        _ payload: inout Payload,
        _ files: [OwnedDescriptor],
        _ controller: inout some RingController
    ) throws(SessionError) {
        let region = try slot(&payload)
        try files.expect(1)
        // QEMU 7.2 repeats both requests for every queue pair: the second time there is nothing to do.
        guard place(of: region) == nil else { return }
        try setMemory(regions + [region], memoryFiles + files, &controller)
    }

    mutating func removeRegion(
        _ payload: inout Payload,
        _ controller: inout some RingController
    ) throws(SessionError) {
        guard let known = place(of: try slot(&payload)) else { return }
        var (table, kept) = (regions, memoryFiles)
        table.remove(at: known)
        kept.remove(at: known)
        try setMemory(table, kept, &controller)
    }

    private func slot(_ payload: inout Payload) throws(SessionError) -> MemoryRegion {
        guard payload.count == 40, payload.u64() != nil, let region = payload.region() else {
            throw SessionError("\(payload.count) bytes of memory region, expected 40")
        }
        return region
    }

    private func place(of region: MemoryRegion) -> Int? {
        regions.firstIndex {
            $0.guestAddress == region.guestAddress && $0.userAddress == region.userAddress
                && $0.size == region.size
        }
    }

    /// Replaces all memory, around a stop and a start of whatever runs.
    private mutating func setMemory(
        _ table: [MemoryRegion],
        _ files: [OwnedDescriptor],
        _ controller: inout some RingController
    ) throws(SessionError) {
        let running = stopAll(&controller)
        if !table.isEmpty {
            do throws(SessionError) {
                try controller.map(table, files)
            } catch {
                // The old memory is still there, and so are the rings in it.
                try start(running, &controller)
                throw error
            }
        }
        hasMemory = !table.isEmpty
        regions = table
        memoryFiles = files
        // What is translated is translated to addresses in this memory.
        if features & Feature.accessPlatform != 0 { controller.setTranslations(iotlb) }
        // Slots are replaced one by one: a ring whose memory is not there now waits until it is.
        for index in running { rings[index].waitsForMemory = true }
        try startWaiting(&controller)
    }

    /// Starts the rings that have been waiting for their memory, if it is there now.
    private mutating func startWaiting(
        _ controller: inout some RingController
    ) throws(SessionError) {
        for index in rings.indices where rings[index].waitsForMemory {
            try startIfReady(index, &controller)
        }
    }

    /// Where the three areas of a ring lie in the front-end's address space.
    ///
    /// - Returns: nil while a part of them is not there: a ring that has been running before waits for
    ///   memory, and behind an IOMMU translations that are missing were asked for.
    mutating func locate(
        _ ring: RingState,
        _ controller: inout some RingController
    ) -> (descriptors: [UserRange], available: [UserRange], used: [UserRange])? {
        guard let table = ring.descriptors else { return nil }
        let isPacked = features & Feature.packedRing != 0
        let sizes = RingSetup.areas(ring.size, isPacked: isPacked)
        let areas: [(address: UInt64, length: Int, access: Translation.Access)] = [
            (table, sizes.descriptors, isPacked ? [.read, .write] : .read),
            (ring.available, sizes.available, .read), (ring.used, sizes.used, .write),
        ]
        var found: [[UserRange]] = []
        if features & Feature.accessPlatform != 0 {
            for area in areas {
                switch iotlb.pieces(area.address, area.length, area.access) {
                case .found(let pieces): found.append(pieces)
                case .missing(let pages):
                    for page in pages {
                        miss(page, isWrite: area.access.contains(.write), &controller)
                    }
                }
            }
        } else {
            found = areas.map { [UserRange(address: $0.address, length: $0.length)] }
        }
        let isThere = found.joined().allSatisfy { range in
            regions.contains { region in
                let offset = range.address &- region.userAddress
                return offset < region.size && UInt64(range.length) <= region.size - offset
            }
        }
        // Without an IOMMU, the first start of a ring outside all memory is an error that `start` finds.
        guard found.count == 3, isThere || !ring.waitsForMemory else { return nil }
        return (found[0], found[1], found[2])
    }

    // MARK: IOTLB

    /// IOTLB_MSG: a translation is there, or is not to be used any more.
    mutating func changeTranslation(
        _ payload: inout Payload,
        _ controller: inout some RingController
    ) throws(SessionError) {
        guard payload.count == Translation.messageLength, let address = payload.u64(),
            let size = payload.u64(), let user = payload.u64(), let access = payload.u8(),
            let type = payload.u8()
        else {
            throw SessionError("\(payload.count) bytes of translation, expected 32")
        }
        guard features & Feature.accessPlatform != 0 else {
            throw SessionError("a translation, though the driver did not accept access_platform")
        }
        switch type {
        case 2:
            let entry = Translation(
                address: address,
                size: size,
                userAddress: user,
                access: Translation.Access(rawValue: access & 3)
            )
            guard entry.isValid else {
                throw SessionError("a translation of \(size) bytes that wraps around")
            }
            iotlb.insert(entry)
            forgetAsked(entry.address, entry.last)
            controller.setTranslations(iotlb)
            try startWaiting(&controller)
        case 3:
            // A range that ends with the address space has a size that does not fit.
            let (end, overflow) = address.addingReportingOverflow(size)
            let last = overflow || size == 0 ? .max : end - 1
            iotlb.remove(address, through: last)
            forgetAsked(address, last)
            // Rings first: what they lie in must not be used after the reply.
            for index in rings.indices where rings[index].isRunning && !isTranslated(rings[index]) {
                stop(index, &controller)
                rings[index].waitsForMemory = true
            }
            controller.setTranslations(iotlb)
            try startWaiting(&controller)
        default:
            throw SessionError("a translation message of type \(type)")
        }
    }

    /// Asks for a translation that a ring or a queue lacks, unless that was done already.
    public mutating func miss(
        _ address: UInt64,
        isWrite: Bool,
        _ controller: inout some RingController
    ) {
        // A device that is being reset needs none, and its front-end has nowhere to look them up.
        if has(ProtocolFeature.status), status == 0 { return }
        // One that is asked for is on its way, or the front-end refuses it.
        let page = address & ~(IOTLB.page - 1) | (isWrite ? 1 : 0)
        guard asked.count < IOTLB.capacity, asked.insert(page).inserted else { return }
        controller.ask(.translationMiss(address: address, isWrite: isWrite))
    }

    /// Asks again for whatever is still missing.
    ///
    /// A page that was asked for while the guest unmapped it gets no answer, and the guest may map it
    /// again. The session has no clock: call this some time after a miss.
    public mutating func repeatMisses(
        _ controller: inout some RingController
    ) throws(SessionError) {
        asked = []
        guard features & Feature.accessPlatform != 0 else { return }
        // The same translations once more make queues look again.
        controller.setTranslations(iotlb)
        try startWaiting(&controller)
    }

    private mutating func forgetAsked(_ first: UInt64, _ last: UInt64) {
        asked = asked.filter { $0 | (IOTLB.page - 1) < first || $0 > last }
    }

    private func isTranslated(_ ring: RingState) -> Bool {
        guard let table = ring.descriptors else { return false }
        let sizes = RingSetup.areas(ring.size, isPacked: features & Feature.packedRing != 0)
        let areas = [
            (table, sizes.descriptors), (ring.available, sizes.available), (ring.used, sizes.used),
        ]
        return areas.allSatisfy { address, length in
            if case .found = iotlb.pieces(address, length, []) { return true }
            return false
        }
    }

    // MARK: Dirty log

    mutating func setLogBase(
        _ payload: inout Payload,
        _ files: [OwnedDescriptor],
        _ controller: inout some RingController
    ) throws(SessionError) {
        guard payload.count == 16, let size = payload.u64(), let offset = payload.u64() else {
            throw SessionError("\(payload.count) bytes of dirty log, expected 16")
        }
        try files.expect(1)
        try withRingsStopped(&controller) { (controller) throws(SessionError) in
            try controller.setLog(files[0], size: size, offset: offset)
        }
    }
}
