// Ports as programs use them: pipes, waiting, forwarding, extra buffers, mistakes.

import Netmap
import Testing
import Vale

@Suite struct PortTests {
    // MARK: Pipes

    @Test func pipesLoseNothingAndHoldTheirSenderBack() throws {
        let space = PortSpace.embedded()
        let master = try Port("netmap:p{1@conf:slots=8", on: space)
        let slave = try Port("netmap:p}1", on: space)
        #expect(try master.send((0..<9).map { frame(from: 1, to: 2, mark: UInt8($0)) }) == 7)
        #expect(master.space == 0 && !master.isDrained)
        #expect(try slave.receive().map { $0[14] } == Array(0..<7))
        // Room comes back with the receiver's sync, and is seen with the sender's.
        #expect(master.space == 0)
        try master.syncTransmit()
        #expect(master.space == 7)
        try slave.send([frame(from: 2, to: 1)])
        #expect(try master.receive().count == 1)
    }

    @Test func anIncompleteFrameWaitsInAPipe() throws {
        let space = PortSpace.embedded()
        let master = try Port("netmap:p{1", on: space)
        let slave = try Port("netmap:p}1", on: space)
        var ring = master.transmitRing()
        ring.reuse(at: 0, length: 100, flags: .moreFragments)
        ring.advance(1)
        try master.syncTransmit()
        try slave.syncReceive()
        let waiting = slave.receiveRing().count
        #expect(waiting == 0)
        ring.reuse(at: 0, length: 50)
        ring.advance(1)
        try master.syncTransmit()
        #expect(try slave.receive().map(\.count) == [150])
    }

    @Test func whatWasSentIsThereForTheNextReader() throws {
        let space = PortSpace.embedded()
        let master = try Port("netmap:p{1", on: space)
        do {
            let slave = try Port("netmap:p}1", on: space)
            try slave.syncReceive()
        }
        try master.send([frame(from: 1, to: 2, mark: 5)])
        let slave = try Port("netmap:p}1", on: space)
        #expect(try slave.receive().map { $0[14] } == [5])
    }

    // MARK: Forwarding

    @Test func portsOfOneRegionExchangeBuffers() throws {
        let space = PortSpace.embedded()
        let left = try Port("netmap:p{1", on: space)
        let right = try Port("netmap:p{2", on: space)
        let from = try Port("netmap:p}1", on: space)
        let to = try Port("netmap:p}2", on: space)
        #expect(left.memoryID == right.memoryID)
        try from.send((0..<5).map { frame(from: 1, to: 2, mark: UInt8($0)) })
        try left.syncReceive()
        var source = left.receiveRing()
        var target = right.transmitRing()
        let isShared = target.sharesMemory(with: source)
        let moved = target.forward(from: &source)
        #expect(isShared && moved == 5)
        try right.syncTransmit()
        try left.syncReceive()
        #expect(try to.receive().map { $0[14] } == [0, 1, 2, 3, 4])
    }

    @Test func portsOfDifferentRegionsCopy() throws {
        let space = PortSpace.embedded()
        let a = try Port("vale0:a", on: space)
        let b = try Port("vale0:b", on: space)
        let c = try Port("vale1:c", on: space)
        let d = try Port("vale1:d", on: space)
        try a.send((0..<5).map { frame(from: 1, to: 255, mark: UInt8($0)) })
        try b.syncReceive()
        var source = b.receiveRing()
        var target = c.transmitRing()
        let isShared = target.sharesMemory(with: source)
        #expect(!isShared)
        let taken = target.forward(from: &source) { frame in
            let mark = frame[14]
            frame[14] = mark + 100
            return mark != 2
        }
        #expect(taken == 5)
        try c.syncTransmit()
        #expect(try d.receive().map { $0[14] } == [100, 101, 103, 104])
    }

    // MARK: Extra buffers

    @Test func extraBuffersHoldFramesForLater() throws {
        let space = PortSpace.embedded()
        let a = try Port("vale0:a", on: space)
        var specification = try PortSpecification("vale0:b")
        specification.extraBuffers = 3
        do {
            let b = try Port(specification, on: space)
            #expect(b.extraBuffers == 3)
            try a.send([frame(from: 1, to: 255, mark: 77)])
            try b.syncReceive()
            var ring = b.receiveRing()
            guard var buffer = b.takeExtraBuffer() else {
                Issue.record("there is no extra buffer")
                return
            }
            #expect(b.extraBuffers == 2)
            let length = buffer.exchange(with: &ring)
            #expect(length == 60)
            ring.release(1)
            try b.syncReceive()
            let mark = buffer.bytes[14]
            #expect(mark == 77)
            var out = b.transmitRing()
            let isIn = buffer.exchange(with: &out, length: 60)
            #expect(isIn)
            out.advance(1)
            try b.syncTransmit()
            #expect(try a.receive().map { $0[14] } == [77])
        }
        let b = try Port(specification, on: space)
        #expect(b.extraBuffers == 3)
    }

    // MARK: Waiting

