// The link's model against figures that were worked out by hand, and against a naive model.

import Testing
import Traffic

private func settings(_ change: (inout LinkSettings) -> Void) -> LinkSettings {
    var settings = LinkSettings()
    change(&settings)
    return settings
}

@Suite struct LinkModelTests {
    @Test func aLinkThatDoesNothingDoesNothing() {
        var link = LinkModel(LinkSettings(), seed: 1)
        for time in [0, 5, 5, 1_000_000] as [UInt64] {
            #expect(link.offer(length: 1500, at: time) == .arrives(at: time))
        }
        #expect(link.counts.arriving == 4 && link.counts.bytes == 6000)
    }

    @Test func framesLeaveAtTheLinesRate() {
        var link = LinkModel(settings { $0.bandwidth = .constant(8_000_000) }, seed: 1)
        // A byte a microsecond.
        #expect(link.offer(length: 100, at: 1000) == .arrives(at: 101_000))
        #expect(link.offer(length: 50, at: 2000) == .arrives(at: 151_000))
        // After a pause the line begins again.
        #expect(link.offer(length: 10, at: 500_000) == .arrives(at: 510_000))
    }

    @Test func framingTakesTwentyFourBytes() {
        var link = LinkModel(settings { $0.bandwidth = .ethernet(10_000_000_000) }, seed: 1)
        var last: UInt64 = 0
        for _ in 0..<14_880_952 {
            guard case .arrives(let time) = link.offer(length: 60, at: 0) else { return }
            last = time
        }
        // 14.88 million frames of the least length are a second of 10 Gbit/s: 84 bytes take 67.2 ns.
        #expect(last == 999_999_974)
    }

    @Test func noPartOfANanosecondIsLost() {
        var link = LinkModel(settings { $0.bandwidth = .constant(3_000_000_000) }, seed: 1)
        var last: UInt64 = 0
        for _ in 0..<3_000_000 {
            guard case .arrives(let time) = link.offer(length: 1, at: 0) else { return }
            last = time
        }
        #expect(last == 8_000_000)  // 24 million bits
    }

    @Test func aQueueHoldsWhatWaits() {
        let shape = settings {
            $0.bandwidth = .constant(8_000_000)
            $0.queue = 250
        }
        var link = LinkModel(shape, seed: 1)
        // The first goes to an idle line, however long it is.
        #expect(link.offer(length: 300, at: 0) == .arrives(at: 300_000))
        #expect(link.offer(length: 1, at: 0) == .findsNoRoom)
        // 200 bytes are left after 100 microseconds.
        #expect(link.offer(length: 51, at: 100_000) == .findsNoRoom)
        #expect(link.offer(length: 50, at: 100_000) == .arrives(at: 350_000))
        #expect(link.offer(length: 1, at: 100_000) == .findsNoRoom)
        #expect(link.offer(length: 1, at: 101_000) == .arrives(at: 351_000))
        #expect(link.counts.withoutRoom == 3 && link.counts.arriving == 3)
        #expect(link.counts.offered == 6)
    }

    @Test func aFastLineWithALongQueueDoesNotOverflow() {
        let shape = settings {
            $0.bandwidth = .constant(10_000_000_000_000)
            $0.queue = 1_000_000_000_000
        }
        var link = LinkModel(shape, seed: 1)
        for _ in 0..<1_000_000 { _ = link.offer(length: 4_000_000, at: 0) }
        #expect(link.counts.arriving == 250_000 && link.counts.withoutRoom == 750_000)
    }

    @Test func delaysAreAddedBehindTheLineAndKeepTheOrder() {
        let shape = settings {
            $0.bandwidth = .constant(8_000_000)
            $0.delay = .constant(7)
        }
        var link = LinkModel(shape, seed: 1)
        #expect(link.offer(length: 100, at: 0) == .arrives(at: 100_007))
        var wild = LinkModel(settings { $0.delay = .uniform(least: 10, most: 1000) }, seed: 3)
        var last: UInt64 = 0
        var spread: Set<UInt64> = []
        for time in stride(from: UInt64(0), to: 1_000_000, by: 100) {
            guard case .arrives(let due) = wild.offer(length: 60, at: time) else { return }
            #expect(due >= last && due >= time + 10)
            last = due
            spread.insert(due - time)
        }
        #expect(spread.count > 100)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func delaysAreSpreadAsTheyAreToBe(seed: UInt64) {
        func mean(_ delay: LinkSettings.Delay) -> (mean: Double, least: UInt64, most: UInt64) {
            var link = LinkModel(settings { $0.delay = delay }, seed: seed)
            var (sum, least, most) = (0.0, UInt64.max, UInt64(0))
            for number in 0..<20_000 as Range<UInt64> {
                // Far apart, so that none waits for the one before it.
                let time = number * 10_000_000_000
                guard case .arrives(let due) = link.offer(length: 60, at: time) else { break }
                sum += Double(due - time)
                least = min(least, due - time)
                most = max(most, due - time)
            }
            return (sum / 20_000, least, most)
        }
        let uniform = mean(.uniform(least: 1_000_000, most: 3_000_000))
        #expect(abs(uniform.mean - 2_000_000) < 20_000)
        #expect(uniform.least >= 1_000_000 && uniform.least < 1_010_000)
        #expect(uniform.most <= 3_000_000 && uniform.most > 2_990_000)
        let exponential = mean(.exponential(least: 1_000_000, average: 3_000_000))
        #expect(abs(exponential.mean - 3_000_000) < 60_000)
        #expect(exponential.least >= 1_000_000 && exponential.least < 1_010_000)
        #expect(exponential.most > 15_000_000)
    }

