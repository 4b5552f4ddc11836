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

/// Makes an eventfd block whoever writes to it, as a hostile front-end does: the flag is the file's,
/// not the descriptor's.
private func fill(_ file: OwnedDescriptor) {
    precondition(fcntl(file.number, F_SETFL, O_RDWR) == 0)
    var query = pollfd(fd: file.number, events: Int16(POLLIN), revents: 0)
    var old: UInt64 = 0
    if unsafe poll(&query, 1, 0) == 1 { precondition(unsafe read(file.number, &old, 8) == 8) }
    var full = UInt64.max - 1
    precondition(unsafe write(file.number, &full, 8) == 8)
}

private func eventfd() throws -> OwnedDescriptor {
    OwnedDescriptor(try SystemError.check(nm_eventfd(), "eventfd"))
}

private func fullEventfd() throws -> OwnedDescriptor {
    let file = try eventfd()
    fill(file)
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
                // Their owners, to the end: a descriptor that is closed blocks nobody.
                let all = try [sender, receiver].map { port in
                    try NotificationFileTests().rings(port, bed)
                }
                defer { withExtendedLifetime(all) {} }
                for rings in all {
                    for ring in 0..<2 { try rings.setCall(ring: ring, fullEventfd()) }
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

        @Test func `a call eventfd that is made to block after it was given holds up nobody`() async
        {
            await #expect(processExitsWith: .success) {
                alarm(20)
                let bed = try MockSwitch(workers: 1)
                let sender = try bed.add()
                let receiver = try bed.add()
                let neighbours = [try bed.add(), try bed.add()]
                _ = receiver.send(0, to: 0xffff_ffff_ffff)
                while receiver.unsent != 0 { usleep(200) }
                let all = try [sender, receiver].map { port in
                    try NotificationFileTests().rings(port, bed)
                }
                defer { withExtendedLifetime(all) {} }
                for rings in all {
                    for ring in 0..<2 {
                        let call = try eventfd()
                        try rings.setCall(ring: ring, call)
                        fill(call)
                    }
                }
                // What comes to a ring first interrupts: the receiver here, then the sender.
                _ = neighbours[1].send(0, to: 0xffff_ffff_ffff)
                while neighbours[1].unsent != 0 { usleep(200) }
                for value in 1...20 as ClosedRange<UInt32> {
                    _ = sender.send(value, to: MockPort.mac(2))
                    _ = neighbours[0].send(value, to: MockPort.mac(4))
                    while sender.unsent != 0 || neighbours[0].unsent != 0 { usleep(200) }
                }
                precondition(receiver.receive().suffix(20).map(\.value) == Array(1...20))
                precondition(neighbours[1].receive().suffix(20).map(\.value) == Array(1...20))
                bed.pool.synchronize()
                bed.close()
                exit(0)
            }
        }

        @Test func `error and kick eventfds that block do not hold up the control thread`() async {
            await #expect(processExitsWith: .success) {
                alarm(5)
                let bed = try MockSwitch(workers: 1)
                let rings = try NotificationFileTests().rings(try bed.add(), bed)
                let error = try fullEventfd()
                rings.setError(ring: 0, error)
                fill(error)
                rings.signalError(0)
                // One that says that it is readable, and is read by its owner first.
                let empty = try eventfd()
                precondition(fcntl(empty.number, F_SETFL, O_RDWR) == 0)
                precondition(nm_eventfd_drain(empty.number) == 0)
                exit(0)
            }
        }

        @Test func `a signal adds one, stays at the end of the range, and needs no AIO`() throws {
            var signaller = nm_signaller()
            #expect(unsafe nm_signaller_open(&signaller) == 0)
            let plain = nm_signaller(context: 0, null: -1)
            let file = try eventfd()
            // Far more than its ring has entries.
            for _ in 0..<1000 { #expect(nm_signal(signaller, file.number) == 0) }
            for _ in 0..<10 { #expect(nm_signal(plain, file.number) == 0) }
            var count: UInt64 = 0
            #expect(unsafe read(file.number, &count, 8) == 8)
            #expect(count == 1010)
            let full = try fullEventfd()
            for _ in 0..<100 { #expect(nm_signal(signaller, full.number) == 0) }
            #expect(nm_signal(signaller, -1) == -EBADF)
            nm_signaller_close(signaller)
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
