// Classification against a learning bridge of thirty lines.

import CNetmap
import Netmap
import TestSupport
import Testing

@testable import Vale

/// A learning bridge as the textbook has it.
struct BridgeModel {
    enum Destination: Equatable {
        case port(UInt16)
        case everywhere
        case nowhere(DropReason)
    }

    var table = TableModel()

    mutating func classify(
        _ frame: [UInt8],
        from source: UInt16,
        now: UInt32,
        ageing: UInt32
    ) -> Destination {
        guard frame.count >= 14 else { return .nowhere(.malformed) }
        let to = BridgeModel.mac(frame[0..<6])
        let from = BridgeModel.mac(frame[6..<12])
        if from & 1 == 0, from != 0 { _ = table.learn(from, source, now, ageing) }
        guard to & 1 == 0 else { return .everywhere }
        guard let port = table.lookup(to, now, ageing) else { return .everywhere }
        return port == source ? .nowhere(.sameSegment) : .port(port)
    }

    static func mac(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}

/// A batch whose frames lie in memory of the test, cut as the test likes.
@safe final class FrameSet {
    private let memory: UnsafeMutableRawBufferPointer

    init(_ frames: [[UInt8]], into batch: inout FrameBatch, cut: (Int) -> [Int]) {
        let total = frames.reduce(0) { $0 + $1.count }
        // Each piece ends where its memory ends as far as a sanitizer can tell: they are apart.
        unsafe memory = .allocate(byteCount: 4 * total + 4096 * frames.count + 64, alignment: 16)
        var offset = 0
        for frame in frames {
            var done = 0
            var pieces: [Segment] = unsafe []
            for length in frame.isEmpty ? [0] : cut(frame.count) {
                let n = min(length, frame.count - done)
                for k in 0..<n { unsafe memory[offset + k] = frame[done + k] }
                if let base = unsafe memory.baseAddress {
                    unsafe pieces.append(Segment(address: base + offset, length: n))
                }
                done += n
                offset += n + 17
            }
            precondition(done == frame.count)
            guard let first = unsafe pieces.first else { continue }
            let extra = batch.extraSegments
            for k in 1..<max(1, unsafe pieces.count) {
                unsafe batch.segments[extra + k - 1] = unsafe pieces[k]
            }
            let extraCount = unsafe pieces.count - 1
            unsafe batch.frames[batch.count] = unsafe Frame(
                address: first.address,
                headLength: UInt32(first.length),
                length: UInt32(frame.count),
                firstExtra: UInt32(extra),
                extraCount: UInt16(extraCount)
            )
            batch.extraSegments += extraCount
            batch.count += 1
        }
    }

    deinit { unsafe memory.deallocate() }
}

/// A multiplier for the table's hash that spreads; small ones do not.
func hashSeed(_ number: Int) -> UInt64 { UInt64(2 * number + 1) &* 0x9e37_79b9_7f4a_7c15 }

@Suite("The switch")
struct SwitchTests {
    static let groups: [[UInt8]] = [
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff], [0x33, 0x33, 0, 0, 0, 1], [1, 0, 0x5e, 0, 0, 1],
    ]

    static func frame(
        to: [UInt8],
        from: [UInt8],
        length: Int,
        using random: inout Seeded
    ) -> [UInt8] {
        let whole = to + from + [0x88, 0xb5] + random.bytes(max(0, length - 14))
        return Array(whole.prefix(length))
    }

