// Rings between an owner and the switch, against queues anybody would write.

import CNetmap
import Netmap
import TestSupport
import Testing

@testable import struct Netmap.Kring

@Suite("A ring")
struct RingTests {
    @Test(
        "carries frames to the switch, whole and in order, however many at a time",
        arguments: 0..<20
    )
    func transmit(seed: Int) throws {
        var random = Seeded(seed)
        let slots = random.within(2...70)
        let region = try Region(
            RegionTests.makeLayout(1, 1, slots: slots, buffer: 64 * random.within(1...4))
        )
        var ring = region.transmitRing()
        var kring = region.transmitKring()
        var waiting: [[UInt8]] = []
        var batch = FrameBatch()
        let page = CounterPage()
        var total: UInt64 = 0
        for round in 0..<200 {
            let note = Comment(rawValue: "seed \(seed), round \(round), \(slots) slots")
            #expect(ring.count == slots - 1 - waiting.count, note)
            let count = random.within(0...ring.count)
            for offset in 0..<count {
                let frame = random.bytes(random.within(0...region.layout.bufferSize))
                ring.fill(at: offset) { span in
                    for k in frame.indices {
                        span.storeBytes(of: frame[k], toByteOffset: k, as: UInt8.self)
                    }
                    return frame.count
                }
                waiting.append(frame)
            }
            ring.advance(count)
            guard random.chance(70) else { continue }
            batch.removeAll()
            kring.collect(into: &batch, counters: page.counters)
            let taken = min(waiting.count, 64)
            #expect(batch.count == taken, note)
            for k in 0..<batch.count { #expect(bytes(batch, k) == waiting[k], note) }
            if random.chance(80) {
                kring.completeCollected()
                waiting.removeFirst(taken)
                total += UInt64(taken)
            } else {
                // Nothing was given back, so the same frames come again.
                batch.removeAll()
                kring.collect(into: &batch, counters: page.counters)
                #expect(batch.count == taken, note)
                kring.completeCollected()
                waiting.removeFirst(taken)
                total += UInt64(2 * taken)
            }
        }
        #expect(page.counters.packets == total)
        #expect(page.drops.isEmpty)
    }

    @Test("carries frames from the switch, and counts those that find it full", arguments: 0..<20)
    func receive(seed: Int) throws {
        var random = Seeded(seed)
        let slots = random.within(2...90)
        let size = 64 * random.within(1...4)
        let region = try Region(RegionTests.makeLayout(1, 1, slots: slots, buffer: size))
        let view = try RegionView(region)
        var ring = region.receiveRing()
        var kring = region.receiveKring()
        var finisher = OffloadFinisher()
        // What stands in the ring: slots of each frame.
        var waiting: [(frame: [UInt8], slots: Int)] = []
        let page = CounterPage()
        var full: UInt64 = 0
        var oversize: UInt64 = 0
        var delivered: UInt64 = 0
        for round in 0..<120 {
            let note = Comment(rawValue: "seed \(seed), round \(round), \(slots) slots of \(size)")
            let frames = (0..<random.below(30)).map { _ -> [UInt8] in
                let most = random.chance(10) ? 3000 : random.chance(30) ? 3 * size : size
                return random.bytes(random.within(1...most))
            }
            var free = slots - 1 - waiting.reduce(0) { $0 + $1.slots }
            for frame in frames {
                let needed = (frame.count + size - 1) / size
                if needed > 64 || needed >= slots {
                    oversize += 1
                } else if needed > free {
                    full += 1
                } else {
                    free -= needed
                    delivered += 1
                    waiting.append((frame, needed))
                }
            }
            var batch = FrameBatch()
            let set = FrameSet(frames, into: &batch) { length in
                random.chance(50) ? [length] : random.split(length, into: random.within(1...9))
            }
            set.deliver(batch, to: &kring, page, &finisher)
            #expect(ring.count == waiting.reduce(0) { $0 + $1.slots }, note)
            for _ in 0..<random.within(0...waiting.count) {
                let (frame, needed) = waiting.removeFirst()
                var got: [UInt8] = []
                for k in 0..<needed {
                    let slot = view.slot(1, (view.head(1) + k) % slots)
                    #expect(Int(slot.flags >> 8) == needed, note)
                    #expect((slot.flags & UInt16(NS_MOREFRAG) != 0) == (k + 1 < needed), note)
                    got += ring.withFrame(at: k) { span in
                        (0..<span.byteCount).map { at in
                            unsafe span.unsafeLoad(fromByteOffset: at, as: UInt8.self)
                        }
                    }
                }
                #expect(got == frame, note)
                ring.advance(needed)
            }
        }
        #expect(page.counters.packets == delivered, "seed \(seed)")
        #expect(page.counters.dropped(.ringFull) == full, "seed \(seed)")
        #expect(page.counters.dropped(.oversize) == oversize, "seed \(seed)")
        #expect(page.counters.dropped == full + oversize, "seed \(seed)")
    }

    /// A transmit ring whose owner writes slots by hand.
    struct RawSender: ~Copyable {
        let region: Region
        let view: RegionView
        var kring: Kring
        var batch = FrameBatch()
        let page = CounterPage()
        var head = 0

        init(slots: Int, buffer: Int) throws {
            let region = try Region(RegionTests.makeLayout(1, 1, slots: slots, buffer: buffer))
            view = try RegionView(region)
            kring = region.transmitKring()
            self.region = region
        }

        /// Fills the next slot.
        mutating func put(
            _ bytes: [UInt8],
            more: Bool = false,
            buffer: UInt32? = nil,
            length: Int? = nil,
            flags: Int32 = 0
        ) {
            var slot = view.slot(0, head)
            view.write(bytes, view.buffer(slot.buffer))
            if let buffer { slot.buffer = buffer }
            slot.length = UInt16(length ?? bytes.count)
            slot.flags = UInt16(flags | (more ? NS_MOREFRAG : 0))
            view.setSlot(0, head, slot)
            head = (head + 1) % region.layout.slots
        }

        /// Lets the switch take what is there.
        mutating func collect() -> [[UInt8]] {
            view.setHead(0, head)
            batch.removeAll()
            kring.collect(into: &batch, counters: page.counters)
            let frames = (0..<batch.count).map { bytes(batch, $0) }
            kring.completeCollected()
            return frames
        }

        /// Slots that the owner has.
        var free: Int {
            let n = region.layout.slots
            return (view.tail(0) - head + n) % n
        }
    }

    @Test(
        "puts fragments together, and ends at head a frame without an end (trap 24)",
        arguments: 0..<20
    )
    func fragments(seed: Int) throws {
        var random = Seeded(seed)
        var sender = try RawSender(slots: random.within(80...200), buffer: 128)
        var expected: [[UInt8]] = []
        var rest: [[UInt8]] = []
        for round in 0..<150 {
            let note = Comment(rawValue: "seed \(seed), round \(round)")
            while sender.free > 64, random.chance(80) {
                let pieces =
                    rest.isEmpty
                    ? (0..<random.within(1...(random.chance(10) ? 64 : 5))).map { _ in
                        random.bytes(random.within(0...128))
                    } : rest
                rest = []
                // Sometimes head stands in the middle of a frame.
                let now = random.chance(15) ? random.below(pieces.count) : pieces.count
                if now < pieces.count {
                    for piece in pieces[..<now] { sender.put(piece, more: true) }
                    let first = pieces[..<now].flatMap { $0 }
                    let taken = sender.collect()
                    let wanted = expected + (now > 0 ? [first] : [])
                    #expect(taken == Array(wanted.prefix(taken.count)), note)
                    // What a full batch has left in the ring goes on.
                    let isCut = taken.count == wanted.count
                    expected.removeFirst(min(taken.count, expected.count))
                    for (k, piece) in pieces[now...].enumerated() {
                        sender.put(piece, more: now + k + 1 < pieces.count)
                    }
                    expected.append(isCut ? pieces[now...].flatMap { $0 } : pieces.flatMap { $0 })
                } else {
                    for (k, piece) in pieces.enumerated() {
                        sender.put(piece, more: k + 1 < pieces.count)
                    }
                    expected.append(pieces.flatMap { $0 })
                }
            }
            let taken = sender.collect()
            // A batch may end early where its room for fragments ends.
            #expect(taken == Array(expected.prefix(taken.count)), note)
            #expect(!taken.isEmpty || expected.isEmpty, note)
            expected.removeFirst(min(taken.count, expected.count))
        }
        #expect(sender.page.drops.isEmpty)
    }

    @Test("takes many frames of 64 fragments, batch after batch, and loses none")
    func manyFragments() throws {
        var sender = try RawSender(slots: 4096, buffer: 64)
        for number in 0..<40 {
            for k in 0..<64 {
                sender.put([UInt8](repeating: UInt8(number), count: 8), more: k < 63)
            }
        }
        var frames: [[UInt8]] = []
        while true {
            let some = sender.collect()
            if some.isEmpty { break }
            frames += some
        }
        #expect(frames == (0..<40).map { [UInt8](repeating: UInt8($0), count: 512) })
    }

    @Test("turns frames with bad buffers or lengths, or too many fragments, into empty ones")
    func badSlots() throws {
        let good = [UInt8](repeating: 7, count: 60)
        let bad: [(UInt32?, Int?)] = [
            (0xffff_ffff, nil), (1_000_000, nil), (2 + 2 * 128, nil), (nil, 129), (nil, 65_535),
            (0x8000_0000, 65_535),
        ]
        for (buffer, length) in bad {
            var sender = try RawSender(slots: 128, buffer: 128)
            sender.put(good)
            sender.put(good, buffer: buffer, length: length)
            sender.put(good, more: true)
            sender.put(good, more: true, buffer: buffer, length: length)
            sender.put(good)
            sender.put(good, more: true, buffer: buffer, length: length)
            sender.put(good)
            sender.put(good)
            // Empty frames are what the switch counts as malformed.
            #expect(sender.collect() == [good, [], [], [], good])
            #expect(sender.free == 127, "every slot came back")
        }
        var sender = try RawSender(slots: 128, buffer: 128)
        for k in 0..<65 { sender.put(good, more: k < 64) }
        sender.put(good)
        #expect(sender.collect() == [[], good])
    }

    @Test("counts a frame longer than any port accepts as malformed")
    func tooLong() throws {
        var sender = try RawSender(slots: 128, buffer: 2048)
        let piece = [UInt8](repeating: 1, count: 2048)
        for k in 0..<33 { sender.put(piece, more: k < 32) }
        for k in 0..<32 { sender.put(piece, more: k < 31) }
        #expect(sender.collect().map(\.count) == [0, 65_536])
    }

    @Test("never processes more slots than its owner was given, wherever head jumps")
    func headJumps() throws {
        for head in [0, 1, 5, 6, 7, 8, 9, 100, 0x7fff_ffff, 0xffff_ffff] {
            var sender = try RawSender(slots: 8, buffer: 64)
            for _ in 0..<3 { sender.put([1, 2, 3]) }
            #expect(sender.collect().count == 3)
            sender.head = head
            let frames = sender.collect()
            #expect(frames.count <= 7)
            if head >= 8 || head == 3 { #expect(frames.isEmpty) }
            #expect(sender.view.tail(0) < 8)
        }
    }

    @Test("survives an owner who writes anything anywhere", arguments: 0..<30)
    func hostileOwner(seed: Int) throws {
        var random = Seeded(seed)
        let slots = random.within(2...100)
        let size = 64 * random.within(1...34)
        let region = try Region(RegionTests.makeLayout(1, 1, slots: slots, buffer: size))
        let target = try Region(RegionTests.makeLayout(1, 1, slots: slots, buffer: size))
        let views = [try RegionView(region), try RegionView(target)]
        var source = region.transmitKring()
        var sink = target.receiveKring()
        var finisher = OffloadFinisher()
        let received = CounterPage()
        let sent = CounterPage()
        var offered: UInt64 = 0
        for _ in 0..<300 {
            for _ in 0..<random.below(20) {
                let ring = random.below(2)
                let view = views[ring]
                let value = random.chance(70) ? UInt64(random.below(2 * slots + 4)) : random.next()
                switch random.below(3) {
                case 0: view.store32(UInt32(truncatingIfNeeded: value), view.ring(ring) + 20)
                case 1:
                    view.setSlot(
                        ring,
                        random.below(slots),
                        RegionView.Slot(
                            buffer: UInt32(truncatingIfNeeded: value),
                            length: UInt16(
                                truncatingIfNeeded: random.below(
                                    random.chance(80) ? size + 1 : 65_536
                                )
                            ),
                            flags: random.chance(60) ? 0 : UInt16(truncatingIfNeeded: random.next())
                        )
                    )
                default:
                    // Header words that the switch must not believe.
                    view.store64(
                        random.next(),
                        view.ring(ring) + [0, 8, 16, 28][random.below(4)] / 8 * 8
                    )
                }
            }
            var batch = FrameBatch()
            source.collect(into: &batch, counters: received.counters)
            #expect(batch.count <= min(64, slots))
            for k in 0..<batch.count {
                // Every byte lies in the region's buffers, or this traps.
                _ = bytes(batch, k)
                let frame = unsafe batch.frames[k]
                let offset = unsafe frame.address - source.buffers
                let end = unsafe offset + Int(frame.headLength)
                #expect(offset >= 0 && end <= Int(source.bufferCount) * size, "seed \(seed)")
            }
            let set = FrameSet([], into: &batch)
            offered += UInt64(batch.count)
            set.deliver(batch, to: &sink, sent, &finisher)
            source.completeCollected()
        }
        #expect(received.counters.packets == offered)
        // A frame without a byte takes a slot, or none if it was in pieces.
        #expect(sent.counters.packets + sent.counters.dropped <= offered)
    }

    @Test("counts a frame whose receive buffer does not exist and leaves the slot alone")
    func badReceiveBuffer() throws {
        let region = try Region(RegionTests.makeLayout(1, 1, slots: 16, buffer: 128))
        let view = try RegionView(region)
        var kring = region.receiveKring()
        var finisher = OffloadFinisher()
        let page = CounterPage()
        var random = Seeded(1)
        view.setSlot(1, 0, RegionView.Slot(buffer: 0xffff_ffff, length: 9, flags: 9))
        var batch = FrameBatch()
        let set = FrameSet([random.bytes(60), random.bytes(300)], into: &batch)
        set.deliver(batch, to: &kring, page, &finisher)
        #expect(page.drops == ["malformed": 2])
        #expect(view.tail(1) == 0)
        #expect(view.slot(1, 0) == RegionView.Slot(buffer: 0xffff_ffff, length: 9, flags: 9))
    }

    @Test("gives a frame that needs several slots all of them or none")
    func allOrNothing() throws {
        let region = try Region(RegionTests.makeLayout(1, 1, slots: 8, buffer: 64))
        let ring = region.receiveRing()
        var kring = region.receiveKring()
        var finisher = OffloadFinisher()
        let page = CounterPage()
        var random = Seeded(1)
        var batch = FrameBatch()
        let set = FrameSet(
            [random.bytes(300), random.bytes(200), random.bytes(128), random.bytes(60)],
            into: &batch
        )
        set.deliver(batch, to: &kring, page, &finisher)
        // 5 slots, then 4 do not fit 2, 2 do, and nothing is left for the last.
        #expect(ring.count == 7)
        #expect(page.counters.packets == 2)
        #expect(page.drops == ["ring-full": 2])
    }
}
