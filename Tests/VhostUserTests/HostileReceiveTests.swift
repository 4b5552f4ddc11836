// Receive buffers that no driver offers (vhost-user-spec 2.10; CVE-2014-0077 and its kin).

import Netmap
import TestSupport
import Testing

@testable import VhostUser

@Suite("A hostile driver's receive buffers")
struct HostileReceiveTests {
    @Test(
        "whose receive chain is longer than 4 GB gets one frame into it",
        arguments: Format.allCases
    )
    func giantReceiveChain(format: Format) throws {
        var guest = try HostileGuest(format, size: 1024, memory: 8 << 20)
        let cell = Cell(guest.ram.start + (4 << 20), 4 << 20, Cell.writable)
        guest.receive.ring.add([Cell](repeating: cell, count: 1024))
        guest.receive.publish()
        #expect(guest.visit(.receive) == 1)
        #expect(guest.receive.poll().map(\.length) == [112])
    }

    @Test(
        "who offers receive chains of no bytes stops his queue",
        arguments: Format.allCases,
        [Feature.version1, Feature.modern]
    )
    func emptyReceiveBuffers(format: Format, features: UInt64) throws {
        for count in [1, 2] {
            try expectFault(.chainLength, format, .receive, features: features) {
                guest,
                driver,
                _ in
                let cell = Cell(guest.buffer, 0, Cell.writable)
                for _ in 0..<8 { driver.ring.add([Cell](repeating: cell, count: count)) }
            }
        }
    }

    @Test(
        "who offers receive buffers of one byte gets whole frames or none",
        arguments: Format.allCases
    )
    func tinyReceiveBuffers(format: Format) throws {
        var guest = try HostileGuest(format, size: 256)
        for number in 0..<256 {
            guest.receive.ring.add([Cell(guest.buffer + UInt64(number), 1, Cell.writable)])
        }
        guest.receive.publish()
        #expect(guest.visit(.receive, frameLength: 100) == 1)
        #expect(guest.visit(.receive, frameLength: 100) == 1)
        #expect(guest.visit(.receive, frameLength: 100) == 0)
        #expect(guest.worker.sent.drops == ["ring-full": 1])
        #expect(guest.receive.poll().map(\.length) == [Int](repeating: 1, count: 224))
        #expect(guest.sink.fault == .none)
    }

    @Test(
        "who does not merge buffers and offers small ones loses long frames only",
        arguments: Format.allCases
    )
    func smallBuffers(format: Format) throws {
        var guest = try HostileGuest(format, Feature.version1)
        guest.receive.post([112], writable: true)
        guest.receive.publish()
        #expect(guest.visit(.receive, frameLength: 101) == 0)
        #expect(guest.worker.sent.drops == ["oversize": 1])
        #expect(guest.visit(.receive, frameLength: 100) == 1)
    }

    @Test(
        "who breaks his receive queue in the middle of a batch gets nothing after it",
        arguments: Format.allCases
    )
    func stopsInBatch(format: Format) throws {
        var guest = try HostileGuest(format)
        var random = Seeded(1)
        let frames = (0..<6).map { makeFrame($0, length: 100, using: &random) }
        for number in 0..<6 {
            let address = number == 2 ? 7 : guest.buffer + 256 * UInt64(number)
            guest.receive.ring.add([Cell(address, 256, Cell.writable)])
        }
        guest.receive.publish()
        guest.worker.deliver(frames, to: guest.sink)
        #expect(guest.sink.fault == .address)
        #expect(guest.receive.poll().map(\.length) == [112, 112])
        #expect(guest.worker.sent.counters.packets == 2)
        #expect(guest.worker.sent.counters.dropped == 4)
    }
}
