// The receive ring of a packet socket, filled by a test instead of the kernel.

import CNetmap
import Netmap
import TestSupport
import Testing
import Wire

@testable import Ports

/// A ring of two blocks in the test's memory, and a kernel that fills them.
@safe private final class FakeRing {
    static let blockSize = 4096
    let base: UnsafeMutableRawPointer
    let page = CounterPage()

    init() {
        unsafe base = .allocate(byteCount: 2 * FakeRing.blockSize, alignment: 4096)
        unsafe base.initializeMemory(
            as: UInt8.self,
            repeating: 0xee,
            count: 2 * FakeRing.blockSize
        )
        for block in 0..<2 { setStatus(block, UInt32(NM_TP_KERNEL)) }
    }

    deinit { unsafe base.deallocate() }

    struct Entry {
        var frame: [UInt8]
        var offload = RawOffload.none
        /// Type and tag, if the kernel has taken one off.
        var tag: (UInt16?, UInt16)?
        /// How long the frame was, if not all of it is there.
        var length: Int?
        var kind: UInt8 = 0
    }

    func source() -> PacketSource {
        unsafe PacketSource(
            unsafeBase: base,
            blocks: 2,
            blockSize: FakeRing.blockSize,
            file: -1,
            counters: page.counters
        )
    }

    func setStatus(_ block: Int, _ status: UInt32) {
        unsafe nm_store32(base + block * FakeRing.blockSize + NM_BLOCK_STATUS, status)
    }

    func status(_ block: Int) -> UInt32 {
        unsafe nm_load32(base + block * FakeRing.blockSize + NM_BLOCK_STATUS)
    }

    func fill(_ block: Int, _ entries: [Entry]) {
        let start = unsafe base + block * FakeRing.blockSize
        var offset = 48
        unsafe nm_store32(start + NM_BLOCK_FIRST, UInt32(offset))
        unsafe nm_store32(start + NM_BLOCK_FRAMES, UInt32(entries.count))
        for (index, entry) in entries.enumerated() {
            let header = unsafe start + offset
            let mac = 108
            var status = UInt32(NM_TP_USER)
            if let (type, value) = entry.tag {
                status |= UInt32(NM_TP_TAGGED)
                unsafe nm_store32(header + NM_TPACKET_TCI, UInt32(value))
                if let type {
                    status |= UInt32(NM_TP_TPID)
                    unsafe nm_store16(header + NM_TPACKET_TPID, type)
                }
            }
            unsafe nm_store32(header + NM_TPACKET_STATUS, status)
            unsafe nm_store32(header + NM_TPACKET_CAPTURED, UInt32(entry.frame.count))
            unsafe nm_store32(
                header + NM_TPACKET_LENGTH,
                UInt32(entry.length ?? entry.frame.count)
            )
            unsafe nm_store16(header + NM_TPACKET_MAC, UInt16(mac))
            unsafe nm_store8(header + NM_TPACKET_KIND, entry.kind)
            unsafe nm_store64(header + mac - 10, entry.offload.low)
            unsafe nm_store16(header + mac - 2, entry.offload.high)
            for (k, byte) in entry.frame.enumerated() { unsafe nm_store8(header + mac + k, byte) }
            let size = (mac + entry.frame.count + 7) & ~7
            let isLast = index == entries.count - 1
            unsafe nm_store32(header + NM_TPACKET_NEXT, isLast ? 0 : UInt32(size))
            offset += size
        }
        setStatus(block, UInt32(NM_TP_USER))
    }
}

private func bytes(_ batch: borrowing FrameBatch, _ index: Int) -> [UInt8] {
    var result = [UInt8](repeating: 0, count: unsafe Int(batch.frames[index].length))
    unsafe result.withUnsafeMutableBytes { buffer in
        guard let base = buffer.baseAddress else { return }
        unsafe _ = batch.copy(index, from: 0, length: buffer.count, to: base)
    }
    return result
}

