// What a guest can write into a virtio-net header, and what a receiver without offloads makes of it.

import Netmap
import TestSupport
import Testing

@testable import VhostUser

@Suite("A hostile virtio-net header")
struct HostileHeaderTests {
    static func header(
        flags: Int = 0,
        type: Int = 0,
        hdrLen: Int = 0,
        size: Int = 0,
        start: Int = 0,
        offset: Int = 0
    ) -> [UInt8] {
        [
            flags, type, hdrLen & 0xff, hdrLen >> 8, size & 0xff, size >> 8, start & 0xff,
            start >> 8,
            offset & 0xff, offset >> 8,
        ].map { UInt8($0) }
    }

    /// Frames of 100 bytes with these are dropped as bad-offload.
    static let contradictions: [[UInt8]] = [
        header(flags: 1, start: 99, offset: 0), header(flags: 1, start: 0, offset: 99),
        header(flags: 1, start: 100, offset: 0), header(flags: 1, start: 65_535, offset: 65_535),
        header(flags: 1, start: 65_535, offset: 2), header(flags: 1, start: 50, offset: 49),
        header(flags: 0, type: 1, size: 1000, start: 34, offset: 16),
        header(flags: 1, type: 1, size: 0, start: 34, offset: 16),
        header(flags: 1, type: 2, size: 100, start: 34, offset: 16),
        header(flags: 1, type: 6, size: 100, start: 34, offset: 16),
        header(flags: 1, type: 0x21, size: 100, start: 34, offset: 16),
        header(flags: 1, type: 0x7f, size: 100, start: 34, offset: 16),
        header(flags: 0, type: 0x80), header(flags: 1, type: 0x80, start: 34, offset: 16),
        header(flags: 1, type: 0xff, size: 9, start: 34, offset: 16),
    ]

    @Test(
        "that contradicts itself or the frame costs that frame, counted, and nothing else",
        arguments: contradictions,
        [[112], [4, 3, 105], [12, 100]]
    )
    func contradiction(header: [UInt8], pieces: [Int]) throws {
        for format in Format.allCases { try contradiction(format, header, pieces) }
    }

    func contradiction(_ format: Format, _ header: [UInt8], _ pieces: [Int]) throws {
        var guest = try HostileGuest(format)
        var random = Seeded(1)
        let padding: [UInt8] = [0, 0]
        let good = makeFrame(2, length: 100, using: &random)
        guest.transmit.post(
            pieces,
            content: header + padding + makeFrame(1, length: 100, using: &random)
        )
        guest.transmit.post(pieces, content: [UInt8](repeating: 0, count: 12) + good)
        guest.transmit.publish()
        #expect(guest.worker.collect(guest.source) == [Collected(frame: good, request: nil)])
        #expect(guest.worker.received.drops == ["bad-offload": 1])
        guest.source.completeCollected()
        #expect(guest.transmit.poll().count == 2)
        #expect(guest.source.fault == .none)
    }

    @Test(
        "with unknown flags and without a request is an empty one to the receiver",
        arguments: Format.allCases
    )
    func unknownFlags(format: Format) throws {
        var guest = try HostileGuest(format)
        var random = Seeded(1)
        let frame = makeFrame(1, length: 100, using: &random)
        let header = HostileHeaderTests.header(
            flags: 0xfe,
            hdrLen: 0xffff,
            size: 0xffff,
            start: 0xffff,
            offset: 0xffff
        )
        guest.transmit.post([112], content: header + [0xff, 0xff] + frame)
        guest.transmit.publish()
        guest.receive.post([1600], writable: true)
        guest.receive.publish()
        guest.worker.turn(guest.source, guest.sink)
        let received = guest.receive.pollFrames()
        #expect(received.map(\.frame) == [frame])
        #expect(received.map(\.header) == [[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]])
    }

    @Test(
        "does not pass flags on that its receiver would misunderstand",
        arguments: Format.allCases
    )
    func flagsOfRequests(format: Format) throws {
        var guest = try HostileGuest(format)
        var random = Seeded(1)
        let frame = makeFrame(1, length: 100, using: &random)
        let header = HostileHeaderTests.header(flags: 0xff, start: 34, offset: 16)
        guest.transmit.post([112], content: header + [0, 0] + frame)
        guest.transmit.publish()
        guest.receive.post([1600], writable: true)
        guest.receive.publish()
        guest.worker.turn(guest.source, guest.sink)
        #expect(guest.receive.pollFrames().map { $0.header[0] } == [1])
    }

    @Test(
        "and a random frame behind it are finished, or counted, for a guest without offloads",
        arguments: Format.allCases,
        0..<40
    )
    func finishing(format: Format, seed: Int) throws {
        var random = Seeded(seed)
        var guest = try HostileGuest(format, Feature.version1 | Feature.mergeableBuffers, size: 256)
        var sent = 0
        for _ in 0..<60 {
            let length = random.within(14...1500)
            var frame = random.bytes(length)
            // Half of them look like IP, so that the finisher gets far.
            if random.chance(70), length > 60 {
                let isIPv6 = random.chance(40)
                frame[12] = isIPv6 ? 0x86 : 8
                frame[13] = isIPv6 ? 0xdd : 0
                frame[14] = isIPv6 ? 0x60 : UInt8(0x40 + random.within(4...7))
                if random.chance(80) { frame[14] = isIPv6 ? 0x60 : 0x45 }
                frame[isIPv6 ? 20 : 23] = random.chance(50) ? 6 : 17
                if random.chance(70) { frame[20] = 0 }
            }
            let isIPv6 = frame[12] == 0x86
            let types = [0, 1, 3, 4, 5, 0x81, 0x84]
            let header =
                random.chance(80)
                ? HostileHeaderTests.header(
                    flags: 1,
                    type: types[random.below(types.count)],
                    hdrLen: random.below(65536),
                    size: random.chance(50) ? random.within(1...1500) : random.below(65536),
                    start: random.chance(80) ? (isIPv6 ? 54 : 34) : random.below(length),
                    offset: random.chance(80) ? (random.chance(50) ? 16 : 6) : random.below(200)
                )
                : random.bytes(10)
            let lengths = random.split(12 + length, into: random.within(1...6))
            guard guest.transmit.post(lengths, content: header + [0, 0] + frame) != nil else {
                break
            }
            sent += 1
            while guest.receive.post([2000], writable: true) != nil {}
            guest.transmit.publish()
            guest.receive.publish()
            guest.worker.turn(guest.source, guest.sink)
            for received in guest.receive.pollFrames() {
                #expect(received.isWellFormed, "seed \(seed)")
                #expect(received.header.prefix(10).allSatisfy { $0 == 0 }, "seed \(seed)")
            }
            #expect(guest.transmit.poll().count == 1, "seed \(seed)")
        }
        let received = guest.worker.received.counters
        #expect(received.packets + received.dropped == UInt64(sent), "seed \(seed)")
        // One frame can become many, but none becomes nothing.
        let result = guest.worker.sent.counters
        #expect(result.packets + result.dropped >= received.packets, "seed \(seed)")
        #expect(guest.source.fault == .none && guest.sink.fault == .none)
        #expect(guest.ram.canariesAreIntact)
    }
}
