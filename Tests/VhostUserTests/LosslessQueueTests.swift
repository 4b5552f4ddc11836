// A receive queue that must lose nothing: what has no room stays with its sender, and arrives once.

import Netmap
import TestSupport
import Testing

@testable import VhostUser

@Suite("A receive queue that waits for room")
struct LosslessQueueTests {
    private func driver(_ format: Format, _ features: UInt64) throws -> MockDriver {
        MockDriver(
            format,
            try GuestRAM([1 << 19]),
            size: format == .split ? 64 : 61,
            features: features,
            sliceCount: 64,
            sliceSize: 3072
        )
    }

    @Test(
        "takes every frame once and in order, however few buffers come at a time",
        arguments: Format.allCases,
        0..<12
    )
    func losesNothing(format: Format, seed: Int) throws {
        var random = Seeded(seed)
        let features = seed % 2 == 0 ? Feature.modern : Feature.version1
        let sender = try driver(format, Feature.version1)
        let receiver = try driver(format, features)
        let source = sender.makeQueue()
        let sink = receiver.makeQueue()
        var worker = Worker()
        let trial = CounterPage()
        var frames: [[UInt8]] = []
        var received: [[UInt8]] = []
        for batch in 0..<20 {
            for number in 0..<random.within(1...20) {
                let length = random.within(60...1500)
                let frame = makeFrame(100 * batch + number, length: length, using: &random)
                sender.post([12 + length], content: [UInt8](repeating: 0, count: 12) + frame)
                frames.append(frame)
            }
            sender.publish()
            worker.take(source)
            var through = 0
            var segments = 0
            for round in 0... {
                let before = through
                through = worker.giveWhileRoom(
                    sink,
                    from: through,
                    segments: &segments,
                    trial: trial
                )
                #expect(segments == 0, "no frame here is cut")
                #expect(trial.drops.isEmpty, "what waits is not counted")
                let arrived = receiver.pollFrames()
                received += arrived.map(\.frame)
                #expect(arrived.count == through - before && arrived.allSatisfy(\.isWellFormed))
                if through == worker.batch.count { break }
                // It has no room, says so, and wakes when there may be some.
                let shortage = sink.shortage
                #expect(!sink.hasNews(since: shortage))
                #expect(!sink.armForRoom(since: shortage))
                for _ in 0..<random.within(1...3) {
                    let room = receiver.mergeable ? random.within(200...900) : 1600
                    receiver.post([room], writable: true)
                }
                #expect(receiver.publish(), "somebody waits for the kick")
                #expect(sink.hasNews(since: shortage))
                guard round < 200 else {
                    Issue.record("\(format) seed \(seed): nothing moves")
                    return
                }
            }
            source.completeCollected()
            #expect(sender.poll().count == worker.batch.count)
        }
        #expect(received == frames)
        #expect(worker.sent.counters.packets == UInt64(frames.count))
        #expect(worker.sent.drops.isEmpty)
        #expect(source.fault == .none && sink.fault == .none)
    }

    @Test(
        "drops what waiting cannot mend, and everything when it has stopped itself",
        arguments: Format.allCases
    )
    func doesNotWaitInVain(format: Format) throws {
        let receiver = try driver(format, Feature.version1)
        let sender = try driver(format, Feature.version1)
        let source = sender.makeQueue()
        let sink = receiver.makeQueue()
        var worker = Worker()
        let trial = CounterPage()
        for length in [100, 1000, 100] {
            let frame = [UInt8](repeating: 7, count: length)
            sender.post([12 + length], content: [UInt8](repeating: 0, count: 12) + frame)
        }
        sender.publish()
        worker.take(source)
        // Too small for the second, for ever: the buffers are not merged.
        for _ in 0..<2 { receiver.post([200], writable: true) }
        receiver.publish()
        var segments = 0
        #expect(worker.giveWhileRoom(sink, from: 0, segments: &segments, trial: trial) == 3)
        #expect(worker.sent.drops == ["oversize": 1])
        #expect(receiver.pollFrames().map(\.frame.count) == [100, 100])
        receiver.ring.add([Cell(7, 200, Cell.writable)])
        receiver.publish()
        #expect(worker.giveWhileRoom(sink, from: 0, segments: &segments, trial: trial) == 3)
        #expect(sink.fault == .address)
        #expect(worker.sent.counters.packets == 2)
        #expect(worker.sent.counters.dropped == 4)
    }
}
