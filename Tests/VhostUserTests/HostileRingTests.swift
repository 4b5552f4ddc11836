// What a guest can do to the rings themselves (vhost-user-spec 2.10).

import Netmap
import TestSupport
import Testing

@testable import VhostUser

@Suite("A hostile driver's rings")
struct HostileRingTests {
    @Test(
        "who moves avail.idx further than his ring is long stops his queue",
        arguments: Direction.allCases
    )
    func availableIndex(direction: Direction) throws {
        for index: UInt16 in [17, 18, 1000, 0x8000, 0xffff] {
            var guest = try HostileGuest(.split)
            guest.driver(direction).split.setAvailableIndex(index)
            #expect(guest.visit(direction) == 0)
            #expect(guest.queue(direction).fault == .availableIndex)
            #expect(guest.visit(direction) == 0)
            #expect(guest.driver(direction).split.deviceIndex == 0)
        }
        var guest = try HostileGuest(.split)
        for _ in 0..<3 { guest.offerValid(.transmit) }
        #expect(guest.visit(.transmit) == 3)
        // Backwards is a jump ahead, too.
        guest.transmit.split.setAvailableIndex(2)
        #expect(guest.visit(.transmit) == 0)
        #expect(guest.source.fault == .availableIndex)
        let page = CounterPage()
        var batch = FrameBatch()
        guest.source.discard(&batch, counters: page.counters)
        #expect(page.drops.isEmpty)
        #expect(guest.transmit.split.deviceIndex == 3)
    }

    @Test("who jumps with avail.idx in the middle of a batch gets nothing after it")
    func jumpsInBatch() throws {
        var guest = try HostileGuest(.split)
        for _ in 0..<16 { guest.receive.ring.add([Cell(guest.buffer, 256, Cell.writable)]) }
        guest.receive.split.setAvailableIndex(1000)
        var random = Seeded(1)
        let frames = (0..<10).map { makeFrame($0, length: 100, using: &random) }
        guest.worker.deliver(frames, to: guest.sink)
        #expect(guest.sink.fault == .availableIndex)
        #expect(guest.receive.poll().isEmpty)
        #expect(guest.worker.sent.counters.packets == 0)
        #expect(guest.worker.sent.counters.dropped == 10)
    }

