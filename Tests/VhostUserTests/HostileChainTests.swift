// What a guest can do to descriptor chains (vhost-user-spec 2.10). After each attack the queue has
// stopped itself with the right reason, or the frame was counted and given back; nothing outside the
// guest's memory was touched (`GuestRAM` traps or notices).

import Netmap
import TestSupport
import Testing

@testable import VhostUser

@Suite("A hostile driver's chains")
struct HostileChainTests {
    @Test("who makes a chain that never ends stops his queue", arguments: everyQueue)
    func loops(format: Format, direction: Direction) throws {
        for length in [0, 1, 100, 4096] {
            // A split chain loops; a packed one goes on until it has been all around the ring.
            for count in format == .split ? [1, 2, 16] : [16] {
                try expectFault(.chainLength, format, direction) { guest, driver, flags in
                    let cell = Cell(guest.buffer, length, flags)
                    driver.ring.add([Cell](repeating: cell, count: count), isOpen: true)
                }
            }
        }
    }

    @Test("who makes an indirect table that loops stops his queue", arguments: Direction.allCases)
    func indirectLoops(direction: Direction) throws {
        for length in [0, 1, 100] {
            try expectFault(.chainLength, .split, direction) { guest, driver, flags in
                let table = driver.indirectTables
                driver.split.write(guest.buffer, length, flags | 1, 1, at: table)
                driver.split.write(guest.buffer, length, flags | 1, 0, at: table + 16)
                driver.ring.add([Cell(table, 32, Cell.indirect)])
            }
        }
    }

    @Test(
        "who makes a chain of more buffers than any frame needs stops his queue",
        arguments: everyQueue
    )
    func longChain(format: Format, direction: Direction) throws {
        var guest = try HostileGuest(format, size: 2048)
        let cell = Cell(guest.buffer, 1, direction.flags)
        guest.driver(direction).ring.add([Cell](repeating: cell, count: 1025))
        guest.driver(direction).publish()
        #expect(guest.visit(direction) == 0)
        #expect(guest.queue(direction).fault == .chainLength)
        #expect(guest.ram.canariesAreIntact)
    }

    @Test(
        "who fills his ring with one chain is served, and one more would be a loop",
        arguments: everyQueue
    )
    func fullRing(format: Format, direction: Direction) throws {
        for size: UInt16 in format == .split ? [1, 2, 16] : [1, 2, 3, 16, 21] {
            var guest = try HostileGuest(format, size: size)
            let cell = Cell(guest.buffer, 200, direction.flags)
            let driver = guest.driver(direction)
            for lap in 0..<5 {
                driver.ring.add([Cell](repeating: cell, count: Int(size)))
                driver.publish()
                #expect(guest.visit(direction) == 1, "size \(size), lap \(lap)")
                #expect(driver.poll().count == 1, "size \(size), lap \(lap)")
            }
            driver.ring.add([Cell](repeating: cell, count: Int(size)), isOpen: true)
            driver.publish()
            #expect(guest.visit(direction) == 0)
            #expect(guest.queue(direction).fault == .chainLength)
        }
    }

    @Test(
        "who offers a descriptor behind the end of the table stops his queue",
        arguments: Direction.allCases
    )
    func heads(direction: Direction) throws {
        for head: UInt16 in [16, 17, 255, 32_768, 65_535] {
            try expectFault(.descriptorIndex, .split, direction) { _, driver, _ in
                driver.split.offer(head)
            }
            try expectFault(.descriptorIndex, .split, direction) { guest, driver, flags in
                driver.split.set(2, guest.buffer, 4, flags: flags | 1, next: head)
                driver.split.offer(2)
            }
            try expectFault(.descriptorIndex, .split, direction) { guest, driver, flags in
                let table = driver.indirectTables
                driver.split.write(guest.buffer, 4, flags | 1, head, at: table)
                driver.ring.add([Cell(table, 32, Cell.indirect)])
            }
        }
    }

