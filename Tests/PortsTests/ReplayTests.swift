// A replay as a worker sees it: which frames are due, in passes, and what is taken back.

import CNetmap
import Glibc
import Netmap
import Testing
import Wire

@testable import Ports

private func write(_ times: [UInt64], longest: Int = 60) throws -> String {
    let path = "/tmp/wirevale-test-\(getpid())-replay-\(times.count)-\(longest).pcap"
    let encoder = CaptureEncoder(.pcap, snapLength: 262_144)
    var bytes: [UInt8] = []
    encoder.appendBeginning(application: "", to: &bytes)
    for (index, time) in times.enumerated() {
        let length = index == 1 ? longest : 60
        let mark = CaptureMark(time: time, captured: length, length: length)
        encoder.appendHead(mark, to: &bytes)
        bytes += [UInt8](repeating: UInt8(index & 0xff), count: length)
        encoder.appendTail(mark, to: &bytes)
    }
    let file = unsafe fopen(path, "wb")
    #expect(unsafe fwrite(bytes, 1, bytes.count, file) == bytes.count)
    unsafe fclose(file)
    return path
}

@safe private final class Counters {
    let page: UnsafeMutablePointer<nm_direction_counters>
    var counters: DirectionCounters { unsafe DirectionCounters(unsafePage: page) }
    init() {
        unsafe page = .allocate(capacity: 1)
        unsafe page.initialize(to: nm_direction_counters())
    }
    deinit { unsafe page.deallocate() }
}

@Suite("Replays")
struct ReplayTests {
    /// Collects up to `limit` frames, and the first byte of each.
    private func take(
        _ source: inout ReplaySource,
        _ counters: Counters,
        limit: Int = 64
    ) -> [UInt8] {
        var batch = FrameBatch()
        source.collect(into: &batch, counters: counters.counters, limit: limit)
        return (0..<batch.count).map { unsafe batch.frames[$0].address.load(as: UInt8.self) }
    }

    @Test
    func `passes follow each other, and what is taken back comes again`() throws {
        let path = try write(Array(repeating: 5, count: 50))
        defer { unsafe unlink(path) }
        let words = ReplayWords(isRunning: false)
        let timer = OwnedDescriptor(nm_timer())
        let counters = Counters()
        var source = ReplaySource(
            try ReplayFile(path),
            pace: .unlimited,
            passes: 2,
            words: words,
            timer: timer.number
        )
        var taken = take(&source, counters)
        var isDue = source.arm()
        #expect(taken.isEmpty && !isDue)
        words.isRunning = true
        isDue = source.arm()
        #expect(isDue)
        let first = take(&source, counters)
        #expect(first == (0..<50).map { UInt8($0) } + (0..<14).map { UInt8($0) })
        source.forgetCollected()
        taken = take(&source, counters, limit: 3)
        #expect(taken == [0, 1, 2])
        source.completeCollected()
        let place = source.place
        #expect(place == 3 && words.sent == 3 && words.passes == 0)
        var all: [UInt8] = [0, 1, 2]
        for _ in 0..<10 {
            all += take(&source, counters)
            source.completeCollected()
        }
        #expect(all == (0..<100).map { UInt8($0 % 50) })
        isDue = source.arm()
        #expect(words.sent == 100 && words.passes == 2 && !isDue)
        words.rewind()
        taken = take(&source, counters)
        #expect(taken.count == 64)
    }

    @Test
    func `frames wait for their time`() throws {
        let path = try write([
            1_000_000_000, 1_040_000_000, 1_040_000_000, 1_030_000_000, 1_080_000_000,
        ])
        defer { unsafe unlink(path) }
        let words = ReplayWords(isRunning: true)
        let timer = OwnedDescriptor(nm_timer())
        let counters = Counters()
        var source = ReplaySource(
            try ReplayFile(path),
            pace: .original,
            passes: 1,
            words: words,
            timer: timer.number
        )
        var seen: [(UInt8, UInt64)] = []
        while seen.count < 5 {
            if !source.arm() {
                var number = timer.number
                #expect(unsafe nm_wait_readable(&number, 1, 1_000_000_000) > 0)
            }
            for byte in take(&source, counters) { seen.append((byte, nm_monotonic_ns())) }
            source.completeCollected()
        }
        #expect(seen.map(\.0) == [0, 1, 2, 3, 4])
        // Never early; the clock that went back does not hold anything up.
        #expect(seen[1].1 - seen[0].1 >= 39_900_000)
        #expect(seen[4].1 - seen[0].1 >= 79_900_000)
        #expect(seen[3].1 == seen[1].1 || seen[3].1 - seen[1].1 < 30_000_000)
    }

    @Test(arguments: [ReplayPace.packets(1000), .bits(480_000)])
    func `a rate is kept`(pace: ReplayPace) throws {
        let path = try write(Array(repeating: 0, count: 30))
        defer { unsafe unlink(path) }
        let words = ReplayWords(isRunning: true)
        let timer = OwnedDescriptor(nm_timer())
        let counters = Counters()
        var source = ReplaySource(
            try ReplayFile(path),
            pace: pace,
            passes: 1,
            words: words,
            timer: timer.number
        )
        let begin = nm_monotonic_ns()
        var count = 0
        while count < 30 {
            count += take(&source, counters, limit: 64).count
            source.completeCollected()
            let age = nm_monotonic_ns() - begin
            // 60 bytes are a millisecond at either rate.
            #expect(count <= Int(age / 1_000_000) + 1)
        }
        #expect(nm_monotonic_ns() - begin >= 28_900_000)
    }

    @Test
    func `frames that no port takes are left out and counted`() throws {
        let path = try write([0, 1, 2], longest: 70_000)
        defer { unsafe unlink(path) }
        let words = ReplayWords(isRunning: true)
        let timer = OwnedDescriptor(nm_timer())
        let counters = Counters()
        var source = ReplaySource(
            try ReplayFile(path),
            pace: .unlimited,
            passes: 3,
            words: words,
            timer: timer.number
        )
        let taken = take(&source, counters)
        #expect(taken == [0, 2, 0, 2, 0, 2])
        #expect(counters.counters.dropped(.oversize) == 3)
    }

    @Test
    func `a file that cannot be replayed is refused with the reason`() {
        for (path, part) in [
            ("/nowhere.pcap", "read /nowhere.pcap: No such file or directory"),
            ("/etc/passwd", "/etc/passwd: byte 0: no capture file"),
            ("/tmp", "read /tmp"),
        ] {
            do throws(ReplayFile.LoadError) {
                _ = try ReplayFile(path)
                Issue.record("\(path) was taken")
            } catch {
                #expect(error.description.hasPrefix(part), "\(error)")
            }
        }
    }
}