    @Test("sends frames where a textbook bridge sends them", arguments: 0..<60)
    func model(seed: Int) {
        var random = Seeded(seed)
        let ageing = UInt32(random.chance(20) ? 0 : random.within(1...10))
        let valeSwitch = Switch(
            tableCapacity: 8192,
            ageing: ageing,
            seed: hashSeed(seed)
        )
        var model = BridgeModel()
        var plan = ForwardingPlan()
        let pages = (0..<6).map { _ in CounterPage() }
        let stations = (0..<12).map { _ -> [UInt8] in
            var mac = random.bytes(6)
            mac[0] &= 0xfe
            return mac
        }
        var now: UInt32 = 50
        var flooded: UInt64 = 0
        for round in 0..<30 {
            let note = Comment(rawValue: "seed \(seed), round \(round)")
            if random.chance(20) { now += UInt32(random.below(12)) }
            if random.chance(5) {
                let mac = stations[random.below(stations.count)]
                let port = UInt16(random.below(6))
                let key = BridgeModel.mac(mac[0..<6])
                #expect(valeSwitch.table.addStatic(key, on: port) == true)
                model.table.stations[key] = .init(port: port, seen: 0, isStatic: true)
            }
            let source = UInt16(random.below(6))
            let frames = (0..<random.within(1...64)).map { _ -> [UInt8] in
                var to = stations[random.below(stations.count)]
                if random.chance(15) { to = SwitchTests.groups[random.below(3)] }
                if random.chance(5) { to = random.bytes(6) }
                var from = stations[(Int(source) * 2 + random.below(2)) % 12]
                if random.chance(5) { from = stations[random.below(stations.count)] }
                if random.chance(3) { from = SwitchTests.groups[random.below(3)] }
                if random.chance(3) { from = [0, 0, 0, 0, 0, 0] }
                let length = random.chance(10) ? random.below(16) : random.within(14...200)
                return SwitchTests.frame(to: to, from: from, length: length, using: &random)
            }
            var batch = FrameBatch()
            let set = FrameSet(frames, into: &batch) { length in
                random.chance(50) ? [length] : random.split(length, into: random.within(1...8))
            }
            let page = pages[Int(source)]
            let before = page.counters.dropped
            valeSwitch.classify(
                batch,
                from: source,
                now: now,
                counters: page.counters,
                into: &plan
            )
            withExtendedLifetime(set) {}
            let expected = frames.map {
                model.classify($0, from: source, now: now, ageing: ageing)
            }
            check(&plan, expected, source, note)
            let dropped = expected.filter {
                if case .nowhere = $0 { true } else { false }
            }.count
            #expect(page.counters.dropped - before == UInt64(dropped), note)
            flooded += UInt64(expected.filter { $0 == .everywhere }.count)
        }
        #expect(valeSwitch.floods == flooded, "seed \(seed)")
        #expect(valeSwitch.table.moves == UInt64(model.table.moves), "seed \(seed)")
        for page in pages {
            let names = Set(page.drops.keys)
            #expect(names.isSubset(of: ["malformed", "same-segment"]), "seed \(seed)")
        }
    }

    /// Compares every way to read the plan with what the model says.
    func check(
        _ plan: inout ForwardingPlan,
        _ expected: [BridgeModel.Destination],
        _ source: UInt16,
        _ note: Comment
    ) {
        #expect(plan.floodCount == expected.filter { $0 == .everywhere }.count, note)
        var unicast: [UInt16: [UInt16]] = [:]
        for (index, destination) in expected.enumerated() {
            if case .port(let port) = destination {
                unicast[port, default: []].append(UInt16(index))
            }
        }
        #expect(plan.targetCount == unicast.count, note)
        for group in 0..<plan.targetCount {
            let target = plan.target(group)
            #expect(SwitchTests.list(target) == unicast[target.port], note)
            #expect(target.port != source, note)
        }
        for port in UInt16(0)..<6 where port != source {
            let merged = expected.indices.filter {
                expected[$0] == .everywhere || expected[$0] == .port(port)
            }
            let target = plan.target(forPort: port)
            #expect(target.port == port, note)
            #expect(SwitchTests.list(target) == merged.map { UInt16($0) }, note)
        }
    }

    static func list(_ target: ForwardingPlan.Target) -> [UInt16] {
        (0..<target.count).map { unsafe target.list[$0] }
    }

    /// Classifies one batch of whole frames.
    func classify(
        _ frames: [[UInt8]],
        _ valeSwitch: borrowing Switch,
        from source: UInt16,
        into plan: inout ForwardingPlan,
        cut: (Int) -> [Int] = { [$0] }
    ) -> [String: UInt64] {
        var batch = FrameBatch()
        let set = FrameSet(frames, into: &batch, cut: cut)
        let page = CounterPage()
        valeSwitch.classify(batch, from: source, now: 1, counters: page.counters, into: &plan)
        withExtendedLifetime(set) {}
        return page.drops
    }

    @Test("learns from a frame what the next one in the batch needs")
    func learnsInsideBatch() {
        let a: [UInt8] = [2, 0, 0, 0, 0, 1]
        let b: [UInt8] = [2, 0, 0, 0, 0, 2]
        var random = Seeded(1)
        let valeSwitch = Switch(seed: hashSeed(1))
        var plan = ForwardingPlan()
        func frame(_ to: [UInt8], _ from: [UInt8]) -> [UInt8] {
            SwitchTests.frame(to: to, from: from, length: 60, using: &random)
        }
        // b is unknown, then heard on the same port: the third frame need not leave it.
        let drops = classify(
            [frame(b, a), frame(a, b), frame(b, a)],
            valeSwitch,
            from: 1,
            into: &plan
        )
        #expect(plan.floodCount == 1)
        #expect(plan.targetCount == 0)
        #expect(drops == ["same-segment": 2])
        // b moves to port 2 in the middle of a batch.
        let moved = classify([frame(a, b), frame(b, a)], valeSwitch, from: 2, into: &plan)
        #expect(moved == ["same-segment": 1])
        #expect(plan.targetCount == 1)
        #expect(plan.target(0).port == 1)
    }

