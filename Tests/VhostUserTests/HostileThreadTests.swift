// A guest that rewrites everything while the switch works on it: nothing that was checked may be
// different when it is used.

import CNetmap
import Glibc
import Netmap
import TestSupport
import Testing

@testable import VhostUser

@Suite("A hostile guest's second thread")
struct HostileThreadTests {
    /// Seconds to run each of the four cases; `make sanitize` says how long all of them take.
    static var seconds: Double {
        guard let text = unsafe getenv("WIREVALE_HOSTILE_SECONDS") else { return 1 }
        return (Double(unsafe String(cString: text)) ?? 4) / 4
    }

    /// A guest with two queues, and how its front-end starts a broken one again.
    struct Guest {
        let ram: GuestRAM
        let transmit: MockDriver
        let receive: MockDriver
        let second: GuestMemory

        init(_ format: Format, _ features: UInt64) throws {
            let size: UInt16 = format == .split ? 64 : 61
            let footprint = MockDriver.footprint(format, size: size, sliceCount: 16)
            let step = UInt64((footprint + 4095) / 4096 * 4096)
            ram = try GuestRAM([Int(2 * step), 0x4000], hole: 0x10_0000)
            second = try ram.secondMapping()
            transmit = MockDriver(format, ram, size: size, features: features, sliceCount: 16)
            receive = MockDriver(
                format,
                ram,
                size: size,
                features: features,
                base: ram.start + step,
                sliceCount: 16
            )
        }

        /// Starts a queue again, behind what broke it.
        func restart(_ queue: any DeviceQueue, _ driver: MockDriver) -> any DeviceQueue {
            let memory = driver === receive ? second : ram.memory
            switch driver.format {
            case .split:
                ram.store16(ram.load16(driver.areas.available + 2), at: driver.areas.used + 2)
                return driver.makeQueue(memory)
            case .packed:
                let half = queue.base & 0xffff
                let slot = (half & 0x7fff) + 1
                let next = slot < driver.size ? slot | half & 0x8000 : half & 0x8000 ^ 0x8000
                return driver.makeQueue(memory, base: next | next << 16)
            }
        }
    }

    @Test(
        "cannot make the switch touch anything but the guest's memory",
        // Two threads each; no other case should take time from them.
        .serialized,
        arguments: Format.allCases,
        [Feature.modern, Feature.version1 | Feature.mergeableBuffers]
    )
    func rewritesEverything(format: Format, features: UInt64) throws {
        let guest = try Guest(format, features)
        // A second guest that behaves: what it gets is whole, whatever is in it.
        let honest = MockDriver(
            format,
            try GuestRAM([1 << 20]),
            size: 64,
            features: Feature.modern,
            sliceSize: 4096,
            tableEntries: 1
        )
        var worker = Worker()
        var faults: Set<QueueFault> = []
        var toHonest = 0
        let scribbler = Scribbler(
            [
                Scribbler.Target(guest.transmit, guest.ram.memory, isReceive: false),
                Scribbler.Target(guest.receive, guest.second, isReceive: true),
            ],
            seed: Int(features & 0xffff)
        )
        let writes = scribbler.run {
            let begin = nm_monotonic_ns()
            let time = UInt64(HostileThreadTests.seconds * 1e9)
            var source = guest.transmit.makeQueue()
            var sink = guest.receive.makeQueue(guest.second)
            let honestSink = honest.makeQueue()
            // Longer where a busy machine left us little of the time.
            while nm_monotonic_ns() - begin < time
                || (worker.received.counters.packets < 1000 || toHonest < 300)
                    && nm_monotonic_ns() - begin < 10 * time
            {
                for round in 0..<50 {
                    if round % 3 == 0 {
                        while honest.post([4000], writable: true) != nil {}
                        honest.publish()
                        worker.turn(source, honestSink)
                    } else {
                        worker.turn(source, sink)
                    }
                    for frame in honest.pollFrames() {
                        toHonest += 1
                        if !frame.isWellFormed || frame.frame.count < 14 {
                            Issue.record("the honest guest got \(frame.frame.count) bytes")
                        }
                    }
                    _ = source.needsInterrupt()
                    _ = sink.needsInterrupt()
                    _ = source.arm()
                    source.disarm()
                    faults.formUnion([source.fault, sink.fault])
                    if source.isFaulty { source = guest.restart(source, guest.transmit) }
                    if sink.isFaulty { sink = guest.restart(sink, guest.receive) }
                }
            }
            #expect(honestSink.fault == .none)
        }
        #expect(guest.ram.canariesAreIntact)
        #expect(honest.ram.canariesAreIntact)
        #expect(writes > 0)
        // Otherwise the test tests nothing.
        #expect(worker.received.counters.packets > 100)
        #expect(toHonest > 20)
        #expect(faults.count > 2, "\(faults)")
    }
}