    @Test("who stopped his queue moves nothing any more", arguments: everyQueue)
    func staysStopped(format: Format, direction: Direction) throws {
        var guest = try HostileGuest(format)
        let driver = guest.driver(direction)
        driver.ring.add([Cell(1, 1600, direction.flags)])
        driver.publish()
        #expect(guest.visit(direction) == 0)
        // What was wrong is right now, and more is there.
        guest.ram.store64(guest.buffer, at: driver.areas.descriptors)
        for _ in 0..<3 { driver.ring.add([Cell(guest.buffer, 1600, direction.flags)]) }
        driver.publish()
        for _ in 0..<3 { #expect(guest.visit(direction) == 0) }
        #expect(guest.queue(direction).fault == .address)
        #expect(driver.poll().isEmpty)
        // Started again, as a front-end does, it goes on where it was.
        let again = driver.makeQueue(base: guest.queue(direction).base)
        if direction == .transmit {
            #expect(guest.worker.collect(again).count == 4)
        } else {
            guest.worker.deliver([[UInt8](repeating: 7, count: 100)], to: again)
            #expect(driver.poll().count == 1)
        }
    }

    @Test(
        "who breaks his transmit queue in the middle of a batch sent what came before",
        arguments: Format.allCases
    )
    func collectsUpToTheFault(format: Format) throws {
        var guest = try HostileGuest(format)
        for number in 0..<6 {
            guest.transmit.ring.add([Cell(number == 4 ? 7 : guest.buffer, 256)])
        }
        guest.transmit.publish()
        #expect(guest.visit(.transmit) == 4)
        #expect(guest.source.fault == .address)
        #expect(guest.transmit.poll().count == 4)
    }

    @Test("who offers one descriptor many times gets it back as many times")
    func sameHead() throws {
        var guest = try HostileGuest(.split)
        guest.transmit.split.set(9, guest.buffer, 100, flags: 0, next: 0)
        for _ in 0..<16 { guest.transmit.split.offer(9) }
        guest.transmit.publish()
        #expect(guest.visit(.transmit) == 16)
        #expect(guest.transmit.poll().map(\.id) == [UInt16](repeating: 9, count: 16))
    }

    @Test(
        "who rewrites descriptors and header after they were looked at changes nothing that was checked",
        arguments: Format.allCases,
        [[112], [4, 3, 5, 100], [12, 60, 40]]
    )
    func rewritesAfterCheck(format: Format, pieces: [Int]) throws {
        for isIndirect in [false, true] {
            var guest = try HostileGuest(format)
            let other = try HostileGuest(format)
            let driver = guest.transmit
            var random = Seeded(1)
            let frame = makeFrame(1, length: 100, using: &random)
            let header: [UInt8] = [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0]
            let id = driver.post(pieces, direct: isIndirect ? 0 : nil, content: header + frame)
            driver.publish()
            other.offerValid(.receive)
            guest.worker.take(guest.source)
            for index in 0..<UInt64(driver.size) {
                for table in [driver.areas.descriptors, driver.indirectTables] {
                    guest.ram.store64(.max - 4, at: table + 16 * index)
                    // On a packed ring no flags, because those would say who owns it.
                    let word: UInt64 = format == .split ? .max : 0xffff_ffff_ffff
                    guest.ram.store64(word, at: table + 16 * index + 8)
                }
            }
            guest.ram.write([UInt8](repeating: 0xff, count: 12), at: driver.slices)
            guest.worker.give(other.sink)
            guest.source.completeCollected()
            let received = other.receive.pollFrames()
            #expect(received.map(\.header) == [header[..<10] + [1, 0]])
            #expect(received.map(\.frame) == [frame])
            #expect(driver.poll().map(\.id) == [id])
            #expect(guest.ram.canariesAreIntact)
        }
    }

    @Test(
        "whose rings and buffers lie on top of each other harms himself only",
        arguments: Format.allCases
    )
    func overlappingRings(format: Format) throws {
        var random = Seeded(11)
        let isPacked = format == .packed
        let size: UInt16 = isPacked ? 61 : 64
        let sizes = RingSetup.areas(size, isPacked: isPacked)
        for _ in 0..<300 {
            let ram = try GuestRAM([0x4000])
            var worker = Worker()
            var available: [UInt64] = []
            func queue(_ memory: GuestMemory) -> any DeviceQueue {
                let host = unsafe ram.host(ram.start, 0x4000, memory)
                let at = (0..<3).map { _ in 16 * random.below((0x4000 - sizes.descriptors) / 16) }
                available.append(ram.start + UInt64(at[1]))
                return unsafe format.makeQueue(
                    QueueSetup(
                        size: size,
                        descriptors: host + at[0],
                        available: host + at[1],
                        used: host + at[2],
                        base: UInt32(truncatingIfNeeded: random.next()),
                        features: Feature.modern | format.feature,
                        memory: memory
                    )
                )
            }
            ram.write(random.bytes(0x4000), at: ram.start)
            for cell in stride(from: UInt64(0), to: 0x4000, by: 16) where random.chance(70) {
                ram.store64(ram.start + UInt64(random.below(0x4000)), at: ram.start + cell)
                // On a packed ring these are available in one lap or the other.
                let flags: UInt64 = !isPacked ? 0 : random.chance(50) ? 0x80 : 0x8000
                let word = UInt64(random.below(2000)) | flags << 48
                ram.store64(word, at: ram.start + cell + 8)
            }
            let source = queue(ram.memory)
            let sink = queue(try ram.secondMapping())
            for _ in 0..<20 {
                if !isPacked {
                    for (queue, area) in zip([source, sink], available) {
                        let index = UInt16(truncatingIfNeeded: queue.place)
                        ram.store16(index &+ UInt16(random.below(64)), at: area + 2)
                    }
                }
                worker.turn(source, sink)
                _ = source.needsInterrupt()
                _ = sink.needsInterrupt()
                _ = source.arm()
            }
            #expect(ram.canariesAreIntact)
        }
    }
}
