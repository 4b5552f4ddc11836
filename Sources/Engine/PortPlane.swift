// What workers know of switches and ports. The control plane makes and frees these; workers read
// them through addresses that are loaded once per turn, so that a change needs no lock: it is
// published by one store, and the old state is freed when every worker has begun a new turn.

import CNetmap
import Control
import Netmap
import Vale
import VhostUser

/// One queue pair of a port.
///
/// Addresses are 0 and descriptors -1 where there is nothing.
@unsafe struct QueuePair {
    /// The guest's transmit queue: a `PortQueue` that one worker serves.
    var source: UInt64 = 0
    /// The guest's receive queue: a `PortQueue` that whoever holds `sinkLock` may fill.
    var sink: UInt64 = 0
    /// Whether frames from `source` are forwarded, or taken and discarded.
    var sourceEnabled: UInt32 = 0
    /// Whether `sink` takes frames.
    var sinkEnabled: UInt32 = 0
    /// Whether senders wait for `sink` while it is not there: its front-end has stopped it, and may go on.
    var awaited: UInt32 = 0
    /// Held for the length of one delivery by a worker, or as long by the control thread.
    var sinkLock: UInt32 = 0
    /// Eventfd that interrupts the guest for its transmit queue.
    var sourceCall: UInt32 = .max
    /// Eventfd that interrupts the guest for its receive queue.
    var sinkCall: UInt32 = .max
    /// Set by a worker that found something for the control plane in a queue of the pair.
    var attention: UInt32 = 0
    /// Frames that came from `source`.
    var frames: UInt64 = 0
    /// What `source` waits for, if it sends to a lossless port that is full.
    var hold = unsafe Hold()
    /// How long those who send to `sink` have been waiting, if the port is lossless.
    var stall = unsafe Stall()
}

/// One port, as workers see it.
@unsafe struct PortPlane {
    let number: UInt16
    /// Changed only while no queue of the port is served.
    var vale: UnsafeMutablePointer<SwitchPlane>
    let pairs: UnsafeMutablePointer<QueuePair>
    let rx: DirectionCounters
    let tx: DirectionCounters
    let page: UnsafeMutablePointer<nm_port_counters>
    /// Whether senders wait for room here instead of losing frames.
    var isLossless = false
    /// For how many nanoseconds they wait for a receiver that takes nothing; 0 for ever.
    var patience: UInt64 = 0
    /// What `set_link` said.
    var linkUp: UInt32 = 1
    /// Address of the `DumpTaps` that frames are shown to, or 0.
    var taps: UInt64 = 0
    /// Held while a frame is delivered that dumps are shown.
    var showLock: UInt32 = 0
    /// How many queue pairs have been enabled; frames spread over them.
    var pairCount: UInt32 = 1
    /// Whether frames to all come to the first pair only, as VALE has it (netmap-spec 2.15).
    var floodsToFirst = false

    /// Makes the plane of a port that nothing passes through yet; freed by `Port.close`.
    ///
    /// - Parameters:
    ///   - number: the port's.
    ///   - vale: the switch that its frames go through.
    ///   - count: how many queue pairs to have room for.
    ///   - page: its counters, which outlive it (Engine keeps both).
    ///   - lossless: how it makes its senders wait, if it does.
    /// - Returns: the plane, whose pairs are all empty.
    static func make(
        _ number: UInt16,
        vale: UnsafeMutablePointer<SwitchPlane>,
        pairs count: Int,
        page: UnsafeMutablePointer<nm_port_counters>,
        lossless: LosslessOptions?
    ) -> UnsafeMutablePointer<PortPlane> {
        let pairs = UnsafeMutablePointer<QueuePair>.allocate(capacity: count)
        unsafe pairs.initialize(repeating: QueuePair(), count: count)
        let plane = UnsafeMutablePointer<PortPlane>.allocate(capacity: 1)
        unsafe plane.initialize(
            to: PortPlane(
                number: number,
                vale: vale,
                pairs: pairs,
                rx: DirectionCounters(unsafePage: &page.pointee.rx),
                tx: DirectionCounters(unsafePage: &page.pointee.tx),
                page: page,
                isLossless: lossless != nil,
                patience: UInt64(lossless?.timeout ?? 0) * 1_000_000
            )
        )
        return unsafe plane
    }
}

/// One switch, as workers see it.
@unsafe struct SwitchPlane: ~Copyable {
    let vale: Switch
    /// Address of the port numbers to flood to, rising: a count, then the numbers.
    var members: UInt64
    /// How many of them are lossless.
    var lossless: UInt32 = 0

    init(ageing: UInt32, storage: ForwardingTable.Storage? = nil) {
        if let storage = unsafe storage {
            unsafe vale = unsafe Switch(ageing: ageing, storage: storage)
        } else {
            unsafe vale = Switch(ageing: ageing)
        }
        unsafe members = PortList.make([])
    }

    deinit { unsafe PortList.free(members) }
}

/// A list of port numbers that workers read and the control plane replaces as a whole.
enum PortList {
    static func make(_ numbers: [UInt16]) -> UInt64 {
        let memory = UnsafeMutablePointer<UInt16>.allocate(capacity: numbers.count + 1)
        unsafe memory.initialize(to: UInt16(numbers.count))
        for (index, number) in numbers.enumerated() {
            unsafe (memory + 1 + index).initialize(to: number)
        }
        return UInt64(UInt(bitPattern: memory))
    }

    static func free(_ address: UInt64) {
        // SAFETY: made by `make`, and no worker holds it any more (callers wait).
        unsafe UnsafeMutablePointer<UInt16>(bitPattern: UInt(address))?.deallocate()
    }
}

/// The addresses of all ports by number: what a worker needs to find a frame's destination.
@safe final class PortTable: @unchecked Sendable {
    // Unchecked: the words are written by the control thread with release stores and read by
    // workers with acquire loads.
    static let capacity = 65_000
    let planes: UnsafeMutablePointer<UInt64>
    private let rules: UnsafeMutablePointer<UInt64>
    /// What ports with rules are checked against.
    let gates: GateTable

    init() {
        unsafe planes = .allocate(capacity: 65_536)
        unsafe planes.initialize(repeating: 0, count: 65_536)
        unsafe rules = .allocate(capacity: 65_536)
        unsafe rules.initialize(repeating: 0, count: 65_536)
        gates = unsafe GateTable(unsafeAddresses: rules)
    }

    deinit {
        unsafe planes.deallocate()
        unsafe rules.deallocate()
    }

    func set(_ number: UInt16, _ plane: UnsafeMutablePointer<PortPlane>?) {
        let address = UInt64(UInt(bitPattern: plane))
        unsafe nm_store64_release(planes + Int(number), address)
    }
}
