// Who has to wake whom, sentence by sentence (virtio 1.2, sections 2.7.7, 2.7.10 and 2.8.10).

import Netmap
import TestSupport
import Testing

@testable import VhostUser

/// A transmit queue whose driver offers the same buffer again and again.
private final class Traffic {
    let driver: MockDriver
    let queue: any DeviceQueue
    /// Frames that the device gave back, over all laps.
    private(set) var used = 0

    init(_ format: Format, _ features: UInt64, size: UInt16? = nil) throws {
        driver = MockDriver(
            format,
            try GuestRAM([1 << 16]),
            // A packed ring of an odd size: wrap counters must not depend on powers of two.
            size: size ?? (format == .split ? 64 : 67),
            features: features,
            sliceCount: 1,
            tableEntries: 1
        )
        queue = driver.makeQueue()
    }

    /// Adds `count` frames.
    ///
    /// - Returns: whether the driver has to kick.
    @discardableResult
    func add(_ count: Int) -> Bool {
        for _ in 0..<count { driver.ring.add([Cell(driver.slices, 76)]) }
        return driver.publish()
    }

    /// Lets the device take what there is.
    func take(_ worker: inout Worker) -> Int {
        worker.take(queue)
        queue.completeCollected()
        while driver.ring.takeUsed() != nil { used += 1 }
        return worker.batch.count
    }
}

/// Features with and without event-idx.
private let choices: [UInt64] = [Feature.version1, Feature.modern]

@Suite("Notifications")
struct NotificationTests {
    @Test(
        "reach the guest exactly where it asks for it with event-idx, over more than 65536 entries",
        arguments: Format.allCases,
        0..<4
    )
    func usedEvent(format: Format, seed: Int) throws {
        var random = Seeded(seed)
        let traffic = try Traffic(format, Feature.modern)
        let size = Int(traffic.driver.size)
        var worker = Worker()
        var old = 0
        var isFirst = true
        while traffic.used < 70_000 {
            let count = random.within(1...64)
            traffic.add(count)
            #expect(traffic.take(&worker) == count)
            let new = traffic.used
            // A driver asks for something between a lap ago and a lap ahead.
            let event: Int =
                switch random.below(6) {
                case 0: new - 1
                case 1: old
                case 2: max(old - 1, new - size, 0)
                case 3: new
                default: new + random.below(size)
                }
            traffic.driver.ring.setInterrupt(at: event)
            // Now and then two batches go by before somebody asks.
            if new - old + 64 <= size, random.chance(50), !isFirst { continue }
            let expected = isFirst || old <= event && event < new
            guard traffic.queue.needsInterrupt() == expected else {
                Issue.record("\(format) seed \(seed): \(old) to \(new), asked for \(event)")
                return
            }
            #expect(!traffic.queue.needsInterrupt(), "nothing was published since")
            old = new
            isFirst = false
        }
    }

    @Test("compare used_event as sixteen bits that run free, whatever the guest writes there")
    func wildUsedEvent() throws {
        var random = Seeded(1)
        let traffic = try Traffic(.split, Feature.modern)
        var worker = Worker()
        var old: UInt16 = 0
        for round in 0..<2000 {
            let count = random.within(1...64)
            traffic.add(count)
            #expect(traffic.take(&worker) == count)
            let new = UInt16(truncatingIfNeeded: traffic.used)
            let event = UInt16(truncatingIfNeeded: random.next())
            traffic.driver.split.setUsedEvent(event)
            let expected = round == 0 || new &- event &- 1 < new &- old
            #expect(traffic.queue.needsInterrupt() == expected)
            old = new
        }
    }

    @Test("reach a guest that did not ask for none", arguments: Format.allCases)
    func availableFlags(format: Format) throws {
        let traffic = try Traffic(format, Feature.version1)
        var worker = Worker()
        for isWanted in [true, false, true, false, false] {
            traffic.driver.ring.setInterrupts(isWanted)
            traffic.add(3)
            #expect(traffic.take(&worker) == 3)
            #expect(traffic.queue.needsInterrupt() == isWanted)
        }
        #expect(!traffic.queue.needsInterrupt(), "nothing was published since")
    }

    @Test("ignore avail.flags where event-idx was negotiated")
    func flagsWithEventIndex() throws {
        let traffic = try Traffic(.split, Feature.modern)
        var worker = Worker()
        traffic.driver.ring.setInterrupts(false)
        for k in 0..<4 {
            traffic.driver.ring.setInterrupt(at: k)
            traffic.add(1)
            #expect(traffic.take(&worker) == 1)
            #expect(traffic.queue.needsInterrupt())
        }
    }

