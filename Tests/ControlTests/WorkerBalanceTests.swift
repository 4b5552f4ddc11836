// How load is evened out, without an engine.

import Control
import Testing

@Suite("Worker balance")
struct WorkerBalanceTests {
    private func queue(_ name: String, _ load: Int, isPinned: Bool = false) -> WorkerBalance.Queue {
        WorkerBalance.Queue(port: name, queue: 0, load: load, isPinned: isPinned)
    }

    @Test func `two busy queues on one worker are parted by one move`() {
        var balance = WorkerBalance([
            0: [queue("a", 100), queue("b", 90), queue("c", 0)], 1: [queue("d", 1)], 2: [],
        ])
        #expect(balance.even().map { [$0.queue.port, "\($0.to)"] } == [["a", "2"]])
        #expect(balance.load(of: 0) == 90)
    }

    @Test func `an even load is left alone`() {
        var balance = WorkerBalance([0: [queue("a", 100)], 1: [queue("b", 97)]])
        #expect(balance.even().isEmpty)
        var idle = WorkerBalance([0: [queue("a", 0), queue("b", 0)], 1: []])
        #expect(idle.even().isEmpty)
        var single = WorkerBalance([0: [queue("a", 50), queue("b", 70)]])
        #expect(single.even().isEmpty)
    }

    @Test func `what is pinned stays, and one queue too large to halve stays too`() {
        var pinned = WorkerBalance([0: [queue("a", 100, isPinned: true), queue("b", 10)], 1: []])
        #expect(pinned.even().map(\.queue.port) == ["b"])
        var large = WorkerBalance([0: [queue("a", 100)], 1: []])
        #expect(large.even().isEmpty)
    }

    @Test func `the load is what was moved between two looks`() {
        func look(_ a: Int, _ b: Int) -> JSONValue {
            [
                [
                    "id": 0,
                    "queues": [
                        ["ifname": "vale0:a", "queue": 0, "frames": .integer(a), "pinned": false],
                        ["ifname": "vale0:a", "queue": 1, "frames": .integer(b), "pinned": false],
                    ],
                ],
                ["id": 1, "queues": []],
            ]
        }
        var balance = WorkerBalance(before: look(1_000_000, 10), after: look(1_000_050, 70))
        #expect(balance.load(of: 0) == 110)
        let moves = balance.even()
        #expect(moves.map(\.queue.queue) == [1] || moves.map(\.queue.queue) == [0])
        #expect(moves.count == 1 && moves[0].from == 0 && moves[0].to == 1)
    }

    @Test(arguments: 1...50)
    func `it ends, moves nothing twice and never makes the busiest busier`(seed: Int) {
        var state = UInt64(seed)
        func random(_ below: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % below
        }
        var workers: [Int: [WorkerBalance.Queue]] = [:]
        for worker in 0..<(1 + random(8)) {
            workers[worker] = (0..<random(12)).map { queue("p\(worker)-\($0)", random(1000)) }
        }
        var balance = WorkerBalance(workers)
        let before = workers.keys.map { balance.load(of: $0) }.max() ?? 0
        let moves = balance.even()
        #expect(moves.count < 1000)
        #expect((workers.keys.map { balance.load(of: $0) }.max() ?? 0) <= before)
        #expect(balance.workers.values.joined().count == workers.values.joined().count)
    }
}
