// The ring between workers and a capture's thread, and what that writes; replays as workers see them.

import CNetmap
import Glibc
import Netmap
import Testing
import Wire

@testable import Ports

/// A batch of frames of these lengths, each filled with its index.
@safe private final class Frames {
    var batch = FrameBatch()
    private let memory: UnsafeMutableRawPointer

    init(_ lengths: [Int]) {
        unsafe memory = .allocate(byteCount: max(1, lengths.reduce(0, +)), alignment: 64)
        var offset = 0
        for (index, length) in lengths.enumerated() {
            unsafe memset(memory + offset, Int32(index & 0xff), length)
            unsafe batch.frames[index] = unsafe Frame(
                address: memory + offset,
                length: UInt32(length)
            )
            offset += length
        }
        batch.count = lengths.count
    }

    deinit { unsafe memory.deallocate() }
}

/// Waits for a stage of a capture.
private func reach(_ phase: CaptureWriter.State.Phase, _ writer: CaptureWriter) -> Bool {
    for _ in 0..<5000 {
        if writer.now.phase == phase { return true }
        usleep(1000)
    }
    return false
}

/// A path that nothing is at.
private func path(_ name: String) -> String {
    let path = "/tmp/wirevale-test-\(getpid())-\(name)"
    unsafe unlink(path)
    return path
}

private func contents(_ path: String) -> [UInt8] {
    guard let file = unsafe fopen(path, "rb") else { return [] }
    defer { unsafe fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 8 << 20)
    let count = unsafe fread(&bytes, 1, bytes.count, file)
    return Array(bytes[..<count])
}

private func records(_ bytes: [UInt8]) throws -> [CaptureRecord] {
    var reader = try CaptureReader(bytes.span)
    var found: [CaptureRecord] = []
    while let record = try reader.next(bytes.span) { found.append(record) }
    #expect(reader.truncation == nil)
    return found
}

@Suite("Captures", .serialized)
struct CaptureRingTests {
    @Test
    func `what has no room is counted, and what is taken comes out whole and in order`() {
        let ring = CaptureRing.make(size: 1, snapLength: 1000)
        defer { ring.free() }
        let frames = Frames((0..<64).map { 60 + $0 * 29 })
        var written = 0
        var lost = 0
        var read = 0
        for round in 0..<2000 {
            for index in 0..<64 {
                let sight = FrameSight(time: UInt64(written), isInbound: true)
                switch ring.add(frames.batch, index, interface: 3, sight) {
                case .lost: lost += 1
                default: written += 1
                }
            }
            // The reader is slower for a while, then it catches up.
            var budget = round % 100 < 50 ? 30 : 400
            while budget > 0, let record = unsafe ring.first() {
                let header = unsafe record.load(as: CaptureRing.Header.self)
                let index = unsafe Int((record + 32).load(as: UInt8.self))
                let length = 60 + index * 29
                #expect(unsafe Int(header.length) == length)
                #expect(unsafe Int(header.captured) == min(1000, length))
                #expect(unsafe header.interface == 3)
                let last = unsafe (record + 31 + Int(header.captured)).load(as: UInt8.self)
                #expect(last == UInt8(index))
                unsafe ring.release(Int(header.size))
                read += 1
                budget -= 1
            }
        }
        while let record = unsafe ring.first() {
            unsafe ring.release(Int(record.load(as: CaptureRing.Header.self).size))
            read += 1
        }
        #expect(read == written)
        #expect(lost > 0 && written + lost == 128_000)
        let counts = ring.counts(of: 3)
        #expect(counts.received == 128_000 && counts.lost == UInt64(lost))
    }

