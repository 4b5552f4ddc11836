// Random frames through random rules, against a model that looks at one frame at a time.

import Netmap
import TestSupport
import Testing

@testable import Vale

/// The whole switch, in the plainest way.
struct PolicyModel {
    struct Station: Hashable {
        let vlan: UInt16
        let mac: [UInt8]
    }

    var mode = SwitchMode.learning
    var keepsReserved = false
    var rules: [UInt16: PortRules] = [:] {
        didSet { hasVLANs = rules.values.contains { $0.hasVLAN } }
    }
    private(set) var hasVLANs = false
    var ports: [UInt16] = []
    var stations: [Station: (port: UInt16, seen: UInt64)] = [:]
    var firsts: [UInt16: [UInt8]] = [:]
    /// Levels in billionths, and when.
    var buckets: [String: (level: Int128, at: UInt64)] = [:]
    var drops: [UInt16: [String: UInt64]] = [:]

    func rules(of port: UInt16) -> PortRules { rules[port] ?? PortRules() }

    mutating func drop(_ port: UInt16, _ reason: String) {
        drops[port, default: [:]][reason, default: 0] += 1
    }

    /// Whether a limit lets `count` pass.
    mutating func take(_ name: String, rate: UInt64, depth: Int64, _ count: Int, _ now: UInt64)
        -> Bool
    {
        guard rate != 0 else { return true }
        let second = Int128(1_000_000_000)
        var (level, at) = buckets[name] ?? (Int128(depth) * second, now)
        level = min(Int128(depth) * second, level + Int128(now - at) * Int128(rate))
        at = now
        let passes = level >= second
        if passes { level -= Int128(count) * second }
        buckets[name] = (level, at)
        return passes
    }

    func contains(_ port: UInt16, _ vlan: UInt16) -> Bool {
        switch rules(of: port).vlan {
        case .access(let own): vlan == own
        case .trunk(let set, let native): set.contains(vlan) || vlan == native
        }
    }

    func untagged(_ port: UInt16) -> UInt16? {
        switch rules(of: port).vlan {
        case .access(let own): own
        case .trunk(let set, let native): native ?? (set.contains(0) ? 0 : nil)
        }
    }

    /// What every other port gets of a frame.
    mutating func send(_ frame: [UInt8], from port: UInt16, now: UInt64) -> [UInt16: [UInt8]] {
        let own = rules(of: port)
        guard frame.count >= 14 else { return lose(port, "malformed") }
        let to = Array(frame[0..<6])
        let from = Array(frame[6..<12])
        let type = UInt16(frame[12]) << 8 | UInt16(frame[13])
        let isReserved = Array(to[0..<5]) == [1, 0x80, 0xc2, 0, 0] && to[5] < 16
        if mode == .wire, to == [1, 0x80, 0xc2, 0, 0, 1], type == 0x8808 {
            return lose(port, "filtered")
        }
        if mode == .learning, keepsReserved, isReserved { return lose(port, "filtered") }
        var vlan: UInt16 = 0
        var priority: UInt16 = 0
        let hasTag = hasVLANs && type == 0x8100
        if hasVLANs {
            if hasTag {
                guard frame.count >= 18 else { return lose(port, "malformed") }
                let control = UInt16(frame[14]) << 8 | UInt16(frame[15])
                priority = control & 0xf000
                vlan = control & 0xfff
            }
            if vlan == 0 {
                guard let number = untagged(port) else { return lose(port, "vlan") }
                vlan = number
            }
            guard vlan != 4095, contains(port, vlan) else { return lose(port, "vlan") }
        }
        let isNobody = from[0] & 1 != 0 || from == [0, 0, 0, 0, 0, 0]
        if own.sources != .any {
            if isNobody { return lose(port, "source-check") }
            if case .only(let list) = own.sources {
                guard list.contains(BridgeModel.mac(from[0..<6])) else {
                    return lose(port, "source-check")
                }
            } else {
                if firsts[port] == nil { firsts[port] = from }
                guard firsts[port] == from else { return lose(port, "source-check") }
            }
        }
        if let rx = own.rx {
            let passes = take(
                "rx\(port)",
                rate: rx.bitsPerSecond / 8,
                depth: rx.burst,
                frame.count,
                now
            )
            guard passes else { return lose(port, "rate-limit") }
        }
        var targets = ports.filter { $0 != port }
        var isFlood = true
        if mode == .learning {
            if !isNobody { stations[Station(vlan: vlan, mac: from)] = (port, now / 1_000_000_000) }
            if to[0] & 1 == 0, let known = stations[Station(vlan: vlan, mac: to)],
                now / 1_000_000_000 - known.seen <= 300
            {
                if known.port == port { return lose(port, "same-segment") }
                isFlood = false
                targets = [known.port]
            }
        }
        if isFlood, mode == .learning || to[0] & 1 != 0 {
            let passes = take(
                "st\(port)",
                rate: own.stormLimit,
                depth: Int64(own.stormLimit),
                1,
                now
            )
            guard passes else { return lose(port, "storm-limit") }
        }
        let allowed = targets.filter {
            !(own.isIsolated && rules(of: $0).isIsolated) && contains($0, vlan)
        }
        if allowed.isEmpty {
            if isFlood { return lose(port, "no-destination") }
            let both = own.isIsolated && rules(of: targets[0]).isIsolated
            return lose(port, both ? "isolated" : "vlan")
        }
        var result: [UInt16: [UInt8]] = [:]
        for target in allowed {
            if let tx = rules(of: target).tx {
                let rate = tx.bitsPerSecond / 8
                guard take("tx\(target)", rate: rate, depth: tx.burst, frame.count, now) else {
                    drop(target, "rate-limit")
                    continue
                }
            }
            var seen = frame
            if hasVLANs {
                seen = Array(frame[0..<12])
                let leavesBare = vlan == 0 ? !hasTag : untagged(target) == vlan
                if !leavesBare {
                    let control = priority | vlan
                    seen += [0x81, 0, UInt8(control >> 8), UInt8(control & 255)]
                }
                seen += frame[(hasTag ? 16 : 12)...]
            }
            result[target] = seen
        }
        return result
    }

