// What the switch's side of a ring does when batches are taken back, and when owners write nonsense.

import CNetmap
import Netmap
import TestSupport
import Testing

@testable import struct Netmap.Kring

@Suite("The switch's side of a ring")
struct KringTests {
    @Test("skips the rest of a frame that is too long, and nothing of a batch that is taken back")
    func skippingAndForgetting() throws {
        var sender = try RingTests.RawSender(slots: 256, buffer: 64)
        sender.put([1, 1])
        for _ in 0..<70 { sender.put([2], more: true) }
        sender.view.setHead(0, sender.head)
        sender.batch.removeAll()
        sender.kring.collect(into: &sender.batch, counters: sender.page.counters)
        #expect(sender.batch.count == 1)
        // A lossless receiver had no room.
        sender.kring.forgetCollected()
        let first = sender.collect()
        #expect(first == [[1, 1]])
        sender.put([2], more: false)
        sender.put([3, 3])
        // And once more where the rest is skipped.
        sender.view.setHead(0, sender.head)
        sender.batch.removeAll()
        sender.kring.collect(into: &sender.batch, counters: sender.page.counters)
        #expect(sender.batch.count == 1)
        sender.kring.forgetCollected()
        let last = sender.collect()
        #expect(last == [[3, 3]])
    }

    @Test("believes that a slot names a port only beside NS_NO_LEARN (trap 27)")
    func ports() throws {
        var sender = try RingTests.RawSender(slots: 256, buffer: 64)
        let port = { (number: Int32) in NS_NO_LEARN | number << NS_PORT_SHIFT }
        // Received slots whose flags were copied: 1 and 3 are how many slots the frames had.
        sender.put([1], flags: 1 << NS_PORT_SHIFT)
        for k in 0..<3 { sender.put([2], more: k < 2, flags: 3 << NS_PORT_SHIFT) }
        sender.put([3], flags: port(7))
        sender.put([4], more: true, flags: port(8))
        sender.put([4], flags: port(9))
        sender.put([5], flags: port(0))
        sender.put([6], flags: port(254))
        sender.put([7])
        var seen: [[UInt8]] = []
        for _ in 0..<3 {
            let frames = sender.collect()
            let ports = (0..<frames.count).map { unsafe sender.batch.ports[$0] }
            seen += zip(frames, ports).map { sender.batch.isUnlearned ? $0.0 + [$0.1] : $0.0 }
        }
        #expect(seen == [[1], [2, 2, 2], [3, 7], [4, 4, 8], [5, 0], [6, 254], [7]])
    }

    @Test("says of frames behind slots without one whether they are learned, and for whom they are")
    func portsBehindNothing() throws {
        var sender = try RingTests.RawSender(slots: 256, buffer: 64)
        let forced = NS_NO_LEARN | 5 << NS_PORT_SHIFT
        var seen: [[UInt8]] = []
        // The rest of a frame that is too long, and no frame therefore, in front of one of the other kind.
        for (flags, other) in [(0, forced), (forced, 0)] {
            for _ in 0..<70 { sender.put([1], more: true, flags: flags) }
            let none = sender.collect()
            #expect(none.isEmpty)
            sender.put([1], flags: flags)
            sender.put([2], flags: other)
            sender.put([3], flags: flags)
            for _ in 0..<2 {
                let frames = sender.collect()
                let ports = (0..<frames.count).map { unsafe sender.batch.ports[$0] }
                seen += zip(frames, ports).map { sender.batch.isUnlearned ? $0.0 + [$0.1] : $0.0 }
            }
        }
        #expect(seen == [[2, 5], [3], [2], [3, 5]])
        #expect(sender.page.drops == ["malformed": 2])
    }

    @Test("tells lengths that fit a slot, of buffers that are longer", arguments: [0, 12])
    func largestBuffers(header: Int) throws {
        let region = try Region(RegionTests.makeLayout(1, 1, slots: 16, buffer: 65536))
        let view = try RegionView(region)
        var kring = region.receiveKring()
        kring.headerLength = header
        var finisher = OffloadFinisher()
        var batch = FrameBatch()
        let page = CounterPage()
        var random = Seeded(7)
        let frames = [65535, 65536, 65597].map { random.bytes($0) }
        let set = FrameSet(frames, into: &batch)
        set.deliver(batch, to: &kring, page, &finisher)
        var slot = 0
        for frame in frames {
            var seen: [UInt8] = []
            var slots = 0
            repeat {
                let word = view.slot(1, slot)
                #expect(word.flags & 1 == 0)
                seen += view.bytes(view.buffer(word.buffer), Int(word.length))
                slot += 1
                slots += 1
            } while view.slot(1, slot - 1).flags & UInt16(NS_MOREFRAG) != 0
            // Not shown in full if it is not so.
            let isWhole = seen == Array(repeating: 0, count: header) + frame
            #expect(isWhole)
            #expect(slots == (frame.count + header + 65534) / 65535)
        }
        #expect(page.counters.packets == 3 && page.drops.isEmpty)
    }