    @Test func pollSendsAndSaysWhatIsReady() throws {
        let space = PortSpace.embedded()
        let a = try Port("vale0:a", on: space)
        let b = try Port("vale0:b", on: space)
        #expect(try b.poll(.receive, timeout: .zero) == [])
        #expect(try b.poll([.receive, .transmit]) == .transmit)
        var ring = a.transmitRing()
        ring.send(frame(from: 1, to: 255).span)
        // With nothing to wait for it sends all the same (trap 13).
        #expect(try a.poll([], timeout: .zero) == [])
        #expect(try b.poll(.receive, timeout: .seconds(5)) == .receive)
        // Not consumed: still ready. Seen only: wait for more (trap 14).
        #expect(try b.poll(.receive, timeout: .zero) == .receive)
        var received = b.receiveRing()
        received.wakeOnlyForMore()
        #expect(try b.poll(.receive, timeout: .zero) == [])
        let (count, stamp) = (received.count, received.timestamp)
        #expect(count == 1 && stamp.seconds > 1_000_000_000)
    }

    @Test func aThreadIsWokenByAFrame() async throws {
        let space = PortSpace.embedded()
        let a = try Port("vale0:a", on: space)
        let b = try Port("vale0:b", on: space)
        async let sent = Task.detached {
            try await Task.sleep(for: .milliseconds(30))
            return try a.send([frame(from: 1, to: 255)])
        }.value
        // In turns, because tests share a few threads, and the sender needs one.
        var ready: Readiness = []
        for _ in 0..<2400 where ready.isEmpty {
            ready = try b.poll(.receive, timeout: .milliseconds(50))
            await Task.yield()
        }
        #expect(ready == .receive)
        #expect(try await sent == 1)
    }

    @Test func tasksWaitWithoutAThread() async throws {
        let space = PortSpace.embedded()
        let a = try Port("vale0:a", on: space)
        try await withThrowingTaskGroup(of: Readiness.self) { group in
            // More tasks than threads: one that blocked would hold up the others for ever.
            for index in 0..<32 {
                group.addTask {
                    let port = try Port("vale0:t\(index)", on: space)
                    return try await port.wait(for: .receive, timeout: .seconds(120))
                }
            }
            while try space.valePorts().count < 33 { try await Task.sleep(for: .milliseconds(2)) }
            try a.send([frame(from: 1, to: 255)])
            for try await ready in group { #expect(ready == .receive) }
        }
    }

    @Test func aTaskStopsWaitingAfterItsTimeout() async throws {
        let port = try Port("vale0:a", on: .embedded())
        #expect(try await port.wait(for: .receive, timeout: .milliseconds(20)) == [])
    }

    @Test func aTaskStopsWaitingWhenItIsCancelled() async throws {
        let space = PortSpace.embedded()
        let task = Task {
            let port = try Port("vale0:a", on: space)
            return try await port.wait(for: .receive)
        }
        while try space.valePorts().isEmpty { await Task.yield() }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test func aPipesSenderIsWokenByRoom() async throws {
        let space = PortSpace.embedded()
        let master = try Port("netmap:p{1@conf:slots=8", on: space)
        let slave = try Port("netmap:p}1", on: space)
        try master.send((0..<7).map { _ in frame(from: 1, to: 2) })
        #expect(try master.poll(.transmit, timeout: .zero) == [])
        async let read = Task.detached { try slave.receive().count }.value
        #expect(try await master.wait(for: .transmit, timeout: .seconds(120)) == .transmit)
        #expect(try await read == 7)
    }

    // MARK: Mistakes

    @Test func errorsSayWhatToDo() throws {
        let space = PortSpace.embedded()
        let none = #expect(throws: PortError.self) { _ = try Port("netmap:nope", on: space).name }
        #expect(none?.kind == .refused && none?.errno == 6)
        #expect(none?.description.contains("nope") == true)
        let exclusive = try Port("vale0:a/x", on: space)
        let busy = #expect(throws: PortError.self) { _ = try Port("vale0:a", on: space).name }
        #expect(busy?.errno == 16 && exclusive.name == "vale0:a")
        let engine = PortSpace.engine(socket: "/nonexistent/netmap.sock")
        let missing = #expect(throws: PortError.self) { _ = try Port("vale0:a", on: engine).name }
        #expect(missing?.kind == .noEngine)
        #expect(missing?.description.contains("wirevale serve") == true)
    }

    @Test func oneRingAlone() throws {
        let space = PortSpace.embedded()
        let all = try Port("vale0:a@conf:rings=3", on: space)
        let one = try Port("vale0:a-2/T", on: space)
        #expect(all.transmitRings == 0..<3 && all.receiveRings == 0..<3)
        #expect(one.transmitRings == 2..<3 && one.receiveRings.isEmpty)
        let b = try Port("vale0:b", on: space)
        try one.send([frame(from: 1, to: 255)])
        #expect(try b.receive().count == 1)
    }

    @Test func memoryIsSharedByNumber() throws {
        let space = PortSpace.embedded()
        let a = try Port("vale0:a", on: space)
        let b = try Port("vale0:b@share=vale0:a", on: space)
        let c = try Port("vale0:c@\(a.memoryID)", on: space)
        #expect(b.memoryID == a.memoryID && c.memoryID == a.memoryID)
        var none = PortSpecification(name: "only memory")
        none.rings = .none
        none.memoryID = a.memoryID
        let memory = try Port(none, on: space)
        #expect(memory.memorySize == a.memorySize)
    }
}
