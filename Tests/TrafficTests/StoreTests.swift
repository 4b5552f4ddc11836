// Frames in memory of a fixed size: against an array, and where there is no more room.

import Testing
import Traffic

private func bytes(of span: borrowing Span<UInt8>) -> [UInt8] {
    var all: [UInt8] = []
    for index in 0..<span.count { all.append(span[index]) }
    return all
}

private func write(_ frame: [UInt8], _ span: inout MutableSpan<UInt8>) {
    for index in frame.indices { span[index] = frame[index] }
}

@Suite struct StoreTests {
    @Test(arguments: 0..<20 as Range<UInt64>)
    func aStoreIsAQueueInWhichNothingIsOverwritten(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var store = FrameStore(bytes: 1000, frames: 12)
        var model: [[UInt8]] = []
        var refusals = 0
        for turn in 0..<5000 {
            if Int.random(in: 0..<5, using: &random) < 3 {
                let length = Int.random(in: 1...200, using: &random)
                let frame = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
                let hadRoom = store.hasRoom(for: length)
                let isAdded = store.append(length: length, due: UInt64(turn)) { write(frame, &$0) }
                #expect(isAdded == hadRoom)
                if isAdded { model.append(frame) } else { refusals += 1 }
                // Room that the frames do not take is lost at the end and in front of the oldest only.
                let used = model.reduce(0) { $0 + $1.count }
                if !isAdded { #expect(model.count == 12 || used + 2 * 200 + length >= 1000) }
            } else {
                var taken: [UInt8]?
                let isTaken = store.take { span in
                    taken = bytes(of: span)
                    return true
                }
                #expect(isTaken == !model.isEmpty)
                if !model.isEmpty { #expect(taken == model.removeFirst()) }
            }
            let count = store.count
            #expect(count == model.count)
        }
        #expect(refusals > 0)
    }

    @Test func whatIsNotTakenStays() {
        var store = FrameStore(bytes: 10, frames: 2)
        let isAdded = store.append(length: 10, due: 7) { write(Array(0..<10), &$0) }
        let hasRoom = store.hasRoom(for: 1)
        let isRefused = store.take { _ in false }
        let due = store.nextDue
        #expect(isAdded && !hasRoom && !isRefused && due == 7)
        let isTaken = store.take { bytes(of: $0) == Array(0..<10) }
        let isEmpty = store.take { _ in true }
        #expect(isTaken && !isEmpty)
    }

    @Test func aLineHandsOutWhatIsDueAndHeldFramesLater() {
        var settings = LinkSettings()
        settings.delay = .constant(100)
        settings.reordering = .init(share: 0.5, hold: 1000)
        var line = DelayLine(LinkModel(settings, seed: 4), bytes: 1 << 16)
        var model = LinkModel(settings, seed: 4)
        var expected: [(due: UInt64, number: UInt8)] = []
        for number in 0..<200 as Range<UInt8> {
            let time = UInt64(number) * 10
            let result = line.add(length: 1, at: time) { $0[0] = number }
            #expect(result == .isOnTheWay)
            switch model.offer(length: 1, at: time) {
            case .arrives(let due), .isHeld(let due): expected.append((due, number))
            default: Issue.record("nothing is lost here")
            }
        }
        expected.sort { ($0.due, $0.number) < ($1.due, $1.number) }
        var order: [UInt8] = []
        var now: UInt64 = 0
        while let due = line.nextDue {
            #expect(due >= now)
            now = due
            let isEarly = line.take(at: due - 1) { _ in true }
            #expect(!isEarly)
            let isTaken = line.take(at: due) { span in
                order.append(span[0])
                return true
            }
            #expect(isTaken)
        }
        // Frames that are due at the same time may come in either order.
        #expect(order.count == 200 && Set(order).count == 200)
        #expect(order != order.sorted())
        let places = Dictionary(uniqueKeysWithValues: expected.map { ($0.number, $0.due) })
        #expect(order.map { places[$0] ?? 0 } == expected.map(\.due))
    }

    @Test func aFullLineLetsFramesWaitAndCountsNone() {
        var settings = LinkSettings()
        settings.delay = .constant(100)
        var line = DelayLine(LinkModel(settings, seed: 1), bytes: 100)
        var results: [DelayLine.Result] = []
        for _ in 0..<3 { results.append(line.add(length: 40, at: 0) { _ in }) }
        #expect(results == [.isOnTheWay, .isOnTheWay, .mustWait])
        let counts = line.counts
        #expect(counts.offered == 2)
        let isTaken = line.take(at: 100) { _ in true }
        let again = line.add(length: 39, at: 100) { _ in }
        #expect(isTaken && again == .isOnTheWay)
    }

    @Test func aFilterForgetsByTimeAndByNumber() {
        var filter = DuplicateFilter(frames: 3, window: 100, longest: 64)
        func admits(_ frame: [UInt8], _ time: UInt64) -> Bool {
            filter.admits(length: frame.count, at: time) { write(frame, &$0) }
        }
        var seen = [admits([1, 2, 3], 0), admits([1, 2, 3], 100), admits([1, 2, 3], 101)]
        #expect(seen == [true, false, true])  // 101 is outside of the window
        seen = [admits([1, 2], 102), admits([1, 2, 3, 0], 102), admits([1, 2, 3], 103)]
        #expect(seen == [true, true, false])
        // Three frames later it is forgotten.
        seen = [admits([9], 104), admits([1, 2, 3], 105), admits([1, 2], 105)]
        #expect(seen == [true, true, true])
        // What is too long to be remembered passes.
        let long = [UInt8](repeating: 1, count: 65)
        seen = [admits(long, 106), admits(long, 106)]
        #expect(seen == [true, true])
        let counts = (filter.fresh, filter.duplicates)
        #expect(counts == (9, 2))
    }

    @Test(arguments: 0..<10 as Range<UInt64>)
    func aFilterIsWhatASearchThroughTheLastFramesIs(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var filter = DuplicateFilter(frames: 5, window: 50)
        var memory: [(time: UInt64, frame: [UInt8])] = []
        var now: UInt64 = 0
        for _ in 0..<5000 {
            now += UInt64.random(in: 0...20, using: &random)
            let length = Int.random(in: 1...6, using: &random)
            let mark = UInt8.random(in: 0...2, using: &random)
            var frame = [UInt8](repeating: 7, count: length)
            frame[Int.random(in: 0..<length, using: &random)] = mark
            let isNew = !memory.suffix(5).contains { $0.frame == frame && now - $0.time <= 50 }
            if isNew { memory.append((now, frame)) }
            let admits = filter.admits(length: length, at: now) { write(frame, &$0) }
            #expect(admits == isNew)
        }
        let duplicates = filter.duplicates
        #expect(duplicates > 100)
    }
}
