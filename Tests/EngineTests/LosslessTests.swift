// Senders that wait for full receivers, and queues that move between workers: with real workers and
// numbered frames.

import CNetmap
import Glibc
import Netmap
import Testing
import Vale

@testable import Engine

/// Asks until it is so, at most ten seconds.
private func eventually(_ condition: () -> Bool) -> Bool {
    let end = nm_monotonic_ns() + 10_000_000_000
    while !condition() {
        if nm_monotonic_ns() > end { return false }
        usleep(200)
    }
    return true
}

private let everybody: UInt64 = 0xffff_ffff_ffff

// Inside the serialized suite, one of whose tests counts the open descriptors of the process.
extension EngineTests {
    @Suite("Lossless ports and workers", .serialized)
    struct LosslessTests {
        @Test(arguments: [true, false])
        func `a queue that moves between workers loses and reorders nothing`(
            eventIndex: Bool
        ) throws {
            let bed = try MockSwitch(workers: 3)
            defer { bed.close() }
            let senders = [
                try bed.add(eventIndex: eventIndex),
                try bed.add(size: 16, buffers: 16, eventIndex: eventIndex),
            ]
            let receiver = try bed.add(
                size: 32,
                buffers: 8,
                patience: 0,
                eventIndex: eventIndex
            )
            _ = receiver.send(0, to: everybody)
            #expect(eventually { receiver.unsent == 0 })
            let count: UInt32 = 20_000
            var next: [UInt32] = [0, 0]
            var expected: [UInt16: UInt32] = [1: 0, 2: 0]
            var round = 0
            let end = nm_monotonic_ns() + 60_000_000_000
            while expected[1] != count || expected[2] != count {
                if nm_monotonic_ns() > end {
                    Issue.record("stuck at \(expected), sent \(next)")
                    return
                }
                for (k, sender) in senders.enumerated() {
                    while next[k] < count, sender.send(next[k], to: MockPort.mac(3)) {
                        next[k] += 1
                    }
                }
                // The receiver is slow, so both wait most of the time.
                usleep(round % 16 == 0 ? 100 : 1)
                for frame in receiver.receive() {
                    guard frame.value == expected[frame.from] else {
                        Issue.record("\(frame) where \(expected) came next")
                        return
                    }
                    expected[frame.from, default: 0] += 1
                }
                if round % 8 == 0 {
                    let sender = senders[round / 8 % 2]
                    let worker = bed.pool.workers[(round / 16) % 3]
                    unsafe bed.pool.move(sender.plane, 0, to: worker, isPinned: true)
                }
                round += 1
            }
            #expect(receiver.tx.dropped == 0)
            #expect(receiver.tx.packets == UInt64(2 * count))
            #expect(senders.allSatisfy { $0.rx.packets == UInt64(count) && $0.rx.dropped == 0 })
        }

