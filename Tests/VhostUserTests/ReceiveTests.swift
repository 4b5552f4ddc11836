// Frames to the guest: order, and what there is no room for.

import Netmap
import TestSupport
import Testing

@testable import VhostUser

@Suite("The receive queue")
struct ReceiveTests {
    @Test(
        "keeps its order and its headers over more than 65536 entries",
        arguments: Format.allCases
    )
    func wraps(format: Format) throws {
        var random = Seeded(5)
        let sender = MockDriver(
            format,
            try GuestRAM([1 << 17]),
            size: 64,
            features: Feature.modern,
            sliceSize: 256,
            tableEntries: 1
        )
        let receiver = MockDriver(
            format,
            try GuestRAM([1 << 17]),
            size: 128,
            features: Feature.modern,
            sliceSize: 256,
            tableEntries: 1
        )
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
