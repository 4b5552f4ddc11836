// Frames that wait in extra buffers, frames that are sent out of their order, frames that are looked at first.

import Netmap
import Testing
import Vale

/// Two pipes of one region; the second port of each pair is the program under test's.
private struct Pipes: ~Copyable {
    let space: PortSpace
    let source: Port
    let input: Port
    let output: Port
    let sink: Port

    init(extra: Int, slots: Int = 16) throws {
        let space = PortSpace.embedded()
        // A value that cannot be copied is made at once or not at all.
        let first = try Port("netmap:p{1@conf:slots=\(slots)", on: space)
        var specification = try PortSpecification("netmap:p}1")
        specification.extraBuffers = extra
        let second = try Port(specification, on: space)
        let third = try Port("netmap:p{2", on: space)
        let fourth = try Port("netmap:p}2", on: space)
        self.space = space
        source = first
        input = second
        output = third
        sink = fourth
    }

    /// Sends marked frames to the input, which has them after a sync.
    func give(_ marks: ClosedRange<UInt8>) throws {
        let frames = marks.map { frame(from: 1, to: 2, mark: $0) }
        #expect(try source.send(frames) == frames.count)
        try input.syncReceive()
    }

    /// The marks of what has come out.
    func marks() throws -> [UInt8] {
        try output.syncTransmit()
        return try sink.receive().map { $0[14] }
    }
}

@Suite struct FrameQueueTests {
    @Test(arguments: [false, true])
    func framesWaitAndGoOnInOrder(copying: Bool) throws {
        let pipes = try Pipes(extra: 8)
        var queue = FrameQueue(pipes.input)
        try pipes.give(1...5)
        var ring = pipes.input.receiveRing()
        for place in 0..<5 {
            let slots = ring.frameSlots(at: place)
            let isTaken = queue.take(from: &ring, at: place, slots: slots, copying: copying)
            #expect(slots == 1 && isTaken)
        }
        ring.release(5)
        var (waiting, left) = (queue.count, pipes.input.extraBuffers)
        #expect(waiting == 5 && left == 3)
        // The first that waited longest is dropped.
        let dropped = queue.drop(1)
        #expect(dropped == 1)
        var out = pipes.output.transmitRing()
        let sent = queue.send(to: &out)
        #expect(sent == 4)
        #expect(try pipes.marks() == [2, 3, 4, 5])
        (waiting, left) = (queue.count, pipes.input.extraBuffers)
        #expect(waiting == 0 && left == 8)
    }

    @Test func withoutABufferNothingIsTaken() throws {
        let pipes = try Pipes(extra: 2)
        var queue = FrameQueue(pipes.input)
        try pipes.give(1...3)
        var ring = pipes.input.receiveRing()
        var taken: [Bool] = []
        for place in 0..<3 { taken.append(queue.take(from: &ring, at: place, slots: 1)) }
        #expect(taken == [true, true, false])
        // The third is where it was.
        let third = ring.frame(at: 2)
        let mark = third.bytes[14]
        #expect(mark == 3)
    }

    @Test func whatIsInAQueueComesBackWithIt() throws {
        let pipes = try Pipes(extra: 4)
        do {
            var queue = FrameQueue(pipes.input)
            try pipes.give(1...3)
            var ring = pipes.input.receiveRing()
            for place in 0..<3 { _ = queue.take(from: &ring, at: place, slots: 1) }
            ring.release(3)
            let left = pipes.input.extraBuffers
            #expect(left == 1)
        }
        let left = pipes.input.extraBuffers
        #expect(left == 4)
        // The region has not lost a buffer: everything still goes round.
        for round in 0..<10 {
            try pipes.give(UInt8(round * 10)...UInt8(round * 10 + 9))
            var ring = pipes.input.receiveRing()
            var out = pipes.output.transmitRing()
            let moved = out.forward(from: &ring)
            #expect(moved == 10)
            try pipes.output.syncTransmit()
            try pipes.input.syncReceive()
            #expect(try pipes.sink.receive().count == 10)
            try pipes.output.syncTransmit()
            try pipes.source.syncTransmit()
        }
    }

