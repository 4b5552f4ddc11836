// What a front-end may share and what is refused, and what happens when it takes memory back.

import CNetmap
import Glibc
import Netmap
import TestSupport
import Testing

@testable import VhostUser

@Suite("Guest memory")
struct GuestMemoryTests {
    func expectRefusal(
        _ regions: [MemoryRegion],
        files: Int? = nil,
        fileSize: Int = 1 << 20,
        saying part: String,
        _ sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let descriptors = try (0..<(files ?? regions.count)).map { _ in
            try MemoryFile.make(fileSize)
        }
        do {
            _ = try GuestMemory(regions, files: descriptors)
            Issue.record("accepted", sourceLocation: sourceLocation)
        } catch {
            #expect(error.description.contains(part), sourceLocation: sourceLocation)
        }
    }

    @Test("without a region is refused")
    func none() throws { try expectRefusal([], saying: "0 memory regions") }

    @Test("of more regions than there may be is refused")
    func tooMany() throws {
        let regions = (0..<33).map { MemoryRegion.test(UInt64($0) << 20, 4096) }
        try expectRefusal(regions, saying: "33 memory regions")
        let enough = try (0..<32).map { _ in try MemoryFile.make(4096) }
        #expect(try GuestMemory(Array(regions[..<32]), files: enough).regions.count == 32)
    }

    @Test("with more or fewer files than regions is refused", arguments: [0, 1, 3])
    func fileCount(files: Int) throws {
        let regions = [MemoryRegion.test(0, 4096), MemoryRegion.test(1 << 20, 4096)]
        try expectRefusal(regions, files: files, saying: "2 memory regions but \(files) files")
    }

    @Test("of size zero, or of a size that no address space has, is refused")
    func sizes() throws {
        for size in [0, 1 << 47, UInt64.max, UInt64.max - 4095] {
            try expectRefusal(
                [MemoryRegion.test(0, size, user: 0)],
                saying: "size of \(size)"
            )
        }
    }

    @Test("that wraps around an address space is refused")
    func wraps() throws {
        let top = UInt64.max - 4095
        try expectRefusal(
            [MemoryRegion.test(top, 8192, user: 0)],
            saying: "wraps around"
        )
        try expectRefusal([MemoryRegion.test(top, 4096, user: 0)], saying: "wraps around")
        try expectRefusal([MemoryRegion.test(0, 8192, user: top)], saying: "wraps around")
        try expectRefusal(
            [MemoryRegion.test(0, 8192, user: 0, offset: top)],
            saying: "wraps around"
        )
    }

    @Test("behind the largest file offset is refused")
    func offset() throws {
        try expectRefusal(
            [MemoryRegion.test(0, 4096, offset: 1 << 47)],
            saying: "begins at"
        )
        try expectRefusal(
            [MemoryRegion.test(0, 4096, offset: 1 << 46)],
            saying: "shorter than its region"
        )
    }

    @Test("that overlaps itself is refused, wherever the overlap is")
    func overlap() throws {
        for (start, size) in [
            (0, 4096), (0, 0x10_0000), (0x1000, 0x1000), (0x2000, 0x1000), (0x2000, 0x5000),
            (0x3000, 0x5000), (0, 0x2000), (0x1f000, 0x1000),
        ] as [(UInt64, UInt64)] {
            let fixed = MemoryRegion.test(0x1000, 0x2_0000)
            let other = MemoryRegion.test(start, size, user: 1 << 40)
            let overlaps = start < 0x2_1000 && 0x1000 < start + size
            if overlaps {
                try expectRefusal([fixed, other], saying: "memory region 1 overlaps")
                try expectRefusal([other, fixed], saying: "memory region 1 overlaps")
            }
        }
    }

    @Test("whose file is shorter than its region is refused")
    func shortFile() throws {
        try expectRefusal(
            [MemoryRegion.test(0, 8192)],
            fileSize: 4096,
            saying: "shorter than its region"
        )
        try expectRefusal(
            [MemoryRegion.test(0, 4096, offset: 4096)],
            fileSize: 8191,
            saying: "shorter than its region"
        )
    }

    @Test("in something that is no file is refused")
    func noFile() throws {
        let eventfd = OwnedDescriptor(try SystemError.check(nm_eventfd(), "eventfd"))
        do {
            _ = try GuestMemory([MemoryRegion.test(0, 4096)], files: [eventfd])
            Issue.record("accepted an eventfd")
        } catch {
            #expect(error.description.contains("shorter"))
        }
        let closed = OwnedDescriptor(-1)
        do {
            _ = try GuestMemory([MemoryRegion.test(0, 4096)], files: [closed])
            Issue.record("accepted no descriptor at all")
        } catch {
            #expect(!error.description.isEmpty)
        }
    }

