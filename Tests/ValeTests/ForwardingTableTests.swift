// The forwarding database against a dictionary, and against those who want to break it.

import Netmap
import TestSupport
import Testing

@testable import Vale

/// The forwarding database as anybody would write it.
struct TableModel {
    struct Station {
        var port: UInt16
        var seen: UInt32
        var isStatic: Bool
    }

    var stations: [UInt64: Station] = [:]
    var moves = 0

    func isLive(_ station: Station, _ now: UInt32, _ ageing: UInt32) -> Bool {
        station.isStatic || ageing == 0 || now - station.seen <= ageing
    }

    func lookup(_ mac: UInt64, _ now: UInt32, _ ageing: UInt32) -> UInt16? {
        stations[mac].flatMap { isLive($0, now, ageing) ? $0.port : nil }
    }

    mutating func learn(
        _ mac: UInt64,
        _ port: UInt16,
        _ now: UInt32,
        _ ageing: UInt32
    ) -> ForwardingTable.Learned {
        if let old = stations[mac] {
            if old.isStatic { return old.port == port ? .known : .pinned }
            stations[mac] = Station(port: port, seen: now, isStatic: false)
            if !isLive(old, now, ageing) { return .added }
            if old.port != port { moves += 1 }
            return old.port == port ? .known : .moved
        }
        stations[mac] = Station(port: port, seen: now, isStatic: false)
        return .added
    }

    mutating func remove(where matches: (UInt64, Station) -> Bool) -> Int {
        let gone = stations.filter { matches($0.key, $0.value) }.map(\.key)
        for mac in gone { stations[mac] = nil }
        return gone.count
    }
}

@Suite("The forwarding table")
struct ForwardingTableTests {
    static func mac(_ number: Int) -> UInt64 { UInt64(number) << 16 | 0x5452 }

    @Test("does what a dictionary does", arguments: 0..<30)
    func model(seed: Int) {
        var random = Seeded(seed)
        let table = ForwardingTable(capacity: 8192, seed: hashSeed(seed))
        var model = TableModel()
        var now = UInt32(random.below(1000))
        var ageing = UInt32(random.chance(20) ? 0 : random.within(1...20))
        let macs = (0..<40).map { _ in random.next() & 0xffff_ffff_fffe }
        for step in 0..<2000 {
            let note = Comment(rawValue: "seed \(seed), step \(step)")
            let mac = macs[random.below(macs.count)]
            let port = UInt16(random.below(5))
            switch random.below(20) {
            case 0...7:
                let expected = model.learn(mac, port, now, ageing)
                #expect(table.learn(mac, on: port, now: now, ageing: ageing) == expected, note)
            case 8...14:
                let expected = model.lookup(mac, now, ageing)
                #expect(table.lookup(mac, now: now, ageing: ageing) == expected, note)
            case 15:
                let expected = model.stations.removeValue(forKey: mac) != nil
                #expect(table.remove(mac) == expected, note)
            case 16:
                #expect(table.addStatic(mac, on: port) == true, note)
                model.stations[mac] = TableModel.Station(port: port, seen: 0, isStatic: true)
            case 17 where random.chance(20):
                let expected: Int
                let flushed: Int
                switch random.below(3) {
                case 0:
                    expected = model.remove { $1.port == port }
                    flushed = table.flush(port: port)
                case 1:
                    expected = model.remove { $1.port == port && !$1.isStatic }
                    flushed = table.flush(dynamicOn: port)
                default:
                    expected = model.remove { !$1.isStatic }
                    flushed = table.flush(dynamicOn: nil)
                }
                #expect(flushed == expected, note)
            case 18:
                ageing = UInt32(random.chance(20) ? 0 : random.within(1...20))
            default:
                now += UInt32(random.below(4))
            }
            guard step % 50 == 0 else { continue }
            let contents = Set(table.contents(now: now, ageing: ageing))
            let expected = model.stations.filter { model.isLive($0.value, now, ageing) }.map {
                ForwardingTable.Entry(
                    mac: $0.key,
                    vlan: 0,
                    port: $0.value.port,
                    isStatic: $0.value.isStatic,
                    age: $0.value.isStatic ? 0 : now - $0.value.seen
                )
            }
            #expect(contents == Set(expected), note)
        }
        #expect(table.moves == UInt64(model.moves))
        #expect(table.evictions == 0)
    }

