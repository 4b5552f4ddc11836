// A forwarding table in a file: what survives, and what whoever wrote the file can do.

import Testing
import Vale

@testable import Engine

extension EngineTests {
    @Suite("Table file")
    struct TableFileTests {
        @Test func `entries survive, except those of another boot, of no port, or of nobody`()
            throws
        {
            let directory = TemporaryDirectory()
            let path = directory.path + "/fdb"
            do {
                let file = try TableFile(path: path, bootID: "boot-1")
                #expect(!file.isAdopted)
                let table = unsafe ForwardingTable(file.storage)
                for mac in 1...20 {
                    table.learn(UInt64(mac) << 8, on: UInt16(mac % 4), now: 100, ageing: 0)
                }
                let isPinned = table.addStatic(0xaa00, on: 1)
                #expect(isPinned)
            }
            do {
                let file = try TableFile(path: path, bootID: "boot-1")
                #expect(file.isAdopted)
                let table = unsafe ForwardingTable(file.storage)
                let before = table.contents(now: 100, ageing: 0).count
                #expect(before == 21)
                // Those of port 0 and 3, and the static one.
                let removed = table.retain(now: 100) { $0 == 1 || $0 == 2 }
                #expect(removed == 11)
                let found = [0x100, 0x300].map { table.lookup($0, now: 100, ageing: 0) }
                #expect(found == [1, nil])
            }
            let file = try TableFile(path: path, bootID: "boot-2")
            #expect(!file.isAdopted)
            let table = unsafe ForwardingTable(file.storage)
            let entries = table.contents(now: 100, ageing: 0)
            #expect(entries.isEmpty)
        }

        @Test func `entries from the future are dropped`() throws {
            let directory = TemporaryDirectory()
            let file = try TableFile(path: directory.path + "/fdb", bootID: "b")
            let table = unsafe ForwardingTable(file.storage)
            table.learn(0x100, on: 1, now: 1000, ageing: 0)
            let removed = table.retain(now: 999) { _ in true }
            #expect(removed == 1)
        }

        @Test func `random contents are harmless and leave a table that works`() throws {
            let directory = TemporaryDirectory()
            let path = directory.path + "/fdb"
            for seed in UInt64(1)...5 {
                do {
                    let file = try TableFile(path: path, bootID: "b")
                    var word = seed
                    let words = unsafe file.storage.entries.assumingMemoryBound(to: UInt64.self)
                    for index in 0..<(8192 * 2) {
                        word = word &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                        unsafe words[index] = word >> (word >> 61)
                    }
                }
                let file = try TableFile(path: path, bootID: "b")
                #expect(file.isAdopted)
                let table = unsafe ForwardingTable(file.storage)
                table.retain(now: .max) { $0 < 100 }
                let left = table.contents(now: .max, ageing: 0)
                #expect(left.allSatisfy { $0.port < 100 && !$0.isStatic })
                let found = left.map { table.lookup($0.mac, now: .max, ageing: 0) }
                #expect(found == left.map(\.port))
                table.flush(dynamicOn: nil)
                table.learn(0x200, on: 7, now: 10, ageing: 0)
                let port = table.lookup(0x200, now: 10, ageing: 0)
                #expect(port == 7)
            }
        }

        @Test func `a file of another size or header is made anew`() throws {
            let directory = TemporaryDirectory()
            let path = directory.path + "/fdb"
            write("short", to: path)
            #expect(try !TableFile(path: path, bootID: "b").isAdopted)
            #expect(try TableFile(path: path, bootID: "b").isAdopted)
            // A kernel without a boot id promises nothing about times.
            #expect(try !TableFile(path: path, bootID: "").isAdopted)
        }
    }
}
