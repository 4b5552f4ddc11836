// The bitmap of a guest that is being migrated: which bits are set, and which bytes never are.

import CNetmap
import Glibc
import Netmap
import Synchronization
import TestSupport
import Testing

@testable import VhostUser

/// A log in a file of the test, with bytes around it that nobody may touch.
@safe final class MigrationLog {
    static let before = 4096
    static let behind = 4096
    private static let canary: UInt8 = 0x3c

    let file: OwnedDescriptor
    let log: DirtyLog
    let size: Int
    private let base: UnsafeMutableRawPointer
    private let ground: GuestMemory
    private let nowhere: RingArea

    /// A log of `size` bytes; each stands for 32 KiB of guest addresses.
    init(_ size: Int, _ makeFile: (Int) throws -> OwnedDescriptor = MemoryFile.make) throws {
        self.size = size
        let length = MigrationLog.before + size + MigrationLog.behind
        file = try makeFile(length)
        // SAFETY: a new mapping of the whole file, unmapped in deinit.
        guard
            let address = unsafe mmap(
                nil,
                length,
                PROT_READ | PROT_WRITE,
                MAP_SHARED,
                file.number,
                0
            ),
            unsafe address != MAP_FAILED
        else { throw SystemError("mmap", result: -errno) }
        unsafe base = address
        unsafe memset(address, Int32(MigrationLog.canary), length)
        unsafe memset(address + MigrationLog.before, 0, size)
        log = try DirtyLog(file: file, size: UInt64(size), offset: UInt64(MigrationLog.before))
        let region = MemoryRegion.test(0, 4096)
        ground = try GuestMemory([region], files: [MemoryFile.make(4096)])
        nowhere = try RingArea([UserRange(address: region.userAddress, length: 4)], in: ground)
    }

    deinit { unsafe munmap(base, MigrationLog.before + size + MigrationLog.behind) }

    /// The log for a queue that writes its ring in `area`, or nowhere.
    func pages(_ area: RingArea? = nil) throws -> DirtyPages {
        if let area { return DirtyPages(log, ring: area, isRingLogged: true) }
        return DirtyPages(log, ring: nowhere, isRingLogged: false)
    }

    /// Takes the marked pages and clears their bits, byte by byte as a front-end does; highest first.
    func harvest(_ body: (UInt64) -> Void) {
        for index in (0..<size).reversed() {
            // SAFETY: below `size`, inside the mapping.
            let cell = unsafe (base + MigrationLog.before + index)
                .assumingMemoryBound(to: Atomic<UInt8>.self)
            let bits = unsafe cell.pointee.exchange(0, ordering: .acquiringAndReleasing)
            if bits == 0 { continue }
            for bit in (0..<8).reversed() where bits & 1 << bit != 0 {
                body(UInt64(8 * index + bit))
            }
        }
    }

    /// The marked pages, whose bits are cleared.
    func harvest() -> Set<UInt64> {
        var pages: Set<UInt64> = []
        harvest { pages.insert($0) }
        return pages
    }

    /// Whether the bytes of the file around the log are as they were.
    var canariesAreIntact: Bool {
        let length = MigrationLog.before + size + MigrationLog.behind
        let inside = MigrationLog.before..<MigrationLog.before + size
        return (0..<length).allSatisfy {
            unsafe inside.contains($0) || nm_load8(base + $0) == MigrationLog.canary
        }
    }
}

@Suite("A dirty log")
struct DirtyLogTests {
    @Test("gets a bit for each page that a write touches, and no other", arguments: 0..<20)
    func marks(seed: Int) throws {
        var random = Seeded(seed)
        let log = try MigrationLog(64)
        let pages = try log.pages()
        for _ in 0..<200 {
            let address = UInt64(random.below(64 * 8 * 4096))
            let length = random.chance(20) ? random.below(40_000) : random.below(5000)
            pages.mark(address, length)
            let last = length == 0 ? nil : (address + UInt64(length) - 1) / 4096
            let expected = last.map { Set((address / 4096...$0).filter { $0 < 512 }) } ?? []
            #expect(log.harvest() == expected, "\(length) bytes at \(address)")
        }
        #expect(log.canariesAreIntact)
    }

