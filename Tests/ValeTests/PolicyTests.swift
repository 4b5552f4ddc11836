// What ports are told about who they may be and how much they may send.

import Netmap
import TestSupport
import Testing

@testable import Vale

@Suite("Port rules")
struct PolicyTests {
    static let second: UInt64 = 1_000_000_000

    @Test("keep isolated ports apart, and nobody else")
    func isolation() {
        let bed = PolicyBed(ports: 4)
        for port in UInt16(1)...2 { bed.tell(port) { $0.isIsolated = true } }
        #expect(Set(bed.send([frame(to: 0xff, from: 1)], from: 1).keys) == [3, 4])
        #expect(Set(bed.send([frame(to: 0xff, from: 3)], from: 3).keys) == [1, 2, 4])
        #expect(Set(bed.send([frame(to: 0xff, from: 2)], from: 2).keys) == [3, 4])
        #expect(
            bed.send([frame(to: 2, from: 1), frame(to: 3, from: 1)], from: 1).keys.sorted() == [3]
        )
        #expect(bed.send([frame(to: 1, from: 3)], from: 3).keys.sorted() == [1])
        #expect(bed.drops(1) == ["isolated": 1])
    }

    @Test("let so many stations be learned at a port")
    func macLimit() {
        let bed = PolicyBed(ports: 2)
        bed.tell(1) { $0.macLimit = 3 }
        let all = (UInt8(1)...5).map { frame(to: 0xff, from: $0) }
        #expect(bed.send(all + all, from: 1)[2]?.count == 6)
        #expect(bed.drops(1) == ["mac-limit": 4])
        #expect(bed.vale.table.contents(now: 1, ageing: 300).count == 3)
        // One leaves: another may come, and be found within a second.
        #expect(bed.vale.table.remove(BridgeModel.mac([2, 0, 0, 0, 0, 2])) == true)
        bed.now += PolicyTests.second
        #expect(bed.send([frame(to: 0xff, from: 5)], from: 1)[2]?.count == 1)
        #expect(bed.send([frame(to: 0xff, from: 4)], from: 1).isEmpty)
        // A station that an operator put there is no matter of learning.
        #expect(bed.vale.table.addStatic(BridgeModel.mac([2, 0, 0, 0, 0, 4]), on: 1) == true)
        #expect(bed.send([frame(to: 0xff, from: 4)], from: 1)[2]?.count == 1)
        // All are forgotten with time.
        bed.now += 301 * PolicyTests.second
        #expect(bed.send(Array(all.prefix(3)), from: 1)[2]?.count == 3)
    }

    @Test("check sources against a list, and groups and nobody never pass")
    func sources() {
        let bed = PolicyBed(ports: 2)
        let allowed = [UInt8(1), 2].map { BridgeModel.mac([2, 0, 0, 0, 0, $0]) }
        bed.tell(1) { $0.sources = .only(allowed) }
        var group = frame(to: 0xff, from: 1)
        group.bytes[6] = 3
        var nobody = group
        for k in 6..<12 { nobody.bytes[k] = 0 }
        let frames = [
            frame(to: 0xff, from: 1), frame(to: 0xff, from: 3), group, nobody,
            frame(to: 0xff, from: 2, length: 14),
        ]
        #expect(bed.send(frames, from: 1)[2] == [frames[0], frames[4]])
        #expect(bed.drops(1) == ["source-check": 3])
        #expect(bed.vale.table.contents(now: 1, ageing: 300).count == 2)
    }

    @Test("take the first source for the only one, also when other rules change")
    func firstSource() {
        let bed = PolicyBed(ports: 2)
        bed.tell(1) { $0.sources = .first }
        let frames = [frame(to: 0xff, from: 7), frame(to: 0xff, from: 8), frame(to: 0xff, from: 7)]
        #expect(bed.send(frames, from: 1)[2] == [frames[0], frames[2]])
        bed.tell(1) { $0.isIsolated = true }
        #expect(bed.send([frames[1]], from: 1).isEmpty)
        unsafe bed.gates.gate(1)?.pointee.forgetFirst()
        #expect(bed.send([frames[1], frames[0]], from: 1)[2] == [frames[1]])
    }

    @Test("limit what goes to all: broadcast, groups, unknown stations; nothing else")
    func storm() {
        let bed = PolicyBed(ports: 2)
        bed.tell(1) { $0.stormLimit = 10 }
        _ = bed.send([frame(to: 0xff, from: 9)], from: 2)
        let known = Array(repeating: frame(to: 9, from: 1), count: 30)
        let unknown = Array(repeating: frame(to: 5, from: 1), count: 6)
        let all = Array(repeating: frame(to: 0xff, from: 1), count: 6)
        #expect(bed.send(all + known + unknown, from: 1)[2]?.count == 40)
        #expect(bed.drops(1) == ["storm-limit": 2])
        bed.now += PolicyTests.second / 2
        #expect(bed.send(all, from: 1)[2]?.count == 5)
        #expect(bed.vale.floods == 1 + 10 + 5)
    }

    @Test("limit bytes from and to a port", arguments: [false, true])
    func rate(isTx: Bool) {
        let bed = PolicyBed(ports: 2)
        // 80 kbit/s are 10 000 bytes a second.
        let rule = RateRule(bitsPerSecond: 80_000, burst: 2000)
        bed.tell(isTx ? 2 : 1) { if isTx { $0.tx = rule } else { $0.rx = rule } }
        var bytes = 0
        var sent = 0
        for _ in 0..<2000 {
            bed.now += 5_000_000
            let frames = Array(repeating: frame(to: 0xff, from: 1, length: 100), count: 3)
            sent += 3
            bytes += (bed.send(frames, from: 1)[2] ?? []).reduce(0) { $0 + $1.bytes.count }
        }
        // Ten seconds, and the bucket that was full, and the frame that may overdraw it.
        #expect((100_000...102_100).contains(bytes), "\(bytes) bytes")
        #expect(bed.drops(isTx ? 2 : 1) == ["rate-limit": UInt64(sent - bytes / 100)])
        #expect(bed.drops(isTx ? 1 : 2).isEmpty)
    }

    @Test("keep the rate of frames larger than the burst, too")
    func largeFrames() {
        let bed = PolicyBed(ports: 2)
        bed.tell(1) { $0.rx = RateRule(bitsPerSecond: 8_000_000, burst: 1000) }
        var bytes = 0
        for _ in 0..<1000 {
            bed.now += 10_000_000
            let got = bed.send([frame(to: 0xff, from: 1, length: 60_000)], from: 1)[2] ?? []
            bytes += got.reduce(0) { $0 + $1.bytes.count }
        }
        #expect((9_900_000...10_070_000).contains(bytes), "\(bytes) bytes")
    }

    @Test("are not charged by a trial until it is committed")
    func trial() {
        let bed = PolicyBed(ports: 2)
        bed.tell(1) {
            $0.stormLimit = 4
            $0.rx = RateRule(bitsPerSecond: 8000, burst: 240)
        }
        let frames = Array(repeating: frame(to: 0xff, from: 1), count: 3)
        bed.plan.isTrial = true
        for _ in 0..<5 { #expect(bed.send(frames, from: 1)[2]?.count == 3) }
        #expect(bed.vale.floods == 0)
        unsafe bed.pass.commit(bed.gates.gate(1))
        bed.plan.isTrial = false
        #expect(bed.send(frames, from: 1)[2]?.count == 1)
        #expect(bed.drops(1)["storm-limit"] == nil)
        #expect(bed.drops(1)["rate-limit"] == 2)
    }
}

