// One frame on its way between two ports of a switch, there and back.

import CNetmap
import Glibc
import Netmap

/// A port of the switch: its rings and the address that it sends from.
struct Station: ~Copyable {
    var receive: DriverRing
    var transmit: DriverRing
    private let connection: FrontEnd
    private let expected: UInt64

    init(
        _ path: String,
        memory: Mapping,
        file: OwnedDescriptor,
        index: Int,
        own: UInt64,
        other: UInt64
    ) throws {
        // Guest addresses that are not ours, as in life.
        let start: UInt64 = 0x1_0000_0000
        let place = 2 * index * DriverRing.length(DriverRing.bufferCount)
        var receive = try DriverRing(in: memory, at: place, start: start, writable: true)
        var transmit = try DriverRing(
            in: memory,
            at: place + DriverRing.length(DriverRing.bufferCount),
            start: start,
            writable: false
        )
        let connection = try FrontEnd(connectingTo: path)
        transmit.address(from: own, to: other)
        receive.offer(DriverRing.bufferCount)
        try connection.start(
            memory: file,
            length: memory.length,
            at: start,
            receive: receive,
            transmit: transmit
        )
        receive.notify()
        transmit.notify()
        self.receive = receive
        self.transmit = transmit
        self.connection = connection
        // What the first eight bytes of a frame from the other station are.
        expected = own | other &<< 48
    }

    /// Sends the frame with this number; the switch has room for it, because hardly any is under way.
    mutating func send(_ number: UInt64) {
        guard let buffer = transmit.free else { return }
        unsafe nm_store64(transmit.frame(buffer) + Trip.numberOffset, number)
        transmit.offer()
    }

    /// Whether the frame with this number has arrived; drops what else there is.
    mutating func received(_ number: UInt64) -> Bool {
        guard let buffer = receive.take() else { return false }
        let frame = unsafe receive.frame(buffer)
        let isIt =
            unsafe nm_load64(frame + Trip.numberOffset) == number
            && nm_load64(frame) == expected
        receive.giveBack(buffer)
        return isIt
    }
}

/// Both ports of a switch and the frame between them.
struct Trip: ~Copyable {
    /// Bytes of the frame without its virtio-net header.
    static let frameLength = 64
    /// Behind the Ethernet header, aligned.
    static let numberOffset = 20
    /// How long a frame may take before it counts as lost.
    private static let patience: UInt64 = 100_000_000

    private let memory: Mapping
    private var here: Station
    private var there: Station
    private var number: UInt64 = 0
    private(set) var lost = 0

    /// Connects to both ports.
    init(_ paths: (String, String)) throws {
        let length = 4 * DriverRing.length(DriverRing.bufferCount)
        let file = OwnedDescriptor(
            try SystemError.check(
                unsafe nm_memfd_create("latency", UInt64(length)),
                "memfd_create"
            )
        )
        let (one, two): (UInt64, UInt64) = (0x01_0000_0000_02, 0x02_0000_0000_02)
        let memory = try Mapping(file, length: length)
        let here = try Station(paths.0, memory: memory, file: file, index: 0, own: one, other: two)
        let there = try Station(paths.1, memory: memory, file: file, index: 1, own: two, other: one)
        self.memory = memory
        self.here = here
        self.there = there
    }

    /// Goes there and back until the switch has learned where both ports are.
    mutating func learn() throws {
        // Right after the handshake a switch may not forward yet, so it gets ten seconds.
        for _ in 0..<100 where run() { return }
        throw FrontEndError(description: "no frame came there and back within 10 s")
    }

    /// How often a switch wanted to be woken.
    var kicks: Int {
        here.receive.kicks + here.transmit.kicks + there.receive.kicks + there.transmit.kicks
    }

    /// There and back; false, counted, if the frame did not arrive.
    mutating func run() -> Bool {
        number &+= 1
        here.send(number)
        guard Trip.wait(number, &there) else {
            lost &+= 1
            return false
        }
        there.send(number)
        guard Trip.wait(number, &here) else {
            lost &+= 1
            return false
        }
        return true
    }

    private static func wait(_ number: UInt64, _ station: inout Station) -> Bool {
        var deadline: UInt64 = 0
        while true {
            // The clock is looked at so rarely that it does not delay a frame.
            for _ in 0..<1024 {
                if station.received(number) { return true }
                nm_pause()
            }
            let now = nm_monotonic_ns()
            if deadline == 0 { deadline = now &+ patience }
            if now > deadline { return false }
        }
    }
}
