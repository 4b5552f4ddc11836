// Rules and lossless ports together: a batch that is cut is classified twice, and charged once.

import CNetmap
import Glibc
import Netmap
import Testing
import Vale

@testable import Engine

extension MockSwitch {
    /// Gives ports rules; before any frame passes.
    func tell(_ rules: [UInt16: PortRules]) {
        for (number, rule) in rules {
            unsafe table.gates.set(number, PortGate.make(rule, now: nm_monotonic_ns()))
        }
        unsafe vale.pointee.vale.setRules(
            any: true,
            vlans: rules.values.contains { $0.hasVLAN }
        )
        pool.synchronize()
    }

    /// Frees the rules; after `close`.
    func forgetRules(_ numbers: [UInt16]) {
        for number in numbers { unsafe PortGate.free(table.gates.gate(number)) }
    }
}

extension EngineTests {
    @Suite("Rules and lossless ports", .serialized)
    struct LosslessPolicyTests {
        private let everybody: UInt64 = 0xffff_ffff_ffff

        /// Sends numbered frames until all are taken, while receivers are slow.
        ///
        /// - Returns: what each receiver got.
        private func send(
            _ count: UInt32,
            from sender: MockPort,
            to destination: UInt64,
            _ receivers: [MockPort]
        ) -> [[UInt32]] {
            var got: [[UInt32]] = receivers.map { _ in [] }
            var next: UInt32 = 0
            var quiet = 0
            let end = nm_monotonic_ns() + 30_000_000_000
            while quiet < 200, nm_monotonic_ns() < end {
                while next < count, sender.send(next, to: destination) { next += 1 }
                usleep(300)
                let before = got.map(\.count)
                for (index, receiver) in receivers.enumerated() {
                    got[index] += receiver.receive().map(\.value)
                }
                let isOver = next == count && sender.unsent == 0 && got.map(\.count) == before
                quiet = isOver ? quiet + 1 : 0
            }
            return got
        }

        @Test(arguments: [false, true])
        func `bytes are charged once, with tags and without`(hasVLAN: Bool) throws {
            let bed = try MockSwitch(workers: 2)
            let sender = try bed.add()
            let full = try bed.add(buffers: 5, patience: 0)
            defer {
                bed.close()
                bed.forgetRules([1, 2])
            }
            #expect(full.send(0, to: everybody))
            // A byte a second, and a bucket of a hundred frames.
            var limited = PortRules()
            limited.rx = RateRule(bitsPerSecond: 8, burst: 6000)
            var member = PortRules()
            if hasVLAN {
                limited.vlan = .access(10)
                member.vlan = .access(10)
            }
            bed.tell([1: limited, 2: member])
            #expect(full.send(1, to: everybody))
            _ = send(0, from: sender, to: 0, [sender])
            let got = send(300, from: sender, to: MockPort.mac(2), [full])
            #expect(got[0] == Array(0..<100))
            #expect(sender.rx.packets == 300)
            #expect(sender.rx.dropped(.rateLimit) == 200 && sender.rx.dropped == 200)
            #expect(full.tx.packets == 100 && full.tx.dropped == 0)
        }

        @Test func `frames to all are charged once, and reach everybody once`() throws {
            let bed = try MockSwitch(workers: 2)
            let sender = try bed.add()
            let ordinary = try bed.add(size: 256, buffers: 256)
            let full = try bed.add(buffers: 3, patience: 0)
            let isolated = try bed.add(size: 256, buffers: 256)
            defer {
                bed.close()
                bed.forgetRules([1, 4])
            }
            var rules = PortRules()
            rules.stormLimit = 40
            rules.isIsolated = true
            var other = PortRules()
            other.isIsolated = true
            bed.tell([1: rules, 4: other])
            let got = send(400, from: sender, to: everybody, [ordinary, full, isolated])
            #expect(got[0] == got[1] && got[2].isEmpty)
            #expect(got[1].count >= 40 && got[1] == got[1].sorted())
            #expect(Set(got[1]).count == got[1].count)
            let limited = sender.rx.dropped(.stormLimit)
            #expect(limited + UInt64(got[1].count) == 400 && limited == sender.rx.dropped)
            #expect(unsafe bed.vale.pointee.vale.floods == UInt64(got[1].count))
        }
    }
}
