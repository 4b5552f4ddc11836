// Rings over many laps: free-running indices that overflow, wrap counters that turn, rings of every
// size that the specification allows.

import Netmap
import TestSupport
import Testing

@testable import VhostUser

@Suite("A ring, lap after lap")
struct LapTests {
    /// Split rings have powers of two; for packed rings nothing is said but the largest size.
    static func sizes(_ format: Format) -> [UInt16] {
        format == .split ? [1, 2, 4, 64, 256] : [1, 2, 3, 5, 7, 64, 67, 100, 255]
    }

    @Test(
        "keeps its order and its headers over more than 65536 entries",
        arguments: Format.allCases,
        [0, Feature.inOrder]
    )
    func wraps(format: Format, inOrder: UInt64) throws {
        var random = Seeded(5)
        func driver(_ size: UInt16) throws -> MockDriver {
            MockDriver(
                format,
                try GuestRAM([1 << 17]),
                size: size,
                features: Feature.modern | inOrder,
                sliceSize: 256,
                tableEntries: 1
            )
        }
        let sender = try driver(format == .split ? 64 : 71)
        let receiver = try driver(format == .split ? 128 : 103)
        let source = sender.makeQueue()
        let sink = receiver.makeQueue()
        var worker = Worker()
        var sent = 0
        var received = 0
        let payload = random.bytes(46)
        let zeroes = [UInt8](repeating: 0, count: 12)
        while received < 70_000 {
            while receiver.post([100], writable: true) != nil {}
            receiver.publish()
            for _ in 0..<64 {
                let number = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: sent >> $0) }
                sender.post([76], content: zeroes + payload + number + payload.prefix(14))
                sent += 1
            }
            sender.publish()
            #expect(worker.turn(source, sink) == 64)
            #expect(sender.poll().count == 64)
            for used in receiver.poll() {
                let tail = used.pieces[0].address + 12 + 46
                let number = receiver.ram.bytes(at: tail, 4).reduce(0) { $0 << 8 | Int($1) }
                guard used.length == 76, number == received else {
                    Issue.record("frame \(received) arrived as \(number)")
                    return
                }
                received += 1
            }
        }
        #expect(worker.sent.drops.isEmpty)
    }

    @Test("takes chains that lie across its end, whatever its size", arguments: Format.allCases)
    func chainsAcrossTheEnd(format: Format) throws {
        for size in LapTests.sizes(format) {
            var random = Seeded(Int(size))
            let driver = MockDriver(
                format,
                try GuestRAM([1 << 18]),
                size: size,
                features: Feature.modern,
                sliceCount: 16
            )
            let queue = driver.makeQueue()
            var worker = Worker()
            var expected: [[UInt8]] = []
            var sent = 0
            while sent < max(300, 3 * Int(size)) {
                expected = []
                while expected.count < 12 {
                    let frame = makeFrame(sent, length: random.within(60...300), using: &random)
                    let pieces = random.within(1...min(Int(size), 5))
                    let posted = driver.post(
                        random.split(12 + frame.count, into: pieces),
                        content: [UInt8](repeating: 0, count: 12) + frame
                    )
                    guard posted != nil else { break }
                    expected.append(frame)
                    sent += 1
                }
                driver.publish()
                guard worker.collect(queue).map(\.frame) == expected else {
                    Issue.record("size \(size): frames before number \(sent) differ")
                    return
                }
                queue.completeCollected()
                #expect(driver.poll().count == expected.count, "size \(size)")
            }
            #expect(queue.fault == .none)
        }
    }

    @Test("of 32768 entries is filled and emptied, more than twice", arguments: Format.allCases)
    func largestRing(format: Format) throws {
        let size: UInt16 = 32_768
        let length = MockDriver.footprint(format, size: size, sliceCount: 1, tableEntries: 1)
        let driver = MockDriver(
            format,
            try GuestRAM([length]),
            size: size,
            features: Feature.modern,
            sliceCount: 1,
            tableEntries: 1
        )
        let queue = driver.makeQueue()
        var worker = Worker()
        for lap in 0..<3 {
            for _ in 0..<Int(size) { driver.ring.add([Cell(driver.slices, 76)]) }
            #expect(driver.ring.room == 0)
            driver.publish()
            for _ in 0..<Int(size) / 64 {
                worker.take(queue)
                guard worker.batch.count == 64 else {
                    Issue.record("lap \(lap): \(worker.batch.count) frames")
                    return
                }
                queue.completeCollected()
            }
            worker.take(queue)
            #expect(worker.batch.count == 0)
            #expect(driver.poll().count == Int(size), "lap \(lap)")
        }
        #expect(queue.fault == .none)
    }

    @Test("goes on where it stopped, at every place of every lap", arguments: Format.allCases)
    func stopsAnywhere(format: Format) throws {
        for size in LapTests.sizes(format).prefix(5) {
            let driver = MockDriver(
                format,
                try GuestRAM([1 << 16]),
                size: size,
                features: Feature.modern,
                sliceCount: 1,
                tableEntries: 1
            )
            var worker = Worker()
            var base: UInt32?
            for number in 0..<4 * Int(size) + 3 {
                // GET_VRING_BASE's answer is SET_VRING_BASE's number.
                let queue = driver.makeQueue(base: base)
                #expect(worker.collect(queue).isEmpty, "size \(size), entry \(number)")
                driver.ring.add([Cell(driver.slices, 76)])
                driver.publish()
                #expect(worker.collect(queue).count == 1, "size \(size), entry \(number)")
                queue.completeCollected()
                #expect(driver.poll().count == 1, "size \(size), entry \(number)")
                base = queue.base
            }
        }
    }

    @Test("of a packed queue begins where its front-end says, in both halves of the number or one")
    func packedBases() throws {
        // Available slot and wrap counter, the used ones, and where the ring must begin.
        let cases: [(UInt32, RingPosition)] = [
            (0x8000, 0x1_0000), (0x8000_8000, 0x1_0000), (0, 0), (0x0005, 5), (0x8005, 0x1_0005),
            (0x0005_0005, 5), (0x8005_8005, 0x1_0005),
            // What was available but never given back is taken again.
            (0x8003_8005, 0x1_0003), (0x8007_0002, 0x1_0007),
            // No such slot: any will do, but one of the ring's.
            (0xffff_ffff, 0x1_0000), (0x7fff, 0), (0x0010, 0),
        ]
        let driver = MockDriver(
            .packed,
            try GuestRAM([1 << 16]),
            size: 16,
            features: Feature.modern,
            sliceCount: 1
        )
        for (base, place) in cases {
            let queue = driver.makeQueue(base: base)
            #expect(queue.place == place, "\(String(base, radix: 16))")
            let half = place & 0x7fff | (place >> 16) << 15
            #expect(queue.base == half | half << 16)
        }
    }
}
