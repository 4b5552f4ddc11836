// A region's layout, read with the eyes of a program that knows only the ABI.

import CNetmap
import Glibc
import Netmap
import TestSupport
import Testing

@Suite("A region")
struct RegionTests {
    static func makeLayout(
        _ transmit: Int,
        _ receive: Int,
        slots: Int,
        buffer: Int,
        extra: Int = 0
    ) -> Region.Layout {
        var layout = Region.Layout()
        layout.transmitRings = transmit
        layout.receiveRings = receive
        layout.slots = slots
        layout.bufferSize = buffer
        layout.extraBuffers = extra
        return layout
    }

    @Test(
        "is laid out as programs expect it",
        arguments: [
            makeLayout(1, 1, slots: 1024, buffer: 2112), makeLayout(1, 1, slots: 2, buffer: 64),
            makeLayout(4, 4, slots: 256, buffer: 2048, extra: 10),
            makeLayout(1, 0, slots: 17, buffer: 512), makeLayout(0, 2, slots: 1000, buffer: 4096),
            makeLayout(3, 5, slots: 33, buffer: 1984, extra: 1),
        ]
    )
    func isLaidOut(layout: Region.Layout) throws {
        let region = try Region(layout)
        let view = try RegionView(region)
        var seen: Set<UInt32> = []
        let rings = layout.transmitRings + layout.receiveRings
        for ring in 0..<rings {
            let at = view.ring(ring)
            let isTransmit = ring < layout.transmitRings
            #expect(at % 128 == 0)
            #expect(view.load32(at + 8) == UInt32(layout.slots))
            #expect(view.load32(at + 12) == UInt32(layout.bufferSize))
            #expect(view.load16(at + 16) == UInt16(isTransmit ? ring : ring - layout.transmitRings))
            #expect(view.load16(at + 18) == (isTransmit ? 1 : 0))
            #expect(view.load32(at + 20) == 0, "head")
            #expect(view.load32(at + 24) == 0, "cur")
            #expect(view.tail(ring) == (isTransmit ? layout.slots - 1 : 0))
            #expect(view.buffer(0, ring) == view.buffer(0, 0), "buf_ofs leads to the same buffers")
            #expect(view.buffer(0, ring) % 64 == 0)
            for index in 0..<layout.slots {
                let slot = view.slot(ring, index)
                #expect(slot.length == 0 && slot.flags == 0)
                #expect(slot.buffer >= 2, "buffers 0 and 1 are never handed out")
                #expect(seen.insert(slot.buffer).inserted, "a buffer of its own")
                #expect(view.buffer(slot.buffer) + layout.bufferSize <= region.byteCount)
                #expect(view.buffer(slot.buffer) >= view.ring(rings))
            }
        }
        let last = view.buffer(UInt32(1 + rings * layout.slots + layout.extraBuffers))
        #expect(last + layout.bufferSize <= region.byteCount)
    }

    @Test("cannot be cut short by whoever holds it")
    func sealed() throws {
        let region = try Region()
        let seals = fcntl(region.descriptor.number, 1034)
        #expect(seals & 2 == 2, "F_SEAL_SHRINK")
        #expect(ftruncate(region.descriptor.number, 0) == -1)
        #expect(errno == EPERM)
        #expect(nm_file_size(region.descriptor.number) == Int64(region.byteCount))
    }

    @Test("closes its file when it goes")
    func closes() throws {
        var number: Int32 = -1
        do {
            let region = try Region()
            number = region.descriptor.number
            #expect(nm_file_size(number) == Int64(region.byteCount))
        }
        // The number may be somebody else's by now, but not that file's.
        #expect(nm_file_size(number) != 4_345_856)
    }
}

@Suite("Direction counters")
struct DirectionCounterTests {
    @Test("count what they are told, each reason apart")
    func counts() {
        let page = CounterPage()
        let counters = page.counters
        counters.count(packets: 3, bytes: 300, multicast: 1, offloaded: 2)
        counters.count(packets: 1, bytes: 60)
        #expect(counters.packets == 4)
        #expect(counters.bytes == 360)
        #expect(counters.multicast == 1)
        #expect(counters.offloaded == 2)
        for (k, reason) in DropReason.allCases.enumerated() {
            counters.drop(reason, k + 1)
            counters.drop(reason)
        }
        var total: UInt64 = 0
        for (k, reason) in DropReason.allCases.enumerated() {
            #expect(counters.dropped(reason) == UInt64(k + 2))
            total += UInt64(k + 2)
        }
        #expect(counters.dropped == total)
        #expect(counters.packets == 4)
    }

    @Test("have a number and a name for every reason that fit the page")
    func reasons() {
        let cases = DropReason.allCases
        #expect(Set(cases.map(\.name)).count == cases.count)
        // Not one behind the other: a number is kept for ever, and given before its neighbours are.
        #expect(Set(cases.map(\.index)).count == cases.count)
        #expect(cases.allSatisfy { $0.index < Int(NM_DROP_REASONS) })
    }
}