    @Test("finds the addresses wherever a frame is cut")
    func everySplit() {
        let a: [UInt8] = [0x52, 0x54, 0, 1, 2, 3]
        let b: [UInt8] = [0x52, 0x54, 0, 4, 5, 6]
        for first in 0...14 {
            for second in first...20 {
                var random = Seeded(first * 100 + second)
                let valeSwitch = Switch(seed: hashSeed(1))
                var plan = ForwardingPlan()
                #expect(valeSwitch.table.addStatic(BridgeModel.mac(b[0..<6]), on: 9) == true)
                let frame = SwitchTests.frame(to: b, from: a, length: 60, using: &random)
                let drops = classify([frame, frame], valeSwitch, from: 3, into: &plan) { _ in
                    [first, second - first, 60 - second]
                }
                let note = Comment(rawValue: "cut at \(first) and \(second)")
                #expect(drops.isEmpty, note)
                #expect(plan.targetCount == 1, note)
                #expect(plan.target(0).port == 9, note)
                #expect(plan.target(0).count == 2, note)
                let learned = valeSwitch.table.lookup(
                    BridgeModel.mac(a[0..<6]),
                    now: 1,
                    ageing: 300
                )
                #expect(learned == 3, note)
            }
        }
        // In one-byte pieces, too.
        let valeSwitch = Switch(seed: hashSeed(1))
        var plan = ForwardingPlan()
        var random = Seeded(1)
        let frame = SwitchTests.frame(to: b, from: a, length: 60, using: &random)
        let drops = classify([frame], valeSwitch, from: 3, into: &plan) { length in
            [Int](repeating: 1, count: length)
        }
        #expect(drops.isEmpty && plan.floodCount == 1)
        #expect(valeSwitch.table.lookup(BridgeModel.mac(a[0..<6]), now: 1, ageing: 300) == 3)
    }

    @Test("drops runts, counted, without learning from them", arguments: 0..<14)
    func runts(length: Int) {
        var random = Seeded(length)
        let valeSwitch = Switch(seed: hashSeed(1))
        var plan = ForwardingPlan()
        let from: [UInt8] = [2, 0, 0, 0, 0, 1]
        let runt = SwitchTests.frame(
            to: SwitchTests.groups[0],
            from: from,
            length: length,
            using: &random
        )
        let drops = classify([runt, runt], valeSwitch, from: 1, into: &plan) { length in
            length > 1 ? [1, length - 1] : [length]
        }
        #expect(drops == ["malformed": 2])
        #expect(plan.floodCount == 0 && plan.targetCount == 0)
        #expect(valeSwitch.table.contents(now: 1, ageing: 300).isEmpty)
    }

    @Test("counts groups as multicast and never learns them or the zero address")
    func groups() {
        var random = Seeded(1)
        let valeSwitch = Switch(seed: hashSeed(1))
        var plan = ForwardingPlan()
        var frames = SwitchTests.groups.map {
            SwitchTests.frame(to: $0, from: $0, length: 60, using: &random)
        }
        frames.append(
            SwitchTests.frame(
                to: [2, 0, 0, 0, 0, 9],
                from: [0, 0, 0, 0, 0, 0],
                length: 60,
                using: &random
            )
        )
        var batch = FrameBatch()
        let set = FrameSet(frames, into: &batch) { [$0] }
        let page = CounterPage()
        valeSwitch.classify(batch, from: 1, now: 1, counters: page.counters, into: &plan)
        withExtendedLifetime(set) {}
        #expect(page.counters.multicast == 3)
        #expect(valeSwitch.floods == 4)
        #expect(valeSwitch.table.contents(now: 1, ageing: 300).isEmpty)
    }

    @Test("makes a plan for as many destinations as there are frames, and forgets it")
    func manyTargets() {
        let valeSwitch = Switch(seed: hashSeed(1))
        var plan = ForwardingPlan()
        var random = Seeded(1)
        for round in 0..<3 {
            let frames = (0..<64).map { k -> [UInt8] in
                let to: [UInt8] = [2, 0, 0, UInt8(round), 0, UInt8(k)]
                #expect(
                    valeSwitch.table.addStatic(
                        BridgeModel.mac(to[0..<6]),
                        on: UInt16(1000 * (k + 1))
                    ) == true
                )
                return SwitchTests.frame(
                    to: to,
                    from: [2, 1, 1, 1, 1, 1],
                    length: 60,
                    using: &random
                )
            }
            #expect(classify(frames, valeSwitch, from: 1, into: &plan).isEmpty)
            #expect(plan.targetCount == 64)
            for group in 0..<64 {
                #expect(plan.target(group).port == UInt16(1000 * (group + 1)))
                #expect(SwitchTests.list(plan.target(group)) == [UInt16(group)])
            }
        }
        #expect(classify([], valeSwitch, from: 1, into: &plan).isEmpty)
        #expect(plan.targetCount == 0 && plan.floodCount == 0)
        #expect(plan.target(forPort: 1000).count == 0)
    }
}