@Suite("Token buckets")
struct TokenBucketTests {
    @Test("hold exactly what has come, at any rate and any step", arguments: 0..<40)
    func exact(seed: Int) {
        var random = Seeded(seed)
        let rate = random.next() >> UInt64(random.within(20...60))
        let depth = Int64(random.next() >> UInt64(random.within(24...60))) + 1
        var now: UInt64 = random.next() >> 20
        var bucket = TokenBucket(rate: rate, depth: depth, now: now)
        // In billionths of a token.
        let second = Int128(1_000_000_000)
        var level = Int128(depth) * second
        for _ in 0..<300 {
            let step = random.next() >> UInt64(random.within(29...63))
            now += step
            bucket.fill(now: now)
            level = min(Int128(depth) * second, level + Int128(rate) * Int128(step))
            let floor = level >= 0 ? level / second : -((-level + second - 1) / second)
            #expect(Int128(bucket.level) == floor || rate == 0)
            let count = random.below(70_000)
            let passes = rate == 0 || floor > 0
            #expect(bucket.take(count) == passes)
            if passes, rate != 0 { level -= Int128(count) * second }
        }
    }

    @Test("are not confused by clocks that differ, or by years")
    func clocks() {
        var bucket = TokenBucket(rate: 100, depth: 50, now: 1_000_000_000)
        #expect(bucket.take(70) == true)
        bucket.fill(now: 0)
        #expect(bucket.level == -20)
        bucket.fill(now: .max)
        #expect(bucket.level == 50)
    }
}