    @Test("of a packed ring obey all three words of its event area", arguments: choices)
    func packedFlags(features: UInt64) throws {
        let traffic = try Traffic(.packed, features)
        var worker = Worker()
        let hasEventIndex = features & Feature.eventIndex != 0
        for round in 0..<300 {
            let next = traffic.used
            switch round % 4 {
            case 0: traffic.driver.ring.setInterrupts(true)
            case 1: traffic.driver.ring.setInterrupts(false)
            case 2: traffic.driver.ring.setInterrupt(at: next)
            default: traffic.driver.ring.setInterrupt(at: next + 1)
            }
            traffic.add(1)
            #expect(traffic.take(&worker) == 1)
            // Without event-idx the third word has no meaning: better one too many.
            let expected = [true, false, true, !hasEventIndex][round % 4]
            #expect(traffic.queue.needsInterrupt() == expected, "round \(round)")
        }
    }

    @Test(
        "from the guest are unwanted until the queue is armed",
        arguments: Format.allCases,
        choices
    )
    func startsPolled(format: Format, features: UInt64) throws {
        let traffic = try Traffic(format, features)
        var worker = Worker()
        // Only a split ring with event-idx cannot say never: its avail_event is 0 at first.
        let cannotSayNever = format == .split && features & Feature.eventIndex != 0
        #expect(traffic.add(1) == cannotSayNever)
        #expect(!traffic.add(1))
        #expect(traffic.take(&worker) == 2)
        #expect(!traffic.queue.arm())
        #expect(traffic.add(1))
        #expect(traffic.take(&worker) == 1)
        traffic.queue.disarm()
        #expect(!traffic.add(1))
    }

    @Test("are not lost between arming and sleeping", arguments: Format.allCases, choices)
    func armLooksAgain(format: Format, features: UInt64) throws {
        let traffic = try Traffic(format, features)
        var worker = Worker()
        traffic.add(2)
        #expect(traffic.queue.arm(), "there is work already")
        traffic.queue.disarm()
        #expect(traffic.take(&worker) == 2)
        #expect(!traffic.queue.arm())
        #expect(traffic.add(1))
        #expect(traffic.queue.arm(), "and arming again sees it")
    }

    @Test(
        "wake whoever sleeps, over more than 65536 entries, and nobody who polls",
        arguments: Format.allCases,
        choices
    )
    func sleepsAndWakes(format: Format, features: UInt64) throws {
        var random = Seeded(Int(features & 0xffff))
        let traffic = try Traffic(format, features)
        var worker = Worker()
        var needless = 0
        traffic.add(1)
        _ = traffic.take(&worker)
        while traffic.used < 140_000 {
            let count = random.within(1...64)
            if random.chance(30) {
                guard !traffic.queue.arm() else {
                    Issue.record("armed at \(traffic.used) and saw work that is not there")
                    return
                }
                guard traffic.add(count) else {
                    Issue.record("asleep at \(traffic.used), and no kick")
                    return
                }
                #expect(traffic.take(&worker) == count)
                traffic.queue.disarm()
            } else {
                if traffic.add(count) { needless += 1 }
                #expect(traffic.take(&worker) == count)
            }
        }
        // A split ring's event that stayed behind is met once in 65536 entries.
        let cannotSayNever = format == .split && features & Feature.eventIndex != 0
        #expect(needless <= (cannotSayNever ? 4 : 0))
    }

    @Test("are asked for once in 65536 entries where event-idx cannot say never")
    func disarmedWraps() throws {
        let traffic = try Traffic(.split, Feature.modern)
        var worker = Worker()
        var kicks: [Int] = []
        for total in 0..<65_600 {
            if traffic.add(1) { kicks.append(total) }
            _ = traffic.take(&worker)
        }
        #expect(kicks == [0, 65_536])
    }

    @Test("from a queue that stopped itself are not waited for", arguments: Format.allCases)
    func faulty(format: Format) throws {
        let traffic = try Traffic(format, Feature.modern)
        var worker = Worker()
        traffic.driver.ring.add([Cell(7, 76)])
        traffic.driver.publish()
        #expect(traffic.take(&worker) == 0)
        #expect(traffic.queue.fault == .address)
        #expect(!traffic.queue.arm())
    }
}
