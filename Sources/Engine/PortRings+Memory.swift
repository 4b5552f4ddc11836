// What a port's rings lie in: guest memory, translations, the dirty log, records.

import CNetmap
import Logging
import Netmap
import VhostUser

extension PortRings {
    func map(_ regions: [MemoryRegion], _ files: [OwnedDescriptor]) throws(SessionError) {
        // No ring runs, so nobody uses the old memory; it goes when the new one is in place.
        memory = try refusing { () throws(GuestMemoryError) in
            try GuestMemory(regions, files: files)
        }
    }

    func setTranslations(_ iotlb: IOTLB) {
        let table = translations ?? TranslationTable()
        translations = table
        let old = table.replace(iotlb, in: memory)
        pool.synchronize()
        TranslationTable.free(old)
        // Queues that waited for a translation are not looked at before somebody says so.
        pool.recall()
    }

    func setLog(_ file: OwnedDescriptor, size: UInt64, offset: UInt64) throws(SessionError) {
        log = try refusing { () throws(GuestMemoryError) in
            try DirtyLog(file: file, size: size, offset: offset)
        }
    }

    func makeInflight(
        rings: Int
    ) throws(SessionError) -> (file: OwnedDescriptor, size: UInt64) {
        do throws(SystemError) {
            let file = try InflightRegion.make(rings: rings)
            return (file, UInt64(InflightRegion.length(rings: rings)))
        } catch {
            throw SessionError("\(error)")
        }
    }

    func setInflight(
        _ file: OwnedDescriptor,
        rings: Int,
        size: UInt64,
        offset: UInt64
    ) throws(SessionError) {
        inflight = try refusing { () throws(GuestMemoryError) in
            try InflightRegion(file, rings: rings, size: size, offset: offset)
        }
    }

    private func refusing<Value>(
        _ make: () throws(GuestMemoryError) -> Value
    ) throws(SessionError) -> Value {
        do throws(GuestMemoryError) {
            return try make()
        } catch {
            throw SessionError(error.description, isRefusal: true)
        }
    }

    /// Finds a ring in memory and makes the queue that works on it.
    func makeQueue(
        _ index: Int,
        _ setup: RingSetup
    ) throws(SessionError) -> (PortQueue, [RingArea]) {
        guard let memory else { throw SessionError("no memory to find ring \(index) in") }
        var areas: [RingArea] = []
        for ranges in [setup.descriptors, setup.available, setup.used] {
            do throws(GuestMemoryError) {
                areas.append(try RingArea(ranges, in: memory))
            } catch {
                throw SessionError("ring \(index) \(error.description)")
            }
        }
        var dirty: DirtyPages?
        if setup.features & Feature.logAll != 0, let log {
            // The part that the device writes: the used ring, or all of a packed one.
            dirty = DirtyPages(
                log,
                ring: areas[setup.isPacked ? 0 : 2],
                isRingLogged: setup.isLogged
            )
        }
        if setup.isTranslated, translations == nil { translations = TranslationTable() }
        let queue = unsafe PortQueue.make(
            QueueSetup(
                size: setup.size,
                descriptors: areas[0].host,
                available: areas[1].host,
                used: areas[2].host,
                base: setup.base,
                features: setup.features,
                memory: memory,
                dirty: dirty,
                translations: setup.isTranslated ? translations : nil,
                record: setup.isPacked ? record(of: index) : nil
            ),
            isPacked: setup.isPacked
        )
        return unsafe (queue, areas)
    }

    /// Where to note the place of a packed ring: in the front-end's file, or in our own.
    private func record(of index: Int) -> RingRecord? {
        if let record = inflight?.record(index) { return record }
        if records == nil {
            do throws(SystemError) {
                records = try RecordFile(path: recordPath)
            } catch {
                logger.warning("a packed ring would not survive an end of the engine: \(error)")
            }
        }
        return records?.record(index, owner: peer)
    }

    func conclude(ring index: Int) {
        let record = inflight?.record(index) ?? records?.record(index, owner: peer)
        record?.end()
    }

    /// Whether a file was cut short while it was in use.
    var isTruncated: Bool {
        memory?.isTruncated ?? false
            || rings.values.contains { $0.areas.contains(where: \.isTruncated) }
    }
}