    @Test("may begin anywhere in its file and end anywhere in a page")
    func odd() throws {
        let file = try MemoryFile.make(0x10_000)
        let memory = try GuestMemory(
            [MemoryRegion.test(0x10_0000, 5000, offset: 0x3000)],
            files: [file]
        )
        let user: UInt64 = 0x7f00_0010_0000
        let first = unsafe memory.host(user: user, length: 5000)
        #expect(unsafe first != nil)
        let tooLong = unsafe memory.host(user: user, length: 5001)
        #expect(unsafe tooLong == nil)
        if let first = unsafe first {
            unsafe nm_store32(first + 8, 0x1234_5678)
            var bytes: UInt32 = 0
            #expect(unsafe pread(file.number, &bytes, 4, 0x3008) == 4)
            #expect(bytes == 0x1234_5678)
        }
    }

    @Test("gives rings an address only where they fit one region")
    func rings() throws {
        let files = try (0..<2).map { _ in try MemoryFile.make(0x10_000) }
        // One behind the other, for the guest and for the front-end.
        let memory = try GuestMemory(
            [
                MemoryRegion.test(0, 0x1_0000), MemoryRegion.test(0x1_0000, 0x1_0000),
            ],
            files: files
        )
        let user: UInt64 = 0x7f00_0000_0000
        func fits(_ address: UInt64, _ length: Int) -> Bool {
            let host = unsafe memory.host(user: address, length: length)
            return unsafe host != nil
        }
        #expect(fits(user, 0x1_0000))
        #expect(fits(user + 0x1_0000, 0x1_0000))
        #expect(fits(user + 0xffff, 1))
        #expect(!fits(user + 0xffff, 2), "two mappings are not contiguous here")
        #expect(!fits(user - 1, 1))
        #expect(!fits(user + 0x2_0000, 1))
        #expect(!fits(0, 1), "a guest address is no front-end address")
        #expect(!fits(.max, 16))
        #expect(!fits(user + 0x1_fff0, 0x7fff_ffff_ffff))
    }

    @Test("gives no ring that reaches out of its region, in one piece or in several")
    func ringAreas() throws {
        let files = try (0..<2).map { _ in try MemoryFile.make(0x2000) }
        let regions = [
            MemoryRegion.test(0, 0x2000), MemoryRegion.test(0x10_0000, 0x2000),
        ]
        let memory = try GuestMemory(regions, files: files)
        let user: [UInt64] = regions.map(\.userAddress)
        func area(_ ranges: [(UInt64, Int)]) throws -> RingArea {
            try RingArea(ranges.map { UserRange(address: $0.0, length: $0.1) }, in: memory)
        }
        // Pages side by side that are not, for us; the first and the last may be parts of pages.
        let whole = try area([(user[0] + 0xff0, 0x1010), (user[1], 0x1000), (user[0], 0x20)])
        #expect(whole.pageCount == 4)
        unsafe nm_store32(whole.host + 0x2010, 7)
        let last = unsafe memory.host(user: user[0], length: 4)
        if let last = unsafe last { #expect(unsafe nm_load32(last) == 7) }
        let bad: [[(UInt64, Int)]] = [
            [], [(user[0] + 0x1ff0, 0x11)], [(user[0] - 1, 2)], [(user[0] + 0x2000, 1)],
            [(.max, 1)], [(0, 16)], [(user[0], 0x2001)],
            [(user[0], 0x1000), (user[1] + 0x1000, 0x1001)],
            // Pieces of pages in the middle.
            [(user[0], 0x800), (user[1], 0x800)], [(user[0], 0x1000), (user[1] + 16, 16)],
            [(user[0], 0x1000), (user[1], 16), (user[0], 16)],
        ]
        for ranges in bad {
            #expect(throws: GuestMemoryError.self, "\(ranges)") { try area(ranges) }
        }
    }

    @Test("does not leave its files open or mapped when it goes")
    func unmaps() throws {
        let (readEnd, writeEnd) = try Pipe.make()
        do {
            let file = try MemoryFile.make(0x10_000)
            _ = try GuestMemory([MemoryRegion.test(0, 0x1_0000)], files: [file])
            // A pipe is refused, and closed.
            #expect(throws: GuestMemoryError.self) {
                try GuestMemory(
                    [
                        MemoryRegion.test(0, 0x1_0000),
                        MemoryRegion.test(1 << 20, 4096),
                    ],
                    files: [file, OwnedDescriptor(writeEnd)]
                )
            }
        }
        #expect(Pipe.isHungUp(readEnd.number))
    }
}
