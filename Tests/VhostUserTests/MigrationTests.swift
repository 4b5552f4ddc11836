// What a queue logs while its guest is being migrated: every page that it writes, after it wrote it.

import CNetmap
import Netmap
import TestSupport
import Testing

@testable import VhostUser

@Suite("A queue of a guest that is being migrated")
struct MigrationTests {
    /// A queue that logs, and the log.
    @safe struct Bed {
        let driver: MockDriver
        let log: MigrationLog
        let queue: any DeviceQueue
        /// The part of the ring that the device writes.
        let written: RingArea

        /// A queue whose log has `pages` bits (a multiple of 8), by default one for each page.
        init(
            _ format: Format,
            _ features: UInt64,
            size: UInt16 = 16,
            sliceSize: Int = 3 * 4096,
            pages: Int? = nil
        ) throws {
            let length = MockDriver.footprint(format, size: size, sliceSize: sliceSize)
            let ram = try GuestRAM([(length + 8191) / 4096 * 4096], start: 0x8000)
            driver = MockDriver(
                format,
                ram,
                size: size,
                features: features | Feature.logAll,
                sliceSize: sliceSize
            )
            log = try MigrationLog(((pages ?? Int(ram.end / 4096)) + 7) / 8)
            let sizes = RingSetup.areas(size, isPacked: format == .packed)
            let areas = driver.areas
            let isPacked = format == .packed
            let area =
                isPacked
                ? UserRange(address: ram.user(areas.descriptors), length: sizes.descriptors)
                : UserRange(address: ram.user(areas.used), length: sizes.used)
            written = try RingArea([area], in: ram.memory)
            let pages = try log.pages(written)
            queue = driver.makeQueue(dirty: pages)
        }

        /// The pages of `length` bytes at a guest address.
        func pages(_ address: UInt64, _ length: Int) -> Set<UInt64> {
            Set(address / 4096...(address + UInt64(length) - 1) / 4096)
        }

        /// Those of the part of the ring that the device writes.
        var ring: Set<UInt64> {
            let sizes = RingSetup.areas(driver.size, isPacked: driver.format == .packed)
            return driver.format == .packed
                ? pages(driver.areas.descriptors, sizes.descriptors)
                : pages(driver.areas.used, sizes.used)
        }
    }

    @Test(
        "logs the pages of a frame and of its ring, in any kind of chain, and no others",
        arguments: Format.allCases,
        [Feature.version1, Feature.modern]
    )
    func marksWhatItWrites(format: Format, features: UInt64) throws {
        for (lengths, direct) in [
            ([3000], nil), ([100, 8000], nil), ([100, 8000], 0), ([12, 5000, 6000], 1),
        ] as [([Int], Int?)] {
            let bed = try Bed(format, features)
            var worker = Worker()
            var random = Seeded(1)
            for number in 0..<10 {
                let frame = makeFrame(number, length: 2900, using: &random)
                bed.driver.post(lengths, writable: true, direct: direct)
                bed.driver.publish()
                #expect(bed.log.harvest().isEmpty)
                worker.deliver([frame], to: bed.queue)
                let used = bed.driver.poll()
                #expect(used.map(\.length) == [2912])
                var expected = bed.ring
                var left = 2912
                for piece in used[0].pieces where left > 0 {
                    expected.formUnion(bed.pages(piece.address, min(left, piece.length)))
                    left -= piece.length
                }
                #expect(bed.log.harvest() == expected, "\(lengths) \(direct ?? -1)")
            }
            #expect(bed.log.canariesAreIntact && bed.driver.ram.canariesAreIntact)
        }
    }

    @Test(
        "costs a worker no more than its frame, however much memory its chain names",
        arguments: Format.allCases
    )
    func giantChain(format: Format) throws {
        // 256 pages, named 16 times: what is marked is counted in the bits of 256.
        let bed = try Bed(format, Feature.modern, sliceSize: 1 << 20)
        let cell = Cell(bed.driver.slices, 1 << 20, Cell.writable)
        bed.driver.ring.add(
            [Cell(bed.driver.slices, 12, Cell.writable)] + [Cell](repeating: cell, count: 15)
        )
        bed.driver.publish()
        var worker = Worker()
        worker.deliver([[UInt8](repeating: 1, count: 1000)], to: bed.queue)
        #expect(bed.driver.poll().map(\.length) == [1012])
        #expect(bed.log.harvest() == bed.ring.union(bed.pages(bed.driver.slices, 1000)))
    }