    @Test func longFramesWaitAsAWhole() throws {
        let pipes = try Pipes(extra: 4)
        let long = frame(from: 1, to: 2, length: 5000, mark: 9)
        #expect(try pipes.source.send([long, frame(from: 1, to: 2, mark: 1), long]) == 3)
        try pipes.input.syncReceive()
        var queue = FrameQueue(pipes.input)
        var ring = pipes.input.receiveRing()
        let slots = [ring.frameSlots(), ring.frameSlots(at: 3), ring.frameSlots(at: 4)]
        #expect(slots == [3, 1, 3])
        var taken = [queue.take(from: &ring, at: 0, slots: 3)]
        taken.append(queue.take(from: &ring, at: 3, slots: 1))
        taken.append(queue.take(from: &ring, at: 4, slots: 3))
        #expect(taken == [true, true, false])
        let waiting = queue.count
        #expect(waiting == 2)
        var out = pipes.output.transmitRing()
        queue.send(to: &out)
        try pipes.output.syncTransmit()
        let received = try pipes.sink.receive()
        #expect(received.map(\.count) == [5000, 60] && received[0] == long)
    }

    @Test func framesOfAnotherRegionAreCopied() throws {
        let space = PortSpace.embedded()
        let a = try Port("vale0:a", on: space)
        var specification = try PortSpecification("vale0:b")
        specification.extraBuffers = 2
        let b = try Port(specification, on: space)
        let c = try Port("vale1:c", on: space)
        let d = try Port("vale1:d", on: space)
        try a.send([frame(from: 1, to: 2, mark: 7), frame(from: 1, to: 2, mark: 8)])
        try b.syncReceive()
        var queue = FrameQueue(b)
        var ring = b.receiveRing()
        var isTaken = queue.take(from: &ring, at: 1, slots: 1)
        isTaken = queue.take(from: &ring, at: 0, slots: 1) && isTaken
        #expect(isTaken)
        var out = c.transmitRing()
        let sent = queue.send(to: &out)
        #expect(sent == 2)
        try c.syncTransmit()
        #expect(try d.receive().map { $0[14] } == [8, 7])
        let left = b.extraBuffers
        #expect(left == 2)
    }

    // MARK: Sending out of order

    @Test(arguments: [false, true])
    func anyFrameOfABatchCanBeSent(copying: Bool) throws {
        let pipes = try Pipes(extra: 0)
        try pipes.give(1...6)
        var ring = pipes.input.receiveRing()
        var out = pipes.output.transmitRing()
        for place in [4, 0, 2] {
            let isSent = out.send(from: &ring, at: place, slots: 1, copying: copying)
            #expect(isSent)
        }
        ring.release(6)
        try pipes.input.syncReceive()
        #expect(try pipes.marks() == [5, 1, 3])
    }

    @Test func aFullRingRefusesAFrameAndLeavesItWhereItIs() throws {
        let pipes = try Pipes(extra: 0, slots: 8)
        var sent = 0
        for mark in 0..<9 as Range<UInt8> {
            try pipes.give(mark...mark)
            var ring = pipes.input.receiveRing()
            var out = pipes.output.transmitRing()
            if out.send(from: &ring, at: ring.count - 1, slots: 1) {
                ring.release(1)
                sent += 1
            }
            let count = ring.count
            #expect(count == (mark < 7 ? 0 : Int(mark) - 6))
        }
        #expect(sent == 7)
    }

    // MARK: Receiving

    private struct Enough: Error {}

    @Test func whatThrewStaysAndWhatWasSeenIsGone() throws {
        let pipes = try Pipes(extra: 0)
        try pipes.give(1...6)
        var ring = pipes.input.receiveRing()
        var seen: [UInt8] = []
        #expect(throws: Enough.self) {
            try ring.receive { frame in
                if seen.count == 3 { throw Enough() }
                seen.append(frame.bytes[14])
            }
        }
        let left = ring.count
        #expect(seen == [1, 2, 3] && left == 3)
        ring.receive { seen.append($0.bytes[14]) }
        #expect(seen == [1, 2, 3, 4, 5, 6])
    }
}