    @Test("believes an entry up to the second in which it is too old", arguments: [1, 20, 300])
    func ageing(seconds: UInt32) {
        let table = ForwardingTable(capacity: 64)
        let mac = ForwardingTableTests.mac(1)
        table.learn(mac, on: 3, now: 1000, ageing: seconds)
        #expect(table.lookup(mac, now: 1000 + seconds, ageing: seconds) == 3)
        #expect(table.lookup(mac, now: 1001 + seconds, ageing: seconds) == nil)
        #expect(table.contents(now: 1001 + seconds, ageing: seconds).isEmpty)
        // Heard again in time, it stays.
        #expect(table.learn(mac, on: 3, now: 1000 + seconds, ageing: seconds) == .known)
        #expect(table.lookup(mac, now: 1001 + seconds, ageing: seconds) == 3)
        // Heard elsewhere too late, it is new and did not move.
        #expect(table.learn(mac, on: 4, now: 2000 + seconds, ageing: seconds) == .added)
        #expect(table.moves == 0)
    }

    @Test("forgets nothing where ageing is 0, and follows when ageing is changed")
    func noAgeing() {
        let table = ForwardingTable(capacity: 64)
        let mac = ForwardingTableTests.mac(1)
        table.learn(mac, on: 3, now: 5, ageing: 0)
        #expect(table.lookup(mac, now: 1_000_000_000, ageing: 0) == 3)
        #expect(table.lookup(mac, now: 1_000_000_000, ageing: 300) == nil)
    }

    @Test("takes an entry of a worker whose clock is a second ahead for fresh")
    func clocks() {
        let table = ForwardingTable(capacity: 16, seed: hashSeed(1))
        let mac = ForwardingTableTests.mac(1)
        table.learn(mac, on: 3, now: 101, ageing: 300)
        #expect(table.lookup(mac, now: 100, ageing: 300) == 3)
        #expect(table.learn(mac, on: 3, now: 100, ageing: 300) == .known)
        #expect(table.learn(mac, on: 4, now: 99, ageing: 300) == .moved)
        #expect(table.contents(now: 98, ageing: 300).map(\.age) == [0])
    }

    @Test("goes on where a clock of 32 bits wraps")
    func clockWraps() {
        let table = ForwardingTable(capacity: 64)
        let mac = ForwardingTableTests.mac(1)
        table.learn(mac, on: 3, now: .max - 5, ageing: 300)
        #expect(table.lookup(mac, now: 100, ageing: 300) == 3)
        #expect(table.lookup(mac, now: 294, ageing: 300) == 3)
        #expect(table.lookup(mac, now: 295, ageing: 300) == nil)
    }