    private mutating func lose(_ port: UInt16, _ reason: String) -> [UInt16: [UInt8]] {
        drop(port, reason)
        return [:]
    }
}

@Suite("Rules against a model")
struct PolicyModelTests {
    static func rules(_ random: inout Seeded, vlans: Bool) -> PortRules {
        var rules = PortRules()
        if vlans {
            var set = VLANSet()
            for _ in 0..<random.below(4) {
                set.insert(UInt16([0, 10, 20, 30, 4094][random.below(5)]))
            }
            switch random.below(4) {
            case 0: rules.vlan = .access([10, 20][random.below(2)])
            case 1: rules.vlan = .trunk(set, native: nil)
            case 2: rules.vlan = .trunk(set, native: [10, 30][random.below(2)])
            default: break
            }
        }
        rules.isIsolated = random.chance(30)
        if random.chance(20) { rules.sources = .first }
        if random.chance(20) {
            rules.sources = .only(
                (0..<4).map { BridgeModel.mac([2, 0, 0, 0, 0, UInt8(2 * $0)]) }
            )
        }
        if random.chance(20) { rules.stormLimit = UInt64(random.within(1...2000)) }
        let rate = { (random: inout Seeded) in
            RateRule(
                bitsPerSecond: UInt64(random.within(1000...100_000_000)),
                burst: Int64(random.within(1...50_000))
            )
        }
        if random.chance(20) { rules.rx = rate(&random) }
        if random.chance(20) { rules.tx = rate(&random) }
        return rules
    }

    static func frame(_ random: inout Seeded) -> [UInt8] {
        let station = { (random: inout Seeded) -> [UInt8] in
            [2, 0, 0, 0, 0, UInt8(random.below(8))]
        }
        var to = station(&random)
        if random.chance(15) { to = [255, 255, 255, 255, 255, 255] }
        if random.chance(10) { to = [1, 0x80, 0xc2, 0, 0, UInt8(random.below(18))] }
        var from = station(&random)
        if random.chance(3) { from = [0, 0, 0, 0, 0, 0] }
        if random.chance(3) { from[0] = 3 }
        var bytes = to + from
        while random.chance(45) {
            let vlan = UInt16([0, 10, 20, 30, 4094, 4095][random.below(6)])
            let control = vlan | UInt16(random.below(16)) << 12
            bytes += random.chance(85) ? [0x81, 0] : [0x88, 0xa8]
            bytes += [UInt8(control >> 8), UInt8(control & 255)]
        }
        bytes += [[0x08, 0], [0x88, 0x08], [0x88, 0x09]][random.below(3)]
        bytes += random.bytes(random.below(100))
        if random.chance(4) { bytes = Array(bytes.prefix(random.below(20))) }
        return bytes
    }

    @Test("every port gets exactly what the model says", arguments: 0..<120)
    func model(seed: Int) {
        var random = Seeded(seed)
        let mode = [SwitchMode.learning, .learning, .learning, .hub, .wire][random.below(5)]
        let bed = PolicyBed(ports: mode == .wire ? 2 : UInt16(random.within(2...7)))
        var model = PolicyModel()
        model.mode = mode
        model.ports = bed.ports
        model.keepsReserved = random.chance(30)
        bed.vale.mode = mode
        bed.vale.forwardsGroups = !model.keepsReserved
        // Rules as the control plane allows them: a hub and a wire know no VLANs.
        let vlans = mode == .learning && random.chance(70)
        for port in bed.ports {
            let rules = PolicyModelTests.rules(&random, vlans: vlans)
            bed.tell(port) { $0 = rules }
            model.rules[port] = rules
        }
        for round in 0..<12 {
            bed.now += random.next() >> UInt64(random.within(30...50))
            let port = bed.ports[random.below(bed.ports.count)]
            let frames = (0..<random.within(1...64)).map { _ in PolicyModelTests.frame(&random) }
            var want: [UInt16: [SeenFrame]] = [:]
            var rates: [UInt16: [SeenFrame]] = [:]
            for frame in frames {
                for (target, bytes) in model.send(frame, from: port, now: bed.now) {
                    want[target, default: []].append(SeenFrame(bytes))
                }
            }
            rates = bed.send(frames.map { SeenFrame($0) }, from: port) { length in
                length < 2 || random.chance(50)
                    ? [length] : random.split(length, into: random.within(1...6))
            }
            #expect(rates == want, "seed \(seed), round \(round)")
            for port in bed.ports {
                #expect(
                    bed.drops(port) == model.drops[port] ?? [:],
                    "seed \(seed), round \(round), port \(port)"
                )
            }
        }
    }
}
