// What must arrive at a guest: random senders and receivers, and a model that says it the slow way.

import Netmap
import TestSupport

@testable import VhostUser

/// What a guest's buffers must hold after frames were offered to them, the slow way.
struct ReceiverModel {
    let mergeable: Bool
    let headerLength: Int
    /// Bytes of each chain that waits, in order.
    var rooms: [Int] = []
    var oversize = 0
    var ringFull = 0

    /// - Returns: how many chains the frame takes, or nil if it is dropped.
    mutating func offer(_ frame: [UInt8]) -> Int? {
        let needed = headerLength + frame.count
        var room = 0
        for (k, chain) in rooms.enumerated() {
            room += chain
            if room >= needed {
                rooms.removeFirst(k + 1)
                return k + 1
            }
            if !mergeable {
                oversize += 1
                return nil
            }
        }
        ringFull += 1
        return nil
    }
}

/// One sender, one receiver, every parameter drawn from the seed.
struct ReceiveTrial {
    var random: Seeded
    let sender: MockDriver
    let receiver: MockDriver
    let longest: Int

    init(_ format: Format, seed: Int, features: [UInt64]) throws {
        random = Seeded(seed)
        let isLarge = seed % 8 == 0
        longest = isLarge ? 65_597 : random.within(60...3000)
        let slice = longest + 512
        // The other end is of the other format, now and then.
        let other: Format = seed % 4 == 3 ? (format == .split ? .packed : .split) : format
        sender = try ReceiveTrial.driver(
            format,
            features[seed / 2 % 2],
            slice,
            slices: isLarge ? 4 : 24,
            &random
        )
        receiver = try ReceiveTrial.driver(
            other,
            features[seed % 2],
            slice,
            slices: isLarge ? 6 : 64,
            &random
        )
    }

    static func driver(
        _ format: Format,
        _ features: UInt64,
        _ slice: Int,
        slices: Int,
        _ random: inout Seeded
    ) throws -> MockDriver {
        let size =
            format == .split
            ? UInt16(1) << UInt16(random.within(4...8)) : UInt16(random.within(16...256))
        let length = MockDriver.footprint(
            format,
            size: size,
            sliceCount: slices,
            sliceSize: slice
        )
        let first = (RingAreas.footprint(size, format) + 15) & ~15
        var regions = [first]
        while regions.reduce(0, +) < length, regions.count < 31 {
            regions.append(16 * random.within(16...max(16, length / 160)))
        }
        regions.append(max(4096, (length - regions.reduce(0, +) + 15) & ~15))
        return MockDriver(
            format,
            try GuestRAM(regions),
            size: size,
            features: features,
            sliceCount: slices,
            sliceSize: slice
        )
    }

    mutating func form(_ count: Int) -> Int? {
        switch random.below(3) {
        case 0: nil
        case 1: 0
        default: random.below(count)
        }
    }

    mutating func send(_ number: Int) -> (header: [UInt8], frame: [UInt8])? {
        let length = random.chance(50) ? random.within(20...100) : longest
        let frame = makeFrame(
            number,
            length: random.within(20...max(20, length)),
            using: &random
        )
        var header = [UInt8](repeating: 0, count: 10)
        if receiver.features & Feature.guestChecksum != 0, frame.count >= 60,
            random.chance(40)
        {
            header = [1, 0, 0, 0, 0, 0, 34, 0, 16, 0]
            if random.chance(50) { header[1] = random.chance(50) ? 1 : 0x81 }
            if header[1] != 0 { header[4] = 200 }
        }
        let padding = [UInt8](repeating: 0x77, count: sender.headerLength - 10)
        let lengths = random.split(
            sender.headerLength + frame.count,
            into: random.within(1...8)
        )
        guard
            sender.post(
                lengths,
                direct: form(lengths.count),
                content: header + padding + frame
            )
                != nil
        else { return nil }
        return (header, frame)
    }

    /// Posts one receive chain; its bytes, or nil if there is no room.
    mutating func offerBuffer() -> Int? {
        let whole = longest + receiver.headerLength
        let total: Int
        if receiver.mergeable {
            total = random.within(max(64, whole / 30)...max(64, whole / 3))
        } else {
            // Now and then too small for the longest frames.
            total =
                random.chance(5) ? random.within(40...whole) : random.within(whole...whole + 90)
        }
        let lengths = random.split(total, into: random.within(1...4))
        let posted = receiver.post(
            lengths,
            writable: true,
            direct: form(lengths.count),
            gap: random.below(3)
        )
        return posted == nil ? nil : total
    }
}
