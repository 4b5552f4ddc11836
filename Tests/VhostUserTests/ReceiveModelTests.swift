// Frames to the guest: what arrives is what the model says, between random guests.

import Netmap
import TestSupport
import Testing

@testable import VhostUser

@Suite("The receive queue, beside its model")
struct ReceiveModelTests {
    func run(_ trial: consuming ReceiveTrial, frames total: Int, seed: Int) {
        var trial = trial
        let note = Comment(
            rawValue:
                "\(trial.sender.format) seed \(seed), ring sizes \(trial.sender.size) \(trial.receiver.size)"
        )
        let source = trial.sender.makeQueue()
        let sink = trial.receiver.makeQueue()
        var worker = Worker()
        var model = ReceiverModel(
            mergeable: trial.receiver.mergeable,
            headerLength: trial.receiver.headerLength
        )
        var number = 0
        var delivered = 0
        var bytes = 0
        while number < total {
            var sent: [(header: [UInt8], frame: [UInt8])] = []
            for _ in 0..<trial.random.within(1...30) {
                guard let one = trial.send(number) else { break }
                sent.append(one)
                number += 1
            }
            for _ in 0..<trial.random.within(1...40) {
                guard let room = trial.offerBuffer() else { break }
                model.rooms.append(room)
            }
            trial.sender.publish()
            trial.receiver.publish()
            // Large frames take more than one visit.
            while worker.turn(source, sink) != 0 {}
            var expected: [MockDriver.Received] = []
            for one in sent {
                bytes += one.frame.count
                guard let buffers = model.offer(one.frame) else { continue }
                var header = one.header
                if trial.receiver.headerLength == 12 {
                    header += [UInt8(buffers & 0xff), UInt8(buffers >> 8)]
                }
                expected.append(
                    MockDriver.Received(
                        header: header,
                        frame: one.frame,
                        buffers: buffers,
                        isWellFormed: true
                    )
                )
            }
            delivered += expected.count
            let received = trial.receiver.pollFrames()
            guard received == expected else {
                Issue.record(
                    "\(received.count) of \(expected.count) arrived, \(number) sent; \(note)"
                )
                return
            }
            #expect(trial.sender.poll().count == sent.count, note)
            #expect(source.fault == .none, note)
            #expect(sink.fault == .none, note)
        }
        #expect(worker.received.counters.packets == UInt64(number), note)
        #expect(worker.received.counters.bytes == UInt64(bytes), note)
        #expect(worker.sent.counters.packets == UInt64(delivered), note)
        #expect(worker.sent.counters.dropped(.ringFull) == UInt64(model.ringFull), note)
        #expect(worker.sent.counters.dropped(.oversize) == UInt64(model.oversize), note)
        #expect(
            worker.sent.counters.packets + worker.sent.counters.dropped
                == worker.received.counters.packets,
            note
        )
        #expect(trial.sender.ram.canariesAreIntact && trial.receiver.ram.canariesAreIntact, note)
    }

    @Test(
        "delivers what was sent, headers too, in order, between legacy guests",
        arguments: Format.allCases,
        0..<16
    )
    func legacy(format: Format, seed: Int) throws {
        try run(
            ReceiveTrial(
                format,
                seed: seed,
                features: [0, Feature.guestChecksum | Feature.guestTSO4 | Feature.guestECN]
            ),
            frames: 90,
            seed: seed
        )
    }

    @Test(
        "delivers what was sent, headers too, in order, to guests that merge buffers",
        arguments: Format.allCases,
        0..<16
    )
    func merging(format: Format, seed: Int) throws {
        try run(
            ReceiveTrial(format, seed: seed, features: [Feature.mergeableBuffers, Feature.modern]),
            frames: 90,
            seed: seed
        )
    }

    @Test(
        "delivers what was sent, headers too, in order, between guests of any kind",
        arguments: Format.allCases,
        0..<16
    )
    func mixed(format: Format, seed: Int) throws {
        try run(
            ReceiveTrial(
                format,
                seed: seed,
                features: [Feature.modern, seed % 4 < 2 ? 0 : Feature.version1]
            ),
            frames: 90,
            seed: seed
        )
    }
}