    @Test("keeps its size under a flood of a million sources, evicts, and pins what is static")
    func flood() {
        let table = ForwardingTable(capacity: 1024, seed: hashSeed(321))
        #expect(table.capacity == 1024)
        let fixed = (0..<64).map(ForwardingTableTests.mac)
        for mac in fixed { #expect(table.addStatic(mac, on: 7) == true) }
        var random = Seeded(1)
        var added: UInt64 = 0
        var full: UInt64 = 0
        for k in 0..<1_000_000 {
            let mac = random.next() & 0xffff_ffff_fffe | 2
            switch table.learn(mac, on: UInt16(k & 3), now: UInt32(k / 100_000), ageing: 300) {
            case .added: added += 1
            case .full: full += 1
            case .known, .moved, .pinned: break
            }
        }
        let contents = table.contents(now: 10, ageing: 300)
        #expect(contents.count <= 1024)
        #expect(contents.count > 900)
        #expect(contents.filter(\.isStatic).count == 64)
        for mac in fixed { #expect(table.lookup(mac, now: 1_000_000, ageing: 300) == 7) }
        // Whatever was added and is not there gave way to something else.
        #expect(table.evictions == added - UInt64(contents.count - 64))
        #expect(full < 10_000)
    }

    @Test("evicts those that were not heard of for the longest time")
    func evictsOldest() {
        // Four buckets of four; find five stations that share one.
        let table = ForwardingTable(capacity: 16, seed: hashSeed(99))
        var number = 0
        var inserted: [UInt64] = []
        while table.evictions == 0 {
            let mac = ForwardingTableTests.mac(number)
            table.learn(mac, on: 1, now: UInt32(100 + number), ageing: 0)
            inserted.append(mac)
            number += 1
        }
        let missing = inserted.filter { table.lookup($0, now: 200, ageing: 0) == nil }
        #expect(missing.count == 1)
        #expect(table.lookup(inserted[number - 1], now: 200, ageing: 0) == 1)
        // The one that is missing is older than those in its bucket that stayed: it is the first of
        // its bucket, so nobody before it shares the bucket of the newest.
        let newest = inserted[number - 1]
        let same = inserted.filter {
            unsafe table.bucket(ForwardingTable.key($0))
                == table.bucket(ForwardingTable.key(newest))
        }
        #expect(missing == [same[0]])
    }

    @Test("does not count a station that was too old anyway as evicted")
    func evictsDead() {
        let table = ForwardingTable(capacity: 16, seed: hashSeed(7))
        for k in 0..<200 {
            table.learn(ForwardingTableTests.mac(k), on: 1, now: UInt32(100 * k), ageing: 10)
        }
        #expect(table.evictions == 0)
    }

    @Test("lets static entries stand against other ports, ageing and flushing")
    func staticEntries() {
        let table = ForwardingTable(capacity: 64)
        let mac = ForwardingTableTests.mac(1)
        table.learn(mac, on: 1, now: 10, ageing: 300)
        #expect(table.addStatic(mac, on: 2) == true)
        #expect(table.learn(mac, on: 1, now: 11, ageing: 300) == .pinned)
        #expect(table.learn(mac, on: 2, now: 11, ageing: 300) == .known)
        #expect(table.lookup(mac, now: 1_000_000, ageing: 1) == 2)
        #expect(table.flush(dynamicOn: nil) == 0)
        #expect(table.flush(dynamicOn: 2) == 0)
        #expect(table.contents(now: 50, ageing: 1).map(\.isStatic) == [true])
        #expect(table.addStatic(mac, on: 3) == true)
        #expect(table.lookup(mac, now: 50, ageing: 1) == 3)
        #expect(table.flush(port: 3) == 1)
        #expect(table.lookup(mac, now: 50, ageing: 1) == nil)
        #expect(table.learn(mac, on: 1, now: 50, ageing: 300) == .added)
        #expect(table.moves == 0)
    }

    @Test("says when a bucket has no room for another static entry")
    func fullOfStatics() {
        let table = ForwardingTable(capacity: 16, seed: hashSeed(5))
        var accepted = 0
        for k in 0..<200 where table.addStatic(ForwardingTableTests.mac(k), on: 1) { accepted += 1 }
        #expect(accepted == 16)
        #expect(table.contents(now: 0, ageing: 0).count == 16)
        let result = table.learn(ForwardingTableTests.mac(500), on: 2, now: 1, ageing: 300)
        #expect(result == .full)
        #expect(!result.changedTable)
    }

    @Test("counts a station that moves, each time")
    func moves() {
        let table = ForwardingTable(capacity: 64)
        let mac = ForwardingTableTests.mac(1)
        table.learn(mac, on: 0, now: 1, ageing: 300)
        for k in 1...10 {
            #expect(table.learn(mac, on: UInt16(k & 1), now: 1, ageing: 300) == .moved)
            #expect(table.moves == UInt64(k))
        }
    }

    @Test("has room for at least what was asked for", arguments: [0, 1, 16, 17, 100, 8192, 8193])
    func capacity(asked: Int) {
        let table = ForwardingTable(capacity: asked)
        #expect(table.capacity >= max(16, asked))
        #expect(table.capacity < max(17, 2 * asked))
        #expect(table.capacity & (table.capacity - 1) == 0)
    }
}
