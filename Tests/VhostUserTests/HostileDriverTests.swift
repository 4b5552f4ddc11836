// What a guest can do to rings, descriptors and headers (vhost-user-spec 2.10). After each attack the
// queue has stopped itself with the right reason, or the frame was counted and given back; nothing
// outside the guest's memory was touched (`GuestRAM` traps or notices).

import Netmap
import TestSupport
import Testing

@testable import VhostUser

/// A hostile guest's two queues, each of a port of its own.
struct HostileGuest: ~Copyable {
    let ram: GuestRAM
    let receiveMemory: GuestMemory
    let transmit: MockDriver
    let receive: MockDriver
    var source: SplitQueue
    var sink: SplitQueue
    var worker = Worker()
    /// A good buffer that any descriptor may name.
    let buffer: UInt64

    init(_ features: UInt64 = Feature.modern, size: UInt16 = 16, memory: Int = 1 << 18) throws {
        let ram = try GuestRAM([memory, 0x8000], hole: 0x10_0000)
        let receiveMemory = try ram.secondMapping()
        self.ram = ram
        self.receiveMemory = receiveMemory
        transmit = MockDriver(ram, size: size, features: features, sliceCount: 8)
        receive = MockDriver(
            ram,
            size: size,
            features: features,
            base: ram.start + UInt64((MockDriver.footprint(size: size, sliceCount: 8) + 63) & ~63),
            sliceCount: 8
        )
        source = transmit.makeQueue()
        sink = receive.makeQueue(receiveMemory)
        buffer = receive.slices
    }

    /// The flags of a descriptor that is right for the direction.
    enum Direction: CaseIterable { case transmit, receive }

    func driver(_ direction: Direction) -> MockDriver {
        direction == .transmit ? transmit : receive
    }

    func fault(_ direction: Direction) -> QueueFault {
        direction == .transmit ? source.fault : sink.fault
    }

    /// Lets the switch work on the queue: collects, or delivers one frame.
    ///
    /// - Returns: how many frames were collected or delivered.
    mutating func visit(_ direction: Direction, frameLength: Int = 100) -> Int {
        switch direction {
        case .transmit:
            let collected = worker.collect(&source).count
            source.completeCollected()
            return collected
        case .receive:
            var random = Seeded(frameLength)
            let before = worker.sent.counters.packets
            worker.deliver([makeFrame(1, length: frameLength, using: &random)], to: &sink)
            return Int(worker.sent.counters.packets - before)
        }
    }

    /// Puts one valid chain into the queue.
    func offerValid(_ direction: Direction) {
        driver(direction).post([1600], writable: direction == .receive)
        driver(direction).publish()
    }
}

@Suite("A hostile driver")
struct HostileDriverTests {
    typealias Direction = HostileGuest.Direction

    /// Runs an attack and looks at what it did.
    ///
    /// The attack gets the guest, its driver, and the flags that its descriptors should have.
    func expectFault(
        _ fault: QueueFault,
        _ direction: Direction,
        features: UInt64 = Feature.modern,
        _ sourceLocation: SourceLocation = #_sourceLocation,
        attack: (_ guest: borrowing HostileGuest, _ driver: MockDriver, _ flags: UInt16) -> Void
    ) throws {
        var guest = try HostileGuest(features)
        let driver = guest.driver(direction)
        attack(guest, driver, direction == .receive ? 2 : 0)
        driver.publish()
        let moved = guest.visit(direction)
        #expect(moved == 0, sourceLocation: sourceLocation)
        #expect(guest.fault(direction) == fault, sourceLocation: sourceLocation)
        #expect(driver.deviceIndex == 0, sourceLocation: sourceLocation)
        if direction == .receive {
            #expect(guest.worker.sent.counters.dropped == 1, sourceLocation: sourceLocation)
        }
        #expect(guest.ram.canariesAreIntact, sourceLocation: sourceLocation)
        // The port's other queue goes on.
        let other: Direction = direction == .transmit ? .receive : .transmit
        guest.offerValid(other)
        let movedByOther = guest.visit(other)
        #expect(movedByOther == 1, sourceLocation: sourceLocation)
        #expect(guest.fault(other) == .none, sourceLocation: sourceLocation)
    }

