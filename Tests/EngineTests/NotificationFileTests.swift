// The descriptors that a front-end gives for interrupts, kicks and errors: whatever it gives, and
// whatever it does with its own copy, no thread of the engine waits for it.

import CNetmap
import Glibc
import Logging
import Netmap
import Testing
import Vale

@testable import Engine
@testable import VhostUser

/// An eventfd that blocks whoever writes to it, as a hostile front-end makes one.
private func fullEventfd() throws -> OwnedDescriptor {
    let file = OwnedDescriptor(try SystemError.check(nm_eventfd(), "eventfd"))
    var full = UInt64.max - 1
    precondition(unsafe write(file.number, &full, 8) == 8)
    precondition(fcntl(file.number, F_SETFL, O_RDWR) == 0)
    return file
}

extension EngineTests {
    @Suite("Notification descriptors", .serialized)
    struct NotificationFileTests {
        private func rings(_ port: MockPort, _ bed: MockSwitch) throws -> PortRings {
            var logger = Logger(label: "test")
            logger.logLevel = .critical
            return unsafe PortRings(
                plane: port.plane,
                pool: bed.pool,
                loop: try EventLoop(),
                isLossless: false,
                recordPath: "",
                logger: logger
            )
        }

        @Test func `what is no eventfd is refused`() throws {
            let bed = try MockSwitch(workers: 1)
            defer { bed.close() }
            let rings = try rings(try bed.add(), bed)
            var ends: [Int32] = [-1, -1]
            #expect(unsafe pipe(&ends) == 0)
            let files = [
                OwnedDescriptor(ends[0]), OwnedDescriptor(ends[1]),
                OwnedDescriptor(unsafe open("/dev/null", O_RDWR)),
                OwnedDescriptor(unsafe nm_memfd_create("test", 4096)),
                OwnedDescriptor(socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)),
            ]
            for file in files {
                for ring in 0..<2 {
                    #expect(throws: SessionError.self) { try rings.setCall(ring: ring, file) }
                    let setup = RingSetup.of(features: Feature.version1, kick: file)
                    #expect(throws: SessionError.self) { try rings.start(ring: ring, setup) }
                    // An error descriptor is a courtesy: a useless one is not used.
                    rings.setError(ring: ring, file)
                    rings.signalError(ring)
                }
            }
            var query = pollfd(fd: ends[0], events: Int16(POLLIN), revents: 0)
            #expect(unsafe poll(&query, 1, 0) == 0, "nothing was written to the pipe")
        }

        @Test func `a call eventfd that is full does not hold up a worker`() async {
            await #expect(processExitsWith: .success) {
                alarm(20)
                let bed = try MockSwitch(workers: 1)
                let sender = try bed.add()
                let receiver = try bed.add()
                _ = receiver.send(0, to: 0xffff_ffff_ffff)
                let tests = NotificationFileTests()
                for port in [sender, receiver] {
                    for ring in 0..<2 {
                        try tests.rings(port, bed).setCall(ring: ring, fullEventfd())
                    }
                }
                // The first frame interrupts its receiver, and its return the sender.
                for value in 1...20 as ClosedRange<UInt32> {
                    _ = sender.send(value, to: MockPort.mac(2))
                    while sender.unsent != 0 { usleep(200) }
                }
                precondition(receiver.receive().map(\.value) == Array(1...20))
                bed.pool.synchronize()
                bed.close()
                exit(0)
            }
        }

        @Test func `an error eventfd that is full does not hold up the control thread`() async {
            await #expect(processExitsWith: .success) {
                alarm(5)
                let bed = try MockSwitch(workers: 1)
                let rings = try NotificationFileTests().rings(try bed.add(), bed)
                rings.setError(ring: 0, try fullEventfd())
                rings.signalError(0)
                exit(0)
            }
        }
    }
}

extension RingSetup {
    /// A set-up of which only this is looked at.
    fileprivate static func of(features: UInt64, kick: OwnedDescriptor?) -> RingSetup {
        RingSetup(
            size: 64,
            descriptors: [],
            available: [],
            used: [],
            base: 0,
            features: features,
            kick: kick
        )
    }
}
