// Spreading frames over pipes: each conversation to one pipe of each group.

internal import Netmap
internal import Wire

/// One output with what waits for it.
final class BalancerLane {
    let port: Port
    private var queue: FrameQueue
    private(set) var forwarded: UInt64 = 0
    private(set) var dropped: UInt64 = 0
    /// Something was put into the ring since the last sync.
    private var isDirty = false

    var waiting: Int { queue.count }

    init(_ port: consuming Port, queueOf input: borrowing Port) {
        self.port = port
        queue = FrameQueue(input)
    }

    /// Sends a batch's frames that are for this lane; those without room wait in extra buffers.
    ///
    /// Buffers are exchanged for the last group, as no other needs the frame any more. `makeRoom` is called
    /// when no extra buffer is left, and says whether it has found some.
    func send(
        _ batch: BalancerBatch,
        _ lane: Int,
        from ring: inout ReceiveRing,
        isLast: Bool,
        makeRoom: () -> Bool
    ) {
        send(port, batch, lane, &ring, isLast, makeRoom)
    }

    // A ring is borrowed from its port, and a port from the object only for the length of a call.
    private func send(
        _ port: borrowing Port,
        _ batch: BalancerBatch,
        _ lane: Int,
        _ ring: inout ReceiveRing,
        _ isLast: Bool,
        _ makeRoom: () -> Bool
    ) {
        var out = port.transmitRing()
        if queue.count > 0 { moveOn(&out) }
        for frame in batch.frames where frame.hash.place(of: batch.lanes) == lane {
            // Behind those that wait, or it would overtake them.
            if queue.count == 0,
                out.send(from: &ring, at: frame.offset, slots: frame.slots, copying: !isLast)
            {
                forwarded += 1
                isDirty = true
            } else if !wait(frame, &ring, isLast, makeRoom) {
                dropped += 1
            }
        }
    }

    private func wait(
        _ frame: BalancerBatch.Frame,
        _ ring: inout ReceiveRing,
        _ isLast: Bool,
        _ makeRoom: () -> Bool
    ) -> Bool {
        for _ in 0..<2 {
            if queue.take(from: &ring, at: frame.offset, slots: frame.slots, copying: !isLast) {
                return true
            }
            guard makeRoom() else { return false }
        }
        return false
    }

    /// Sends what waits, as far as there is room.
    func flush() throws { try flush(port) }

    private func flush(_ port: borrowing Port) throws {
        if queue.count > 0 {
            try port.syncTransmit()
            var out = port.transmitRing()
            moveOn(&out)
        }
        guard isDirty else { return }
        isDirty = false
        try port.syncTransmit()
    }

    private func moveOn(_ out: inout TransmitRing) {
        let moved = queue.send(to: &out)
        forwarded += UInt64(moved)
        if moved > 0 { isDirty = true }
    }

    /// Drops the oldest that wait.
    func drop(_ limit: Int) { dropped += UInt64(queue.drop(limit)) }
}

/// Frames of one ring that are dealt with together.
struct BalancerBatch {
    struct Frame {
        let offset: Int
        let slots: Int
        let hash: FlowHash
    }

    var frames: [Frame] = []
    /// Lanes of the group.
    var lanes = 0
}

/// One input, and groups of pipes that each get every frame.
struct LoadBalancer {
    let input: BalancerInput
    let groups: [[BalancerLane]]
    let burst: Int
    /// How many frames of the longest queue make room for newer ones.
    private static let revoked = 150

    private(set) var received: UInt64 = 0
    private(set) var bytes: UInt64 = 0
    private(set) var notIP: UInt64 = 0
    private var batch = BalancerBatch()

    init(_ input: BalancerInput, _ groups: [[BalancerLane]], burst: Int) {
        self.input = input
        self.groups = groups
        self.burst = burst
        batch.frames.reserveCapacity(burst)
    }

    /// Deals with what has come.
    mutating func turn() throws {
        try turn(input.port)
        for group in groups { for lane in group { try lane.flush() } }
    }

    private mutating func turn(_ port: borrowing Port) throws {
        for index in port.receiveRings {
            var ring = port.receiveRing(index)
            let slots = classify(&ring)
            if slots == 0 { continue }
            for (number, group) in groups.enumerated() {
                batch.lanes = group.count
                for (lane, output) in group.enumerated() {
                    output.send(
                        batch,
                        lane,
                        from: &ring,
                        isLast: number == groups.count - 1,
                        makeRoom: makeRoom
                    )
                }
            }
            ring.release(slots)
        }
    }

    /// Looks at a batch.
    ///
    /// - Returns: how many slots it takes.
    private mutating func classify(_ ring: inout ReceiveRing) -> Int {
        batch.frames.removeAll(keepingCapacity: true)
        var offset = 0
        while batch.frames.count < burst {
            let slots = ring.frameSlots(at: offset)
            if slots == 0 { break }
            let (hash, length) = LoadBalancer.look(ring.frame(at: offset, slots: slots))
            batch.frames.append(BalancerBatch.Frame(offset: offset, slots: slots, hash: hash))
            bytes += UInt64(length)
            if !hash.isIP { notIP += 1 }
            offset += slots
        }
        received += UInt64(batch.frames.count)
        return offset
    }

    private static func look(_ frame: borrowing ReceivedFrame) -> (FlowHash, Int) {
        (FlowHash(frame.bytes), frame.length)
    }

    /// Takes buffers from whoever has most of them.
    private func makeRoom() -> Bool {
        guard let longest = groups.joined().max(by: { $0.waiting < $1.waiting }),
            longest.waiting > 0
        else { return false }
        longest.drop(LoadBalancer.revoked)
        return true
    }
}

/// The input, which must outlive the queues.
final class BalancerInput {
    let port: Port
    init(_ port: consuming Port) { self.port = port }
}
