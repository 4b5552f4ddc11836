// A front-end that takes memory back while the switch uses it: files cut short, guards used up.

import CNetmap
import Glibc
import Netmap
import TestSupport
import Testing

@testable import VhostUser

@Suite("Memory that is taken back")
struct TruncationTests {
    @Test("that is cut short while in use is survived, and says so")
    func truncated() async {
        await #expect(processExitsWith: .success) {
            precondition(nm_guard_install() == 0)
            // Unsealed, unlike ours: that is what a hostile front-end shares.
            let file = try MemoryFile.unsealed(1 << 20)
            let sealed = try MemoryFile.make(1 << 20)
            let memory = try GuestMemory(
                [MemoryRegion.test(0, 1 << 20)],
                files: [file]
            )
            let other = try GuestMemory(
                [MemoryRegion.test(0, 1 << 20)],
                files: [sealed]
            )
            guard let host = unsafe memory.host(user: 0x7f00_0000_0000, length: 1 << 20) else {
                exit(2)
            }
            unsafe nm_store64(host + 4096, 42)
            precondition(!memory.isTruncated && !other.isTruncated)
            precondition(ftruncate(file.number, 0) == 0)
            precondition(unsafe nm_load64(host + 4096) == 0, "zeroes from now on")
            unsafe nm_store64(host + (1 << 19), 7)
            unsafe memset(host, 1, 1 << 20)
            precondition(memory.isTruncated && !other.isTruncated)
            exit(0)
        }
    }

    @Test("that is cut short under a running queue costs that guest only")
    func truncatedQueue() async {
        await #expect(processExitsWith: .success) {
            precondition(nm_guard_install() == 0)
            for format in Format.allCases {
                try TruncationTests.cutShort(format)
            }
            exit(0)
        }
    }

    /// Two queues of one guest are served when its memory goes.
    static func cutShort(_ format: Format) throws {
        let file = try MemoryFile.unsealed(1 << 20)
        let memory = try GuestMemory([MemoryRegion.test(0, 1 << 20)], files: [file])
        guard let host = unsafe memory.host(user: 0x7f00_0000_0000, length: 1 << 20) else {
            exit(2)
        }
        func queue(_ at: Int) -> any DeviceQueue {
            unsafe format.makeQueue(
                QueueSetup(
                    size: 64,
                    descriptors: host + at,
                    available: host + at + 4096,
                    used: host + at + 8192,
                    base: 0x8000_8000,
                    features: Feature.modern | format.feature,
                    memory: memory
                )
            )
        }
        for k in 0..<64 {
            unsafe nm_store64(host + 16 * k, 0x8_0000)
            // Available in the first lap, or in the available ring.
            let flags: UInt64 = format == .packed ? 0x80 << 48 : 0
            unsafe nm_store64(host + 16 * k + 8, 1500 | flags)
            if format == .split { unsafe nm_store16(host + 4096 + 4 + 2 * k, UInt16(k)) }
        }
        if format == .split { unsafe nm_store16(host + 4096 + 2, 64) }
        let source = queue(0)
        let sink = queue(0x4000)
        var worker = Worker()
        let collected = worker.collect(source).count
        precondition(collected == 64)
        precondition(ftruncate(file.number, 0) == 0)
        for _ in 0..<10 {
            worker.turn(source, sink)
            worker.turn(sink, source)
            _ = source.needsInterrupt()
            _ = source.arm()
        }
        precondition(memory.isTruncated)
        let ram = try GuestRAM([1 << 20])
        let honest = MockDriver(format, ram, size: 16, features: Feature.modern)
        honest.post([1600], writable: true)
        honest.publish()
        var random = Seeded(1)
        let frame = makeFrame(1, length: 200, using: &random)
        worker.deliver([frame], to: honest.makeQueue())
        precondition(honest.pollFrames().map(\.frame) == [frame])
        precondition(!ram.memory.isTruncated)
    }

    @Test("that nobody could guard against it any more is refused, and nothing stays behind")
    func exhaustedGuards() async {
        await #expect(processExitsWith: .success) {
            let page = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 4096)
            var guards: [Int32] = []
            while true {
                let number = unsafe nm_guard_add(page, 4096)
                if number < 0 { break }
                guards.append(number)
            }
            precondition(guards.count >= 2048, "enough for 64 ports of 32 regions")
            let files = try (0..<2).map { _ in try MemoryFile.make(8192) }
            let regions = [MemoryRegion.test(0, 8192), MemoryRegion.test(1 << 20, 8192)]
            func refusal(_ body: () throws -> Void) -> String {
                do {
                    try body()
                    return "accepted"
                } catch { return "\(error)" }
            }
            let text = "guard another mapping against truncation"
            precondition(refusal { _ = try GuestMemory(regions, files: files) }.contains(text))
            let log = { _ = try DirtyLog(file: files[0], size: 4096, offset: 0) }
            precondition(refusal(log).contains(text))
            // One guard is not enough for two regions, and comes back each time.
            nm_guard_remove(guards.removeLast())
            for _ in 0..<3 {
                precondition(refusal { _ = try GuestMemory(regions, files: files) }.contains(text))
                precondition(refusal(log) == "accepted")
            }
            nm_guard_remove(guards.removeLast())
            precondition(refusal { _ = try GuestMemory(regions, files: files) } == "accepted")
            exit(0)
        }
    }
}