    @Test("is not written outside, wherever the guest's memory is")
    func bounds() throws {
        let log = try MigrationLog(1)
        let pages = try log.pages()
        let cases: [(UInt64, Int, Set<UInt64>)] = [
            (0, 1, [0]), (4095, 1, [0]), (4095, 2, [0, 1]), (4096, 4096, [1]),
            (7 * 4096, 4096, [7]), (8 * 4096 - 1, 1, [7]), (8 * 4096 - 1, 2, [7]),
            (8 * 4096 - 1, 1 << 40, [7]), (8 * 4096, 1, []), (8 * 4096, 1 << 40, []),
            (0, 1 << 40, [0, 1, 2, 3, 4, 5, 6, 7]), (1 << 63, 4096, []), (.max, 1, []),
            // An address and a length that wrap around mark nothing.
            (.max, 2, []), (.max - 4095, .max, []), (0, 0, []), (0, -1, []),
        ]
        for (address, length, expected) in cases {
            pages.mark(address, length)
            #expect(log.harvest() == expected, "\(length) bytes at \(address)")
        }
        #expect(log.canariesAreIntact)
    }

    @Test("is refused if it is empty, wraps around, or is longer than its file")
    func refusals() throws {
        let file = OwnedDescriptor(
            try SystemError.check(unsafe nm_memfd_create("log", 8192), "memfd_create")
        )
        let cases: [(UInt64, UInt64)] = [
            (0, 0), (0, 4096), (8193, 0), (1, 8192), (4096, 4097), (8192, 1),
            (.max, 1), (1, .max), (.max, .max), (.max - 4095, 4096), (1 << 41, 0), (1, 1 << 41),
        ]
        for (size, offset) in cases {
            #expect(throws: GuestMemoryError.self, "\(size) bytes at \(offset)") {
                try DirtyLog(file: file, size: size, offset: offset)
            }
        }
        #expect(try DirtyLog(file: file, size: 4096, offset: 4096).size == 4096)
        #expect(try DirtyLog(file: file, size: 1, offset: 8191).size == 1)
        let (_, pipe) = try Pipe.make()
        for other in [OwnedDescriptor(pipe), OwnedDescriptor(nm_eventfd()), OwnedDescriptor(-1)] {
            #expect(throws: GuestMemoryError.self) {
                try DirtyLog(file: other, size: 1, offset: 0)
            }
        }
    }

    @Test("loses no bit of two queues that mark the same bytes")
    func atomicity() throws {
        let log = try MigrationLog(1 << 14)
        let count = UInt64(8 * log.size)
        for round in 0..<20 {
            // Even pages by one thread, odd ones by the other.
            let pages = UncheckedBox(value: try log.pages())
            @Sendable func mark(_ parity: UInt64) {
                for page in stride(from: parity, to: count, by: 2) {
                    pages.value.mark(page * 4096, 1)
                }
            }
            OtherThread.run({ _ in mark(0) }, beside: { mark(1) })
            #expect(log.harvest().count == Int(count), "round \(round)")
        }
    }

    @Test("that is cut short while in use is survived")
    func truncated() async {
        await #expect(processExitsWith: .success) {
            precondition(nm_guard_install() == 0)
            let log = try MigrationLog(8192, MemoryFile.unsealed)
            let pages = try log.pages()
            pages.mark(0, 1 << 30)
            precondition(ftruncate(log.file.number, 0) == 0)
            pages.mark(0, 1 << 30)
            exit(0)
        }
    }
}

// Another thread uses the log; its bits are atomic and the rest is constant.
extension MigrationLog: @unchecked Sendable {}