        @Test func `a frame to all that a full port holds reaches every port once`() throws {
            let bed = try MockSwitch(workers: 2)
            defer { bed.close() }
            let sender = try bed.add()
            let ordinary = try bed.add()
            let full = try bed.add(buffers: 3, patience: 0)
            let roomy = try bed.add(patience: 0)
            for value in 0..<10 { #expect(sender.send(UInt32(value), to: everybody)) }
            #expect(eventually { sender.isHeld && sender.unsent == 7 })
            #expect(full.receive(refill: false).map(\.value) == [0, 1, 2])
            // The held frame has passed the port before the full one, and not the one behind it.
            #expect(ordinary.receive().map(\.value) == [0, 1, 2, 3])
            #expect(roomy.receive().map(\.value) == [0, 1, 2])
            #expect(sender.rx.packets == 3)
            #expect(unsafe bed.vale.pointee.vale.floods == 3)
            full.offer(2)
            #expect(eventually { sender.unsent == 5 })
            full.offer(40)
            #expect(eventually { sender.unsent == 0 })
            #expect(full.receive().map(\.value) == Array(3..<10))
            #expect(ordinary.receive().map(\.value) == Array(4..<10))
            #expect(roomy.receive().map(\.value) == Array(3..<10))
            #expect(sender.rx.packets == 10)
            #expect(sender.rx.multicast == 10)
            #expect(unsafe bed.vale.pointee.vale.floods == 10)
            #expect(!sender.isHeld)
        }

        @Test func `only the sender to a full port waits`() throws {
            let bed = try MockSwitch(workers: 1)
            defer { bed.close() }
            let waiting = try bed.add()
            let full = try bed.add(buffers: 1, patience: 0)
            let other = try bed.add()
            // Room for all that can be under way, because this one is not lossless.
            let reader = try bed.add(size: 256, buffers: 256)
            for port in [full, reader] { #expect(port.send(0, to: MockPort.mac(port.number))) }
            #expect(eventually { full.unsent == 0 && reader.unsent == 0 })
            _ = other.receive()
            for value in 0..<8 { #expect(waiting.send(UInt32(value), to: MockPort.mac(2))) }
            #expect(eventually { waiting.isHeld })
            var got: [UInt32] = []
            for value in 0..<500 {
                #expect(eventually { other.send(UInt32(value), to: MockPort.mac(4)) })
                got += reader.receive().filter { $0.from == 3 }.map(\.value)
            }
            #expect(
                eventually {
                    got += reader.receive().filter { $0.from == 3 }.map(\.value)
                    return got.count == 500
                }
            )
            #expect(got == Array(0..<500))
            #expect(waiting.isHeld)
        }

        @Test func `two full ports that wait for each other go on by their timeout`() throws {
            let bed = try MockSwitch(workers: 2)
            defer { bed.close() }
            let pair = [
                try bed.add(buffers: 4, patience: 60), try bed.add(buffers: 4, patience: 60),
            ]
            for value in 0..<20 {
                for (port, other) in zip(pair, pair.reversed()) {
                    #expect(port.send(UInt32(value), to: MockPort.mac(other.number)))
                }
            }
            #expect(eventually { pair.allSatisfy { $0.isHeld } })
            #expect(eventually { pair.allSatisfy { $0.unsent == 0 } })
            for port in pair {
                #expect(port.isStalled)
                #expect(port.tx.dropped(.ringFull) == 16)
                #expect(port.tx.dropped == 16)
                // Frames that are taken again give the right back.
                #expect(port.receive().map(\.value) == [0, 1, 2, 3])
            }
            for (port, other) in zip(pair, pair.reversed()) {
                #expect(port.send(100, to: MockPort.mac(other.number)))
            }
            #expect(eventually { pair.allSatisfy { $0.tx.packets == 5 && !$0.isStalled } })
        }

        @Test func `frames to a paused guest wait for it, and no worker spins meanwhile`() throws {
            let bed = try MockSwitch(workers: 1)
            defer { bed.close() }
            let sender = try bed.add()
            let paused = try bed.add(patience: 0)
            let other = try bed.add()
            let reader = try bed.add()
            for port in [paused, reader] { #expect(port.send(0, to: MockPort.mac(port.number))) }
            for value in 0..<5 { #expect(sender.send(UInt32(value), to: MockPort.mac(2))) }
            #expect(eventually { sender.unsent == 0 && paused.unsent == 0 })
            paused.pause(true, bed.pool)
            for value in 5..<20 { #expect(sender.send(UInt32(value), to: MockPort.mac(2))) }
            #expect(eventually { sender.isHeld })
            #expect(other.send(7, to: MockPort.mac(4)))
            #expect(eventually { reader.receive().map(\.value).contains(7) })
            let turns = unsafe nm_load64(&bed.page.worker(0).pointee.turns)
            usleep(100_000)
            // Asleep: a worker that polls makes some hundred thousand turns meanwhile.
            #expect(unsafe nm_load64(&bed.page.worker(0).pointee.turns) - turns < 1000)
            #expect(sender.isHeld && paused.tx.dropped == 0)
            paused.pause(false, bed.pool)
            #expect(eventually { sender.unsent == 0 })
            #expect(paused.receive().filter { $0.from == 1 }.map(\.value) == Array(0..<20))
            #expect(paused.tx.dropped == 0)
        }

        @Test func `a guest that is paused for longer than its timeout loses frames`() throws {
            let bed = try MockSwitch(workers: 1)
            defer { bed.close() }
            let sender = try bed.add()
            let paused = try bed.add(patience: 60)
            #expect(paused.send(0, to: MockPort.mac(2)))
            #expect(eventually { paused.unsent == 0 })
            paused.pause(true, bed.pool)
            let began = nm_monotonic_ns()
            for value in 0..<8 { #expect(sender.send(UInt32(value), to: MockPort.mac(2))) }
            #expect(eventually { sender.unsent == 0 })
            #expect(nm_monotonic_ns() - began >= 60_000_000)
            #expect(paused.isStalled)
            #expect(paused.tx.dropped(.noReader) == 8)
            #expect(paused.tx.dropped == 8)
        }

        @Test func `a link that goes down lets go of those who wait`() throws {
            let bed = try MockSwitch(workers: 1)
            defer { bed.close() }
            let sender = try bed.add()
            let full = try bed.add(buffers: 1, patience: 0)
            for value in 0..<8 { #expect(sender.send(UInt32(value), to: everybody)) }
            #expect(eventually { sender.isHeld })
            usleep(50_000)
            unsafe nm_store32(&full.plane.pointee.linkUp, 0)
            bed.pool.recall()
            #expect(eventually { sender.unsent == 0 })
            #expect(full.tx.dropped(.linkDown) == 7)
            #expect(full.tx.packets == 1)
        }
    }
}