@Suite struct PacketSourceTests {
    @Test func `hands out a block and gives it back when all of it is through`() {
        let ring = FakeRing()
        var random = Seeded(1)
        let frames = (0..<5).map { random.bytes(60 + $0) }
        ring.fill(0, frames.map { FakeRing.Entry(frame: $0) })
        var source = ring.source()
        var batch = FrameBatch()
        source.collect(into: &batch, counters: ring.page.counters, limit: 3)
        var seen = (0..<batch.count).map { bytes(batch, $0) }
        #expect(seen == Array(frames[..<3]))
        source.completeCollected()
        let place1 = source.place
        #expect(place1 == 3)
        #expect(ring.status(0) == UInt32(NM_TP_USER))
        batch.removeAll()
        source.collect(into: &batch, counters: ring.page.counters, limit: 64)
        seen = (0..<batch.count).map { bytes(batch, $0) }
        #expect(seen == Array(frames[3...]))
        source.completeCollected()
        #expect(ring.status(0) == UInt32(NM_TP_KERNEL))
        let isAwake = source.arm()
        #expect(!isAwake)
        // The next block, and the first again.
        ring.fill(1, [FakeRing.Entry(frame: frames[0])])
        ring.fill(0, [FakeRing.Entry(frame: frames[1])])
        for frame in frames[..<2] {
            batch.removeAll()
            source.collect(into: &batch, counters: ring.page.counters, limit: 64)
            let count = batch.count
            #expect(count == 1)
            seen = [bytes(batch, 0)]
            #expect(seen == [frame])
            source.completeCollected()
        }
        #expect(ring.page.drops.isEmpty)
        #expect(ring.page.counters.packets == 7)
    }

    @Test(arguments: [(UInt16?.none, UInt16(0x8100)), (0x88a8, 0x88a8)])
    func `a tag goes back into the frame, once, however often it is handed out`(
        _ type: UInt16?,
        _ expected: UInt16
    ) {
        let ring = FakeRing()
        var random = Seeded(2)
        let frame = random.bytes(90)
        // A checksum from byte 34 on.
        let offload = RawOffload(low: 1 | 34 << 48, high: 16)
        ring.fill(0, [FakeRing.Entry(frame: frame, offload: offload, tag: (type, 0x6005))])
        var source = ring.source()
        var batch = FrameBatch()
        let tag = [UInt8(expected >> 8), UInt8(expected & 0xff), 0x60, 0x05]
        for _ in 0..<3 {
            batch.removeAll()
            source.collect(into: &batch, counters: ring.page.counters, limit: 64)
            let seen = bytes(batch, 0)
            #expect(seen == Array(frame[..<12]) + tag + Array(frame[12...]))
            let header = unsafe batch.headers[0].header
            #expect(header.csumStart == 38)
            #expect(header.csumOffset == 16)
            let isOffloaded = unsafe batch.frames[0].offload
            #expect(isOffloaded)
            source.forgetCollected()
        }
    }

    @Test func `what is cut short, too short or our own is not handed out`() {
        let ring = FakeRing()
        var random = Seeded(3)
        let good = random.bytes(64)
        ring.fill(
            0,
            [
                FakeRing.Entry(frame: random.bytes(64), length: 9000),
                FakeRing.Entry(frame: random.bytes(13)),
                FakeRing.Entry(frame: random.bytes(64), kind: UInt8(NM_PACKET_OUTGOING)),
                FakeRing.Entry(frame: good),
            ]
        )
        var source = ring.source()
        var batch = FrameBatch()
        source.collect(into: &batch, counters: ring.page.counters, limit: 64)
        let count = batch.count
        #expect(count == 1)
        let seen = bytes(batch, 0)
        #expect(seen == good)
        #expect(ring.page.drops == ["oversize": 1, "malformed": 1])
        source.completeCollected()
        #expect(ring.status(0) == UInt32(NM_TP_KERNEL))
    }

    @Test func `offsets that lead out of a block end it`() {
        let ring = FakeRing()
        var random = Seeded(4)
        ring.fill(0, (0..<4).map { _ in FakeRing.Entry(frame: random.bytes(64)) })
        unsafe nm_store32(ring.base + 48 + NM_TPACKET_NEXT, 1 << 20)
        var source = ring.source()
        var batch = FrameBatch()
        source.collect(into: &batch, counters: ring.page.counters, limit: 64)
        let count = batch.count
        #expect(count == 1)
        #expect(ring.page.drops == ["malformed": 3])
        source.completeCollected()
        #expect(ring.status(0) == UInt32(NM_TP_KERNEL))
    }
}