    // MARK: Chains

    @Test("who makes a chain that loops stops his queue", arguments: Direction.allCases)
    func loops(direction: Direction) throws {
        for length in [0, 1, 100, 4096] {
            try expectFault(.chainLength, direction) { guest, driver, flags in
                driver.set(0, guest.buffer, length, flags: flags | 1, next: 0)
                driver.offer(0)
            }
            try expectFault(.chainLength, direction) { guest, driver, flags in
                driver.set(3, guest.buffer, length, flags: flags | 1, next: 5)
                driver.set(5, guest.buffer, length, flags: flags | 1, next: 3)
                driver.offer(3)
            }
        }
    }

    @Test("who makes an indirect table that loops stops his queue", arguments: Direction.allCases)
    func indirectLoops(direction: Direction) throws {
        for length in [UInt32(0), 1, 100] {
            try expectFault(.chainLength, direction) { guest, driver, flags in
                let table = driver.indirectTables
                driver.setCell(table, guest.buffer, length, flags: flags | 1, next: 1)
                driver.setCell(table + 16, guest.buffer, length, flags: flags | 1, next: 0)
                driver.set(0, table, 32, flags: 4, next: 0)
                driver.offer(0)
            }
        }
    }

    @Test("who makes a chain of more buffers than any frame needs stops his queue")
    func longChain() throws {
        for direction in Direction.allCases {
            var guest = try HostileGuest(size: 2048)
            let driver = guest.driver(direction)
            for number in 0..<UInt16(1025) {
                driver.set(
                    number,
                    guest.buffer,
                    1,
                    flags: (direction == .receive ? 2 : 0) | (number < 1024 ? 1 : 0),
                    next: number + 1
                )
            }
            driver.offer(0)
            driver.publish()
            #expect(guest.visit(direction) == 0)
            #expect(guest.fault(direction) == .chainLength)
            #expect(guest.ram.canariesAreIntact)
        }
    }

    @Test(
        "who offers a descriptor behind the end of the table stops his queue",
        arguments: Direction.allCases
    )
    func heads(direction: Direction) throws {
        for head: UInt16 in [16, 17, 255, 32_768, 65_535] {
            try expectFault(.descriptorIndex, direction) { _, driver, _ in driver.offer(head) }
            try expectFault(.descriptorIndex, direction) { guest, driver, flags in
                driver.set(2, guest.buffer, 4, flags: flags | 1, next: head)
                driver.offer(2)
            }
            try expectFault(.descriptorIndex, direction) { guest, driver, flags in
                let table = driver.indirectTables
                driver.setCell(table, guest.buffer, 4, flags: flags | 1, next: head)
                driver.set(0, table, 32, flags: 4, next: 0)
                driver.offer(0)
            }
        }
    }

    @Test(
        "who moves avail.idx further than his ring is long stops his queue",
        arguments: Direction.allCases
    )
    func availableIndex(direction: Direction) throws {
        for index: UInt16 in [17, 18, 1000, 0x8000, 0xffff] {
            var guest = try HostileGuest()
            let driver = guest.driver(direction)
            driver.ram.store16(index, at: driver.available + 2)
            #expect(guest.visit(direction) == 0)
            #expect(guest.fault(direction) == .availableIndex)
            #expect(guest.visit(direction) == 0)
            #expect(driver.deviceIndex == 0)
        }
        var guest = try HostileGuest()
        for _ in 0..<3 { guest.offerValid(.transmit) }
        #expect(guest.visit(.transmit) == 3)
        // Backwards is a jump ahead, too.
        guest.ram.store16(2, at: guest.transmit.available + 2)
        #expect(guest.visit(.transmit) == 0)
        #expect(guest.source.fault == .availableIndex)
        let page = CounterPage()
        var batch = FrameBatch()
        guest.source.discard(&batch, counters: page.counters)
        #expect(page.drops.isEmpty)
        #expect(guest.transmit.deviceIndex == 3)
    }