    @Test func lossIsAShareOfFramesOrOfBits() {
        func lost(_ loss: LinkSettings.Loss, length: Int) -> UInt64 {
            var link = LinkModel(settings { $0.loss = loss }, seed: 42)
            for _ in 0..<100_000 { _ = link.offer(length: length, at: 0) }
            #expect(link.counts.lost + link.counts.arriving == 100_000)
            return link.counts.lost
        }
        #expect(lost(.frames(0), length: 60) == 0)
        #expect(lost(.frames(1), length: 60) == 100_000)
        #expect(lost(.bits(1), length: 1) == 100_000)
        #expect(lost(.bits(0), length: 60) == 0)
        // Five standard deviations around what is to be expected.
        #expect(abs(Int(lost(.frames(0.1), length: 60)) - 10_000) < 475)
        // 1 - (1 - 1e-5)^12000 = 0.11308.
        #expect(abs(Int(lost(.bits(1e-5), length: 1500)) - 11_308) < 500)
    }

    @Test func theSameSeedLosesTheSameFrames() {
        let shape = settings {
            $0.loss = .frames(0.3)
            $0.reordering = .init(share: 0.2, hold: 100)
            $0.delay = .exponential(least: 0, average: 50)
        }
        var (one, same, other) = (
            LinkModel(shape, seed: 9), LinkModel(shape, seed: 9), LinkModel(shape, seed: 10)
        )
        var differences = 0
        for time in 0..<1000 as Range<UInt64> {
            let fate = one.offer(length: 60, at: time)
            #expect(same.offer(length: 60, at: time) == fate)
            if other.offer(length: 60, at: time) != fate { differences += 1 }
        }
        #expect(differences > 100)
    }

    @Test func aLostFrameHasTakenItsTimeOnTheLine() {
        let shape = settings {
            $0.bandwidth = .constant(8_000_000)
            $0.loss = .frames(0.5)
        }
        var link = LinkModel(shape, seed: 5)
        for number in 1...1000 as ClosedRange<UInt64> {
            switch link.offer(length: 10, at: 0) {
            case .arrives(let time): #expect(time == number * 10_000)
            case .isLost: break
            default: Issue.record("neither here nor lost")
            }
        }
        #expect(link.counts.lost > 400 && link.counts.arriving > 400)
    }

    @Test func heldFramesLetOthersPass() {
        let shape = settings {
            $0.delay = .constant(1000)
            $0.reordering = .init(share: 0.25, hold: 5000)
        }
        var link = LinkModel(shape, seed: 8)
        for time in 0..<10_000 as Range<UInt64> {
            switch link.offer(length: 60, at: time) {
            case .arrives(let due): #expect(due == time + 1000)
            case .isHeld(let due): #expect(due == time + 6000)
            default: Issue.record("nothing is lost here")
            }
        }
        #expect(abs(Int(link.counts.held) - 2500) < 220 && link.counts.arriving == 10_000)
    }
}

@Suite struct ReplayScheduleTests {
    private let frames: [(time: UInt64, length: Int)] = [
        (5_000, 100), (6_000, 50), (5_500, 50), (10_000, 100),
    ]

    @Test func asRecordedAndFaster() {
        let recorded = settings { $0.bandwidth = .recorded(speedup: 1) }
        let schedule = ReplaySchedule(frames, recorded, seed: 1)
        // A time that runs back stands still.
        #expect(schedule.entries.map(\.due) == [0, 1000, 1000, 5000])
        #expect(schedule.entries.map(\.frame) == [0, 1, 2, 3] && schedule.length == 5000)
        let faster = settings { $0.bandwidth = .recorded(speedup: 4) }
        #expect(ReplaySchedule(frames, faster, seed: 1).entries.map(\.due) == [0, 250, 250, 1250])
    }

    @Test func atABandwidthTimesDoNotCount() {
        let line = settings {
            $0.bandwidth = .constant(8_000_000)
            $0.delay = .constant(5)
        }
        let schedule = ReplaySchedule(frames, line, seed: 1)
        #expect(schedule.entries.map(\.due) == [100_005, 150_005, 200_005, 300_005])
        #expect(ReplaySchedule(frames, LinkSettings(), seed: 1).length == 0)
    }

    @Test func whatIsLostIsNotThere() {
        let all = (0..<1000).map { (time: UInt64($0), length: 60) }
        let schedule = ReplaySchedule(all, settings { $0.loss = .frames(0.5) }, seed: 2)
        #expect(schedule.entries.count + Int(schedule.counts.lost) == 1000)
        #expect(abs(schedule.entries.count - 500) < 80)
        #expect(ReplaySchedule([], LinkSettings(), seed: 2).entries.isEmpty)
    }

    @Test func heldFramesComeLater() {
        let all = (0..<100).map { (time: UInt64($0) * 1000, length: 60) }
        let shape = settings {
            $0.bandwidth = .recorded(speedup: 1)
            $0.reordering = .init(share: 0.5, hold: 10_500)
        }
        let entries = ReplaySchedule(all, shape, seed: 3).entries
        #expect(entries.map(\.due) == entries.map(\.due).sorted() && entries.count == 100)
        for entry in entries {
            let late = entry.due - UInt64(entry.frame) * 1000
            #expect(late == 0 || late == 10_500)
        }
        #expect(entries.map(\.frame) != Array(0..<100))
    }
}