    @Test("who makes up buffer ids gets them back as they are", arguments: Direction.allCases)
    func bufferIDs(direction: Direction) throws {
        var guest = try HostileGuest(.packed)
        let driver = guest.driver(direction)
        let ids: [UInt16] = [0, 15, 16, 17, 255, 32_767, 32_768, 65_535, 65_535, 0]
        for id in ids {
            let cell = Cell(guest.buffer, 600, direction.flags)
            driver.packed.add([cell], id: id, isOpen: false)
        }
        driver.publish()
        for _ in 0..<(direction == .transmit ? 1 : ids.count) {
            #expect(guest.visit(direction) == (direction == .transmit ? ids.count : 1))
        }
        #expect(driver.poll().map(\.id) == ids)
        #expect(guest.queue(direction).fault == .none)
        #expect(guest.ram.canariesAreIntact)
    }

    @Test("whose chains overlap on the ring gets no more than a batch at a time")
    func overlappingChains() throws {
        var guest = try HostileGuest(.packed, size: 4)
        let ring = guest.transmit.packed
        let cell = Cell(guest.buffer, 100)
        // Every descriptor says that another follows but one, so each chain but the first goes
        // through descriptors of others, and all of them look available in this lap.
        ring.add([cell, cell, cell], isOpen: false)
        ring.add([cell], isOpen: true)
        guest.transmit.publish()
        #expect(guest.visit(.transmit) == 2)
        #expect(guest.source.fault == .none)
        for _ in 0..<20 { #expect(guest.visit(.transmit) <= 64) }
        #expect(guest.ram.canariesAreIntact)
    }

    @Test("who mixes up the directions stops his queue", arguments: everyQueue)
    func direction(format: Format, direction: Direction) throws {
        try expectFault(.direction, format, direction) { guest, driver, flags in
            driver.ring.add([Cell(guest.buffer, 1600, flags ^ Cell.writable)])
        }
        try expectFault(.direction, format, direction) { guest, driver, flags in
            driver.ring.add([
                Cell(guest.buffer, 20, flags), Cell(guest.buffer, 1600, flags ^ Cell.writable),
            ])
        }
        try expectFault(.direction, format, direction) { guest, driver, flags in
            let table = driver.indirectTables
            driver.ring.writeTable([Cell(guest.buffer, 1600, flags ^ Cell.writable)], at: table)
            // The flag on the pointing descriptor says nothing.
            driver.ring.add([Cell(table, 16, Cell.indirect | flags)])
        }
    }

    @Test(
        "whose frame is longer than 4 GB in sum gets it back and is counted",
        arguments: Format.allCases
    )
    func giantChain(format: Format) throws {
        var guest = try HostileGuest(format, size: 1024, memory: 8 << 20)
        let cell = Cell(guest.ram.start, 8 << 20)
        guest.transmit.ring.add([Cell](repeating: cell, count: 1024))
        guest.transmit.publish()
        #expect(guest.visit(.transmit) == 0)
        #expect(guest.worker.received.drops == ["oversize": 1])
        #expect(guest.source.fault == .none)
        #expect(guest.transmit.poll().count == 1)
    }

    @Test(
        "whose buffers have no length at all sends nothing, and is counted",
        arguments: Format.allCases
    )
    func emptyFrames(format: Format) throws {
        var guest = try HostileGuest(format)
        for count in [1, 2, 7] {
            guest.transmit.ring.add([Cell](repeating: Cell(guest.buffer, 0), count: count))
        }
        // Where a buffer of no bytes would be does not matter.
        guest.transmit.ring.add([Cell(.max, 0), Cell(guest.buffer, 76)])
        guest.transmit.publish()
        #expect(guest.visit(.transmit) == 1)
        #expect(guest.worker.received.drops == ["malformed": 3])
        #expect(guest.transmit.poll().count == 4)
        #expect(guest.source.fault == .none)
    }
}
