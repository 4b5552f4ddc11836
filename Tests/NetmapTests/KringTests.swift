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