    @Test(arguments: CaptureFormat.allCases)
    func `a capture writes what it was shown, with its reasons`(format: CaptureFormat) throws {
        let name = path("capture.\(format)")
        defer { unsafe unlink(name) }
        var options = CaptureOptions(path: name)
        options.format = format
        options.snapLength = 100
        let writer = try CaptureWriter(options)
        #expect(writer.addInterface("vale0:a") == 0)
        try writer.start()
        #expect(reach(.running, writer))
        let frames = Frames((0..<64).map { 60 + $0 })
        for index in 0..<64 {
            let reason = index % 2 == 0 ? FrameSight.delivered : DropReason.ringFull.rawValue
            let sight = FrameSight(time: 1000, isInbound: index < 32, reason: reason)
            let outcome = writer.ring.add(frames.batch, index, interface: 0, sight)
            if outcome == .takenWake { writer.wakeUp() }
        }
        writer.stop()
        #expect(reach(.ended, writer))
        let bytes = contents(name)
        let found = try records(bytes)
        #expect(found.count == 64)
        for (index, record) in found.enumerated() {
            #expect(record.originalLength == 60 + index)
            #expect(record.length == min(100, 60 + index))
            #expect(bytes[record.offset] == UInt8(index))
            #expect(record.time == 1000)
        }
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(text.contains("dropped: ring-full") == (format == .pcapng))
        #expect(writer.now.packets == 64 && writer.now.unwritten == 0)
    }

    @Test
    func `files turn by size, as tcpdump calls them`() throws {
        let name = path("turn")
        var options = CaptureOptions(path: name)
        options.rotation = CaptureRotation(bytes: 10_000, files: 3)
        let writer = try CaptureWriter(options)
        _ = writer.addInterface("vale0:a")
        try writer.start()
        #expect(reach(.running, writer))
        let frames = Frames([1000])
        for time in 0..<64 {
            let sight = FrameSight(time: UInt64(time), isInbound: true)
            #expect(writer.ring.add(frames.batch, 0, interface: 0, sight) != .lost)
        }
        writer.stop()
        #expect(reach(.ended, writer))
        let names = (0..<3).map { "\(name)\($0)" }
        defer { for one in names { unsafe unlink(one) } }
        // 64 frames, ten a file: the seventh file is the first again.
        let counts = try names.map { try records(contents($0)).count }
        #expect(writer.now.files == 7 && counts == [4, 10, 10], "\(counts)")
        #expect(CaptureRotation(bytes: 1, files: 20).name("x", number: 7, time: 0) == "x07")
        #expect(CaptureRotation(bytes: 1).name("x", number: 0, time: 0) == "x")
        #expect(CaptureRotation(bytes: 1).name("x", number: 12, time: 0) == "x12")
        #expect(CaptureRotation(seconds: 1).name("x%Y", number: 0, time: 86_400) == "x1970")
    }

    @Test
    func `a reader that goes ends the capture, and one that never comes does not keep it`() throws {
        let name = path("fifo")
        #expect(unsafe mkfifo(name, 0o600) == 0)
        defer { unsafe unlink(name) }
        signal(SIGPIPE, SIG_IGN)
        let lonely = try CaptureWriter(CaptureOptions(path: name))
        try lonely.start()
        #expect(reach(.waiting, lonely))
        lonely.stop()
        #expect(reach(.ended, lonely))
        let writer = try CaptureWriter(CaptureOptions(path: name))
        _ = writer.addInterface("vale0:a")
        try writer.start()
        let reader = unsafe open(name, O_RDONLY | O_NONBLOCK)
        #expect(reach(.running, writer))
        close(reader)
        let frames = Frames([1000])
        let sight = FrameSight(time: 1, isInbound: true)
        if writer.ring.add(frames.batch, 0, interface: 0, sight) == .takenWake { writer.wakeUp() }
        #expect(reach(.ended, writer))
        #expect(writer.now.reason == "the reader of \(name) has gone" && !writer.now.hasFailed)
        #expect(writer.now.packets == 0 && writer.now.unwritten == 1)
        #expect(writer.ring.add(frames.batch, 0, interface: 0, sight) == .unwanted)
    }

    @Test
    func `a disk that is full ends the capture with an error`() throws {
        let writer = try CaptureWriter(CaptureOptions(path: "/dev/full"))
        try writer.start()
        #expect(reach(.ended, writer))
        #expect(writer.now.hasFailed)
        #expect(writer.now.reason == "write /dev/full: No space left on device")
    }
}
