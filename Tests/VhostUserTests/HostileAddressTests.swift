// What a guest can do with addresses and with indirect tables (vhost-user-spec 2.10).

import Netmap
import TestSupport
import Testing

@testable import VhostUser

@Suite("A hostile driver's addresses")
struct HostileAddressTests {
    @Test("who gives a buffer outside his memory stops his queue", arguments: everyQueue)
    func addresses(format: Format, direction: Direction) throws {
        let ram = try HostileGuest(format).ram
        let firstEnd = ram.start + ram.regions[0].size
        let bad: [(UInt64, Int)] = [
            (0, 100), (0, 1600), (ram.start - 1, 1600), (ram.start - 100, 100),
            (firstEnd, 1600), (firstEnd - 1, 1600), (firstEnd - 50, 1600),
            (ram.regions[1].guestAddress - 1, 1600), (ram.end - 1599, 1600), (ram.end, 1600),
            (.max, 1600), (.max - 1599, 1600), (1 << 63, 1600),
            (ram.regions[0].userAddress, 1600), (.max - 0xffff_fffe, 0xffff_ffff),
            (ram.start, 0xffff_ffff), (ram.start + 8, Int(ram.regions[0].size)),
        ]
        for (address, length) in bad {
            // A receiver uses no more than the frame needs of one large buffer.
            let region = ram.regions.first { address &- $0.guestAddress < $0.size }
            let room = region.map { $0.guestAddress + $0.size - address } ?? 0
            if direction == .transmit || room < 112 {
                try expectFault(.address, format, direction) { _, driver, flags in
                    driver.ring.add([Cell(address, length, flags)])
                }
            }
            try expectFault(.address, format, direction) { guest, driver, flags in
                driver.ring.add([Cell(guest.buffer, 20, flags), Cell(address, length, flags)])
            }
            try expectFault(.address, format, direction) { guest, driver, flags in
                let cells = [Cell(guest.buffer, 20, flags), Cell(address, length, flags)]
                driver.ring.writeTable(cells, at: driver.indirectTables)
                driver.ring.add([Cell(driver.indirectTables, 32, Cell.indirect)])
            }
            guard room < 16 else { continue }
            try expectFault(.address, format, direction) { _, driver, _ in
                driver.ring.add([Cell(address, 1600, Cell.indirect)])
            }
        }
    }

    @Test("who gives a malformed indirect table stops his queue", arguments: everyQueue)
    func indirect(format: Format, direction: Direction) throws {
        for length in [0, 1, 15, 17, 24, 16 * 1025, 0xffff_fff0, 0xffff_ffff] {
            try expectFault(.indirect, format, direction) { _, driver, _ in
                driver.ring.add([Cell(driver.indirectTables, length, Cell.indirect)])
            }
        }
        // A table that is not the end of its chain.
        try expectFault(.indirect, format, direction) { guest, driver, flags in
            let table = driver.indirectTables
            driver.ring.writeTable([Cell(guest.buffer, 1600, flags)], at: table)
            driver.ring.add([Cell(table, 16, Cell.indirect), Cell(guest.buffer, 1600, flags)])
        }
    }

    @Test(
        "who puts an indirect table into an indirect table stops his queue",
        arguments: everyQueue
    )
    func nested(format: Format, direction: Direction) throws {
        for index in 0..<3 {
            try expectFault(.indirect, format, direction) { guest, driver, flags in
                let table = driver.indirectTables
                var cells = [Cell](repeating: Cell(guest.buffer, 20, flags), count: 3)
                cells[index] = Cell(table, 32, Cell.indirect)
                driver.ring.writeTable(cells, at: table)
                driver.ring.add([Cell(table, 48, Cell.indirect)])
            }
        }
    }

    @Test("may use an indirect table that is longer than the ring", arguments: Format.allCases)
    func longIndirectTable(format: Format) throws {
        let driver = MockDriver(
            format,
            try GuestRAM([1 << 17]),
            size: 4,
            features: Feature.modern,
            sliceCount: 1,
            sliceSize: 8192,
            tableEntries: 1024
        )
        let queue = driver.makeQueue()
        var worker = Worker()
        driver.post([Int](repeating: 3, count: 1024), direct: 0)
        driver.publish()
        #expect(worker.collect(queue).map(\.frame.count) == [3 * 1024 - 12])
        #expect(queue.fault == .none)
    }

    @Test(
        "who crosses a hole between his regions stops his queue, and at a seam does not",
        arguments: everyQueue
    )
    func seams(format: Format, direction: Direction) throws {
        for hole: UInt64 in [0, 4096] {
            let ram = try GuestRAM([0x8000, 0x8000], hole: hole)
            let driver = MockDriver(format, ram, size: 4, features: Feature.modern, sliceCount: 1)
            let queue = driver.makeQueue()
            var worker = Worker()
            var random = Seeded(3)
            let frame = makeFrame(1, length: 500, using: &random)
            let seam = ram.start + 0x8000
            if hole == 0 { ram.write([UInt8](repeating: 0, count: 12) + frame, at: seam - 256) }
            driver.ring.add([Cell(seam - 256, 512, direction.flags)])
            driver.publish()
            if direction == .transmit {
                #expect(worker.collect(queue).map(\.frame) == (hole == 0 ? [frame] : []))
            } else {
                worker.deliver([frame], to: queue)
                #expect(worker.sent.counters.packets == (hole == 0 ? 1 : 0))
                if hole == 0 { #expect(ram.bytes(at: seam - 244, 500) == frame) }
            }
            #expect(queue.fault == (hole == 0 ? .none : .address))
            #expect(ram.canariesAreIntact)
        }
    }
}