    @Test("carries frames from one switch to another, whoever is ahead", arguments: 0..<20)
    func splice(seed: Int) throws {
        var random = Seeded(seed)
        let ring = SpliceRing(slots: 128)
        var from = Kring(ring, transmit: false)
        var to = Kring(ring, transmit: true)
        var finisher = OffloadFinisher()
        let (tx, rx) = (CounterPage(), CounterPage())
        var sent: [[UInt8]] = []
        var batch = FrameBatch()
        for _ in 0..<200 {
            if random.chance(50) {
                for _ in 0..<random.within(1...20) {
                    let frame = random.bytes(random.within(14...6000))
                    batch.removeAll()
                    let set = FrameSet([frame], into: &batch)
                    let before = tx.counters.packets
                    set.deliver(batch, to: &from, tx, &finisher)
                    if tx.counters.packets != before { sent.append(frame) }
                }
            } else {
                batch.removeAll()
                to.collect(into: &batch, counters: rx.counters, limit: random.within(1...200))
                let frames = (0..<batch.count).map { bytes(batch, $0) }
                #expect(frames == Array(sent.prefix(frames.count)))
                sent.removeFirst(min(frames.count, sent.count))
                to.completeCollected()
            }
        }
        let waiting = sent.count
        #expect(tx.counters.packets == rx.counters.packets + UInt64(waiting))
        #expect(tx.drops.keys.allSatisfy { $0 == "ring-full" } && rx.drops.isEmpty)
    }

    @Test("wakes the switch at the other side of a splice once for each time that it sleeps")
    func spliceWakes() throws {
        let ring = SpliceRing(slots: 128)
        var from = Kring(ring, transmit: false)
        var to = Kring(ring, transmit: true)
        var finisher = OffloadFinisher()
        var batch = FrameBatch()
        let page = CounterPage()
        let set = FrameSet([[UInt8](repeating: 1, count: 60)], into: &batch)
        func deliver(_ from: inout Kring) -> Bool {
            set.deliver(batch, to: &from, page, &finisher)
            return from.needsNotice()
        }
        var isAwake = deliver(&from)
        #expect(!isAwake, "nobody sleeps")
        isAwake = to.arm()
        #expect(isAwake, "there is something already")
        var wakes = [deliver(&from), deliver(&from)]
        #expect(wakes == [true, false])
        var hadBell = [to.disarm(), to.disarm()]
        #expect(hadBell == [true, false])
        // The other way: room.
        isAwake = from.arm()
        #expect(!isAwake)
        var taken = FrameBatch()
        to.collect(into: &taken, counters: page.counters)
        to.completeCollected()
        wakes = [to.needsNotice(), to.needsNotice()]
        #expect(wakes == [true, false])
        hadBell = [from.disarm(), from.hasMoved]
        #expect(hadBell == [true, true])
    }

    @Test("is kept awake by slots that its owner has, and by no others")
    func headsThatAreNobodys() throws {
        let region = try Region(RegionTests.makeLayout(1, 1, slots: 16, buffer: 128))
        let view = try RegionView(region)
        var kring = region.receiveKring()
        var finisher = OffloadFinisher()
        let page = CounterPage()
        var batch = FrameBatch()
        let frames = (1...2).map { [UInt8](repeating: $0, count: 60) }
        let set = FrameSet(frames, into: &batch)
        set.deliver(batch, to: &kring, page, &finisher)
        var hasMoved = kring.hasMoved
        #expect(!hasMoved)
        for head in [3, 15, 16, 0xffff_ffff] {
            view.setHead(1, head)
            hasMoved = kring.hasMoved
            let hasReleased = kring.release()
            #expect(!hasMoved && !hasReleased, "\(head)")
        }
        view.setHead(1, 2)
        hasMoved = kring.hasMoved
        let hasReleased = kring.release()
        let isAwake = kring.hasMoved
        #expect(hasMoved && hasReleased && !isAwake)
        // A sender may give away all that it has.
        var sender = region.transmitKring()
        view.setHead(0, 15)
        hasMoved = sender.hasMoved
        #expect(hasMoved)
        sender.collect(into: &batch, counters: page.counters)
        sender.completeCollected()
        hasMoved = sender.hasMoved
        #expect(!hasMoved)
    }

    @Test("carries a pipe's frames in pieces, and counts all their bytes", arguments: 1..<8)
    func pipeInPieces(limit: Int) throws {
        var sender = try RingTests.RawSender(slots: 64, buffer: 64)
        var receiver = sender.region.receiveKring()
        let rx = CounterPage()
        let tx = CounterPage()
        for _ in 0..<5 {
            sender.put([1, 2, 3], more: true)
            sender.put([4, 5], more: true)
            sender.put([6])
        }
        sender.view.setHead(0, sender.head)
        var visits = 0
        while sender.kring.transfer(to: &receiver, rx: rx.counters, tx: tx.counters, limit: limit) {
            visits += 1
            #expect(sender.view.tail(1) % 3 == 0)
        }
        #expect(visits == (15 + limit - 1) / limit)
        #expect(sender.view.tail(1) == 15)
        for page in [rx, tx] {
            #expect(page.counters.packets == 5)
            #expect(page.counters.bytes == 30)
        }
    }
}
