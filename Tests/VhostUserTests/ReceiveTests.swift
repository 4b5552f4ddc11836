// Frames to the guest: order, and what there is no room for.

import Netmap
import TestSupport
import Testing

@testable import VhostUser

@Suite("The receive queue")
struct ReceiveTests {
    @Test(
        "counts what finds no buffer as ring-full, and delivers again when there is one",
        arguments: Format.allCases
    )
    func ringFull(format: Format) throws {
        let receiver = MockDriver(
            format,
            try GuestRAM([1 << 18]),
            size: 16,
            features: Feature.version1
        )
        let sink = receiver.makeQueue()
        var worker = Worker()
        var random = Seeded(1)
        let frames = (0..<10).map { makeFrame($0, length: 64, using: &random) }
        worker.deliver(frames, to: sink)
        #expect(worker.sent.drops == ["ring-full": 10])
        for _ in 0..<4 { receiver.post([1600], writable: true) }
        receiver.publish()
        worker.deliver(frames, to: sink)
        #expect(worker.sent.drops == ["ring-full": 16])
        #expect(receiver.pollFrames().map(\.frame) == Array(frames[..<4]))
        for _ in 0..<4 { receiver.post([1600], writable: true) }
        receiver.publish()
        worker.deliver(frames, to: sink)
        #expect(receiver.pollFrames().map(\.frame) == Array(frames[..<4]))
        #expect(worker.sent.counters.packets == 8)
    }

    @Test(
        "publishes all buffers of a frame at once and takes none if they do not suffice",
        arguments: Format.allCases
    )
    func allOrNothing(format: Format) throws {
        let receiver = MockDriver(
            format,
            try GuestRAM([1 << 18]),
            size: 16,
            features: Feature.modern
        )
        let sink = receiver.makeQueue()
        var worker = Worker()
        var random = Seeded(1)
        for _ in 0..<4 { receiver.post([100], writable: true) }
        receiver.publish()
        let long = makeFrame(1, length: 500, using: &random)
        let short = makeFrame(2, length: 300, using: &random)
        worker.deliver([long, short, short], to: sink)
        #expect(worker.sent.drops == ["ring-full": 2])
        let received = receiver.pollFrames()
        #expect(received.map(\.frame) == [short])
        #expect(received.map(\.buffers) == [4])
    }
}
