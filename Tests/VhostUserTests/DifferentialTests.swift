// One conversation between two guests, held over every kind of ring: what arrives, what comes back
// and what is counted must not depend on the format, on indirect tables, or on the order of ids.

import Netmap
import TestSupport
import Testing

@testable import VhostUser

/// How rings are used, which nobody but the two drivers may notice.
private struct Manner {
    var format: Format
    var isIndirect: Bool
    var inOrder: Bool

    static let all: [Manner] = Format.allCases.flatMap { format in
        [false, true].flatMap { isIndirect in
            [false, true].map { Manner(format: format, isIndirect: isIndirect, inOrder: $0) }
        }
    }
}

/// What two guests can see of a conversation, and what the switch counted.
private struct Transcript: Equatable {
    struct Round: Equatable {
        var received: [MockDriver.Received] = []
        /// How many chains the sender got back.
        var sent = 0
        /// Whether each of them was interrupted; how often depends on how much fits a visit.
        var interrupts = [false, false]
    }

    var rounds: [Round] = []
    var fromSender: [UInt64] = []
    var toReceiver: [UInt64] = []
    var senderDrops: [String: UInt64] = [:]
    var receiverDrops: [String: UInt64] = [:]
}

/// A guest on rings of one manner.
private struct Guest {
    let driver: MockDriver
    let queue: any DeviceQueue
    let manner: Manner

    /// So many chains that a ring never fills up before the slices do, whatever the manner.
    static let slices = 40
    static let sliceSize = 4400

    init(_ manner: Manner, _ features: UInt64) throws {
        self.manner = manner
        let size: UInt16 = manner.format == .split ? 256 : 241
        let length = MockDriver.footprint(
            manner.format,
            size: size,
            sliceCount: Guest.slices,
            sliceSize: Guest.sliceSize
        )
        driver = MockDriver(
            manner.format,
            try GuestRAM([length]),
            size: size,
            features: features | (manner.inOrder ? Feature.inOrder : 0),
            sliceCount: Guest.slices,
            sliceSize: Guest.sliceSize
        )
        queue = driver.makeQueue()
    }

    func post(_ lengths: [Int], writable: Bool, content: [UInt8] = []) -> Bool {
        let direct = manner.isIndirect ? 0 : nil
        return driver.post(lengths, writable: writable, direct: direct, content: content) != nil
    }
}

@Suite("Split and packed rings")
struct DifferentialTests {
    /// Holds the conversation that `seed` gives.
    private func talk(_ manner: Manner, _ features: [UInt64], seed: Int) throws -> Transcript {
        var random = Seeded(seed)
        let sender = try Guest(manner, features[0])
        let receiver = try Guest(manner, features[1])
        var worker = Worker()
        var transcript = Transcript()
        for number in 0..<30 {
            for _ in 0..<random.below(40) {
                // Drawn whether or not there is room, so that all manners draw the same.
                let lengths = random.split(
                    receiver.driver.mergeable ? random.within(70...900) : random.within(40...4000),
                    into: random.within(1...4)
                )
                _ = receiver.post(lengths, writable: true)
            }
            for index in 0..<random.below(24) {
                // Also frames that are too short to be any.
                let length = random.within(random.chance(8) ? 1...20 : 60...3000)
                let frame = makeFrame(100 * number + index, length: length, using: &random)
                let header = random.chance(20) ? [1, 0, 0, 0, 0, 0, 34, 0, 16, 0] : random.header()
                let padding = [UInt8](repeating: 0, count: sender.driver.headerLength - 10)
                let bytes = header + padding + frame
                _ = sender.post(
                    random.split(bytes.count, into: random.within(1...6)),
                    writable: false,
                    content: bytes
                )
            }
            receiver.driver.publish()
            sender.driver.publish()
            var round = Transcript.Round()
            while worker.turn(sender.queue, receiver.queue) != 0 {
                if sender.queue.needsInterrupt() { round.interrupts[0] = true }
                if receiver.queue.needsInterrupt() { round.interrupts[1] = true }
            }
            round.received = receiver.driver.pollFrames()
            round.sent = sender.driver.poll().count
            transcript.rounds.append(round)
        }
        let note = Comment(rawValue: "\(manner) seed \(seed)")
        #expect(sender.queue.fault == .none && receiver.queue.fault == .none, note)
        #expect(sender.driver.ram.canariesAreIntact && receiver.driver.ram.canariesAreIntact, note)
        let from = worker.received.counters
        let to = worker.sent.counters
        transcript.fromSender = [from.packets, from.bytes, from.offloaded, from.dropped]
        transcript.toReceiver = [to.packets, to.bytes, to.offloaded, to.dropped]
        transcript.senderDrops = worker.received.drops
        transcript.receiverDrops = worker.sent.drops
        return transcript
    }

    @Test("carry the same conversation in the same way", arguments: 0..<25)
    func sameTranscript(seed: Int) throws {
        // Headers of 10 and of 12 bytes, buffers that are merged or not, offloads taken or not.
        let offloads = Feature.guestChecksum | Feature.guestTSO4 | Feature.guestECN
        let kinds = [
            0, Feature.version1, Feature.mergeableBuffers,
            Feature.version1 | Feature.mergeableBuffers | offloads, Feature.version1 | offloads,
        ]
        let features = [kinds[seed % 5], kinds[seed / 5 % 5]]
        let expected = try talk(Manner.all[0], features, seed: seed)
        #expect(expected.toReceiver[0] > 30, "otherwise the test tests nothing")
        #expect(expected.senderDrops["malformed"] ?? 0 > 0)
        #expect(expected.rounds.allSatisfy { $0.received.allSatisfy(\.isWellFormed) })
        for manner in Manner.all.dropFirst() {
            let transcript = try talk(manner, features, seed: seed)
            guard transcript != expected else { continue }
            let round = zip(transcript.rounds, expected.rounds).enumerated().first {
                $0.element.0 != $0.element.1
            }
            Issue.record("\(manner) seed \(seed) differs in round \(round?.offset ?? -1)")
        }
    }
}

extension Seeded {
    /// A header that asks for nothing, or for a segmentation that may make sense.
    fileprivate mutating func header() -> [UInt8] {
        guard chance(15) else { return [UInt8](repeating: 0, count: 10) }
        return [1, [1, 0x81, 4][below(3)], 54, 0, 200, 0, 34, 0, 16, 0]
    }
}