    @Test("who mixes up the directions stops his queue", arguments: Direction.allCases)
    func direction(direction: Direction) throws {
        try expectFault(.direction, direction) { guest, driver, flags in
            driver.set(0, guest.buffer, 1600, flags: flags ^ 2, next: 0)
            driver.offer(0)
        }
        try expectFault(.direction, direction) { guest, driver, flags in
            driver.set(0, guest.buffer, 20, flags: flags | 1, next: 1)
            driver.set(1, guest.buffer, 1600, flags: flags ^ 2, next: 0)
            driver.offer(0)
        }
        try expectFault(.direction, direction) { guest, driver, flags in
            let table = driver.indirectTables
            driver.setCell(table, guest.buffer, 1600, flags: flags ^ 2, next: 0)
            // The flag on the pointing descriptor says nothing.
            driver.set(0, table, 16, flags: 4 | flags, next: 0)
            driver.offer(0)
        }
    }

    // MARK: Addresses

    @Test("who gives a buffer outside his memory stops his queue", arguments: Direction.allCases)
    func addresses(direction: Direction) throws {
        let ram = try HostileGuest().ram
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
                try expectFault(.address, direction) { _, driver, flags in
                    driver.set(0, address, length, flags: flags, next: 0)
                    driver.offer(0)
                }
            }
            try expectFault(.address, direction) { guest, driver, flags in
                driver.set(0, guest.buffer, 20, flags: flags | 1, next: 1)
                driver.set(1, address, length, flags: flags, next: 0)
                driver.offer(0)
            }
            try expectFault(.address, direction) { guest, driver, flags in
                let table = driver.indirectTables
                driver.setCell(table, guest.buffer, 20, flags: flags | 1, next: 1)
                driver.setCell(
                    table + 16,
                    address,
                    UInt32(truncatingIfNeeded: length),
                    flags: flags,
                    next: 0
                )
                driver.set(0, table, 32, flags: 4, next: 0)
                driver.offer(0)
            }
            guard room < 16 else { continue }
            try expectFault(.address, direction) { _, driver, _ in
                driver.set(0, address, 1600, flags: 4, next: 0)
                driver.offer(0)
            }
        }
    }

    // MARK: Indirect tables

    @Test("who gives a malformed indirect table stops his queue", arguments: Direction.allCases)
    func indirect(direction: Direction) throws {
        for length in [0, 1, 15, 17, 24, 16 * 1025, 0xffff_fff0, 0xffff_ffff] {
            try expectFault(.indirect, direction) { _, driver, _ in
                driver.set(0, driver.indirectTables, length, flags: 4, next: 0)
                driver.offer(0)
            }
        }
        try expectFault(.indirect, direction) { _, driver, _ in
            driver.set(0, driver.indirectTables, 32, flags: 4 | 1, next: 1)
            driver.offer(0)
        }
        try expectFault(.indirect, direction) { guest, driver, flags in
            let table = driver.indirectTables
            driver.setCell(table, guest.buffer, 20, flags: flags | 1, next: 1)
            driver.setCell(table + 16, table, 32, flags: 4, next: 0)
            driver.set(0, table, 32, flags: 4, next: 0)
            driver.offer(0)
        }
    }

    @Test("may use an indirect table that is longer than the ring")
    func longIndirectTable() throws {
        let ram = try GuestRAM([1 << 17])
        let driver = MockDriver(
            ram,
            size: 4,
            features: Feature.modern,
            sliceCount: 1,
            sliceSize: 8192,
            tableEntries: 1024
        )
        var queue = driver.makeQueue()
        var worker = Worker()
        driver.post([Int](repeating: 3, count: 1024), direct: 0)
        driver.publish()
        #expect(worker.collect(&queue).map(\.frame.count) == [3 * 1024 - 12])
        #expect(queue.fault == .none)
    }

    // MARK: Lengths

    @Test("whose frame is longer than 4 GB in sum gets it back and is counted")
    func giantChain() throws {
        var guest = try HostileGuest(size: 1024, memory: 8 << 20)
        let driver = guest.transmit
        for number in 0..<UInt16(1024) {
            driver.set(
                number,
                guest.ram.start,
                8 << 20,
                flags: number < 1023 ? 1 : 0,
                next: number + 1
            )
        }
        driver.offer(0)
        driver.publish()
        #expect(guest.visit(.transmit) == 0)
        #expect(guest.worker.received.drops == ["oversize": 1])
        #expect(guest.source.fault == .none)
        #expect(driver.deviceIndex == 1)
    }

    @Test("whose receive chain is longer than 4 GB gets one frame into it")
    func giantReceiveChain() throws {
        var guest = try HostileGuest(size: 1024, memory: 8 << 20)
        let driver = guest.receive
        for number in 0..<UInt16(1024) {
            driver.set(
                number,
                guest.ram.start + (4 << 20),
                4 << 20,
                flags: number < 1023 ? 3 : 2,
                next: number + 1
            )
        }
        driver.offer(0)
        driver.publish()
        #expect(guest.visit(.receive) == 1)
        #expect(driver.poll().map(\.length) == [112])
    }

    @Test("who offers receive chains of no bytes stops his queue", arguments: [0, Feature.modern])
    func emptyReceiveBuffers(features: UInt64) throws {
        try expectFault(.chainLength, .receive, features: features) { guest, driver, _ in
            for number in 0..<UInt16(16) {
                driver.set(number, guest.buffer, 0, flags: 2, next: 0)
                driver.offer(number)
            }
        }
    }

    @Test("who offers receive buffers of one byte gets whole frames or none")
    func tinyReceiveBuffers() throws {
        var guest = try HostileGuest(size: 256)
        let driver = guest.receive
        for number in 0..<UInt16(256) {
            driver.set(number, guest.buffer + UInt64(number), 1, flags: 2, next: 0)
            driver.offer(number)
        }
        driver.publish()
        #expect(guest.visit(.receive, frameLength: 100) == 1)
        #expect(driver.deviceIndex == 112)
        #expect(guest.visit(.receive, frameLength: 100) == 1)
        #expect(guest.visit(.receive, frameLength: 100) == 0)
        #expect(guest.worker.sent.drops == ["ring-full": 1])
        #expect(driver.deviceIndex == 224)
        #expect(guest.sink.fault == .none)
    }

    @Test("who does not merge buffers and offers small ones loses long frames only")
    func smallBuffers() throws {
        var guest = try HostileGuest(Feature.version1)
        guest.receive.post([112], writable: true)
        guest.receive.publish()
        #expect(guest.visit(.receive, frameLength: 101) == 0)
        #expect(guest.worker.sent.drops == ["oversize": 1])
        #expect(guest.visit(.receive, frameLength: 100) == 1)
    }

    // MARK: The rings themselves

    @Test("who stopped his queue moves nothing any more", arguments: Direction.allCases)
    func staysStopped(direction: Direction) throws {
        var guest = try HostileGuest()
        let driver = guest.driver(direction)
        driver.set(0, 1, 1600, flags: direction == .receive ? 2 : 0, next: 0)
        driver.offer(0)
        driver.publish()
        #expect(guest.visit(direction) == 0)
        // What was wrong is right now, and more is there.
        driver.set(0, guest.buffer, 1600, flags: direction == .receive ? 2 : 0, next: 0)
        for _ in 0..<3 { driver.offer(0) }
        driver.publish()
        for _ in 0..<3 { #expect(guest.visit(direction) == 0) }
        #expect(guest.fault(direction) == .address)
        #expect(driver.deviceIndex == 0)
    }

    @Test("who breaks his receive queue in the middle of a batch gets nothing after it")
    func stopsInBatch() throws {
        var guest = try HostileGuest()
        let driver = guest.receive
        var random = Seeded(1)
        let frames = (0..<6).map { makeFrame($0, length: 100, using: &random) }
        for number in 0..<UInt16(6) {
            let address = number == 2 ? 7 : guest.buffer + 256 * UInt64(number)
            driver.set(number, address, 256, flags: 2, next: 0)
            driver.offer(number)
        }
        driver.publish()
        guest.worker.deliver(frames, to: &guest.sink)
        #expect(guest.sink.fault == .address)
        #expect(driver.deviceIndex == 2)
        #expect(guest.worker.sent.counters.packets == 2)
        #expect(guest.worker.sent.counters.dropped == 4)
    }

    @Test("who breaks his transmit queue in the middle of a batch sent what came before")
    func collectsUpToTheFault() throws {
        var guest = try HostileGuest()
        for number in 0..<UInt16(6) {
            let address = number == 4 ? 7 : guest.buffer
            guest.transmit.set(number, address, 256, flags: 0, next: 0)
            guest.transmit.offer(number)
        }
        guest.transmit.publish()
        #expect(guest.visit(.transmit) == 4)
        #expect(guest.source.fault == .address)
        #expect(guest.transmit.deviceIndex == 4)
    }

    @Test("who jumps with avail.idx in the middle of a batch gets nothing after it")
    func jumpsInBatch() throws {
        var guest = try HostileGuest()
        let driver = guest.receive
        for number in 0..<UInt16(16) {
            driver.set(number, guest.buffer, 256, flags: 2, next: 0)
            driver.offer(number)
        }
        driver.ram.store16(1000, at: driver.available + 2)
        var random = Seeded(1)
        guest.worker.deliver(
            (0..<10).map { makeFrame($0, length: 100, using: &random) },
            to: &guest.sink
        )
        #expect(guest.sink.fault == .availableIndex)
        #expect(driver.deviceIndex == 0)
        #expect(guest.worker.sent.counters.packets == 0)
        #expect(guest.worker.sent.counters.dropped == 10)
    }

    @Test("who offers one descriptor many times gets it back as many times")
    func sameHead() throws {
        var guest = try HostileGuest()
        guest.transmit.set(9, guest.buffer, 100, flags: 0, next: 0)
        for _ in 0..<16 { guest.transmit.offer(9) }
        guest.transmit.publish()
        #expect(guest.visit(.transmit) == 16)
        #expect(guest.transmit.poll().map(\.head) == [UInt16](repeating: 9, count: 16))
    }

    @Test("whose rings and buffers lie on top of each other harms himself only")
    func overlappingRings() throws {
        var random = Seeded(11)
        for _ in 0..<300 {
            let ram = try GuestRAM([0x4000])
            let other = try ram.secondMapping()
            let sizes = RingSetup.areas(64, isPacked: false)
            var worker = Worker()
            func queue(_ memory: GuestMemory) -> SplitQueue {
                let host = unsafe ram.host(ram.start, 0x4000, memory)
                let at = (0..<3).map { _ in 16 * random.below((0x4000 - sizes.descriptors) / 16) }
                return unsafe SplitQueue(
                    QueueSetup(
                        size: 64,
                        descriptors: host + at[0],
                        available: host + at[1],
                        used: host + at[2],
                        base: 0,
                        features: Feature.modern,
                        memory: memory
                    )
                )
            }
            ram.write(random.bytes(0x4000), at: ram.start)
            for cell in stride(from: UInt64(0), to: 0x4000, by: 16) where random.chance(70) {
                ram.store64(ram.start + UInt64(random.below(0x4000)), at: ram.start + cell)
                ram.store64(UInt64(random.below(2000)), at: ram.start + cell + 8)
            }
            var source = queue(ram.memory)
            var sink = queue(other)
            for _ in 0..<20 {
                let step = UInt16(random.below(64))
                unsafe source.ring.available.storeBytes(
                    of: UInt16(truncatingIfNeeded: source.position) &+ step,
                    toByteOffset: 2,
                    as: UInt16.self
                )
                unsafe sink.ring.available.storeBytes(
                    of: UInt16(truncatingIfNeeded: sink.position) &+ step,
                    toByteOffset: 2,
                    as: UInt16.self
                )
                worker.turn(&source, &sink)
                _ = source.needsInterrupt()
                _ = sink.needsInterrupt()
                _ = source.arm()
            }
            withExtendedLifetime(other) {}
            #expect(ram.canariesAreIntact)
        }
    }
}