    @Test(
        "logs guest addresses behind an IOMMU, not those that the driver used",
        arguments: Format.allCases
    )
    func marksBehindAnIOMMU(format: Format) throws {
        let features = Feature.modern | Feature.logAll | Feature.accessPlatform
        let ram = try GuestRAM([64 * 4096], start: 0x8000)
        let driver = MockDriver(format, ram, size: 16, features: features)
        // A bit for each page of the guest's, and for those that it only has behind the IOMMU.
        let log = try MigrationLog(64)
        let sizes = RingSetup.areas(16, isPacked: format == .packed)
        let areas = driver.areas
        let written =
            format == .packed
            ? (areas.descriptors, sizes.descriptors) : (areas.used, sizes.used)
        // The ring's pages are the guest's, whatever addresses the driver has for it.
        let ring = try RingArea(
            [UserRange(address: ram.user(written.0), length: written.1)],
            in: ram.memory
        )
        // Two neighbours for the driver; in the guest's memory the second comes first, apart.
        let driverAddress: UInt64 = 300 * 4096
        let pages = [ram.start + 50 * 4096, ram.start + 40 * 4096]
        var iotlb = IOTLB()
        for (k, page) in pages.enumerated() {
            iotlb.insert(
                Translation(
                    address: driverAddress + UInt64(k) * 4096,
                    size: 4096,
                    userAddress: ram.user(page),
                    access: [.read, .write]
                )
            )
        }
        let table = TranslationTable()
        TranslationTable.free(table.replace(iotlb, in: ram.memory))
        let pagesOfRing = try log.pages(ring)
        let queue = unsafe format.makeQueue(
            QueueSetup(
                size: 16,
                descriptors: ram.host(areas.descriptors, sizes.descriptors, ram.memory),
                available: ram.host(areas.available, sizes.available, ram.memory),
                used: ram.host(areas.used, sizes.used, ram.memory),
                base: type(of: driver.ring).firstBase,
                features: driver.features,
                memory: ram.memory,
                dirty: pagesOfRing,
                translations: table
            )
        )
        var worker = Worker()
        var random = Seeded(1)
        let ringPages = Set(written.0 / 4096...(written.0 + UInt64(written.1) - 1) / 4096)
        for (length, touched) in [(1000, pages.prefix(1)), (5000, pages[...])] {
            let frame = makeFrame(7, length: length, using: &random)
            driver.ring.add([Cell(driverAddress, 8192, Cell.writable)])
            driver.publish()
            worker.deliver([frame], to: queue)
            #expect(driver.poll().map(\.length) == [12 + length])
            let bytes = ram.bytes(at: pages[0], 4096) + ram.bytes(at: pages[1], 4096)
            #expect(Array(bytes[12..<12 + length]) == frame)
            #expect(log.harvest() == ringPages.union(touched.map { $0 / 4096 }))
        }
        #expect(log.canariesAreIntact && ram.canariesAreIntact)
        withExtendedLifetime(table) {}
    }

    @Test("logs the ring when it gives back what was sent", arguments: Format.allCases)
    func marksTransmit(format: Format) throws {
        let bed = try Bed(format, Feature.modern)
        var worker = Worker()
        bed.driver.post([76])
        bed.driver.publish()
        #expect(worker.collect(bed.queue).count == 1)
        #expect(bed.log.harvest().isEmpty, "nothing was written yet")
        bed.queue.completeCollected()
        #expect(bed.log.harvest() == bed.ring)
    }

    @Test("delivers to guests whose log is too small for their memory", arguments: Format.allCases)
    func smallLog(format: Format) throws {
        let bed = try Bed(format, Feature.modern, pages: 8)
        var worker = Worker()
        for _ in 0..<8 { bed.driver.post([3000], writable: true) }
        bed.driver.publish()
        worker.deliver([[UInt8](repeating: 1, count: 1000)], to: bed.queue)
        #expect(bed.driver.poll().count == 1)
        #expect(bed.log.harvest().isEmpty)
        #expect(bed.log.canariesAreIntact)
    }

    @Test(
        "logs a page after it wrote it: a front-end that copies what is marked ends with all of it",
        arguments: Format.allCases
    )
    func bitsComeAfterData(format: Format) throws {
        // Large frames: between the first byte and the last there is time to copy the last page.
        let bed = try Bed(format, Feature.version1, size: 4, sliceSize: 1 << 16)
        let ram = bed.driver.ram
        var worker = Worker()
        let destination = Destination(bed.log, ram)
        OtherThread.run({ thread in while !thread.isOver { destination.copyMarked() } }) {
            for number in 0..<2000 {
                let frame = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 65_000)
                bed.driver.post([1 << 16], writable: true)
                bed.driver.publish()
                worker.deliver([frame], to: bed.queue)
                // The guest pauses here: what is marked is copied a last time.
                destination.copyMarked()
                let used = bed.driver.poll()
                guard used.count == 1, destination.has(used[0].pieces[0].address + 12, frame) else {
                    Issue.record("frame \(number) did not arrive at the destination")
                    return
                }
            }
        }
        #expect(destination.pages > 2000)
    }

    /// The front-end: what its guest's memory looks like at the destination.
    private final class Destination: @unchecked Sendable {
        // Unchecked: `lock` is held wherever `copy` and `pages` are used; the rest is constant.
        private let log: MigrationLog
        private let ram: GuestRAM
        private let lock = Lock()
        private var copy: [UInt8]
        /// How many pages were copied.
        private(set) var pages = 0

        /// At first the destination has what the source has.
        init(_ log: MigrationLog, _ ram: GuestRAM) {
            self.log = log
            self.ram = ram
            copy = ram.bytes(at: ram.start, Int(ram.regions[0].size))
        }

        /// Takes what is marked and copies those pages.
        func copyMarked() {
            lock.withLock {
                // At once: whoever marks a page too early must be caught before he writes it.
                log.harvest { page in
                    ram.copy(page * 4096, 4096, into: &copy, at: Int(page * 4096 - ram.start))
                    pages += 1
                }
            }
        }

        /// Whether these bytes are there.
        func has(_ address: UInt64, _ bytes: [UInt8]) -> Bool {
            let offset = Int(address - ram.start)
            return lock.withLock { Array(copy[offset..<offset + bytes.count]) == bytes }
        }
    }
}
