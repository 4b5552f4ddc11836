// Which frames a port gets of a batch that was classified, and in which form.

import CNetmap
public import Netmap

/// What both directions of a check need to know.
public struct PolicyClock: Sendable, BitwiseCopyable {
    /// For ageing.
    public let seconds: UInt32
    /// For limits.
    public let nanoseconds: UInt64

    /// Takes two readings of clocks that do not go back.
    @_noLocks public init(seconds: UInt32, nanoseconds: UInt64) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }
}

extension PolicyPass {
    // SAFETY (whole extension): as in PolicyPass.swift; a gate lives as long as the worker's turn.

    /// The frames for `port` among frames `first ..< first + count` of the batch.
    ///
    /// What exceeds the port's rate is left out, and counted in `counters`.
    ///
    /// - Parameters:
    ///   - port: a port of the switch that is not the source.
    ///   - range: the frames to look at.
    ///   - plan: where the batch's frames go.
    ///   - batch: the batch.
    ///   - source: the gate of the port that it is from.
    ///   - gate: the gate of the port.
    ///   - clock: the time.
    ///   - counters: of the direction to the port.
    /// - Returns: frames of `views` if `rewrites`, else of the batch; valid until the next call.
    @_noLocks public mutating func target(
        _ port: UInt16,
        _ range: Range<Int>,
        of plan: borrowing ForwardingPlan,
        _ batch: borrowing FrameBatch,
        from source: UnsafeMutablePointer<PortGate>?,
        to gate: UnsafeMutablePointer<PortGate>?,
        _ clock: PolicyClock,
        _ counters: DirectionCounters
    ) -> ForwardingPlan.Target {
        var n = 0
        var excess = 0
        let limits = unsafe gate?.pointee.tx.isLimit ?? false
        if limits, let gate = unsafe gate {
            while unsafe nm_try_lock(&gate.pointee.txLock) == 0 { nm_pause() }
            unsafe gate.pointee.tx.fill(now: clock.nanoseconds)
        }
        var index = range.lowerBound
        while index < range.upperBound {
            let destination = unsafe plan.destinations[index]
            let isMine =
                unsafe destination == port
                || (destination == ForwardingPlan.flood && floods(index, source, gate))
            if isMine {
                if destination == ForwardingPlan.flood { reached |= 1 &<< UInt64(index) }
                let length = unsafe Int(batch.frames[index].length)
                if limits, let gate = unsafe gate, unsafe !gate.pointee.tx.take(length) {
                    excess = excess &+ 1
                } else {
                    if rewrites { show(batch, index, tagged: unsafe isTagged(index, gate), at: n) }
                    unsafe list[n] = UInt16(truncatingIfNeeded: index)
                    n = n &+ 1
                }
            }
            index = index &+ 1
        }
        if limits, let gate = unsafe gate { unsafe nm_unlock(&gate.pointee.txLock) }
        if excess != 0 { counters.drop(.rateLimit, excess) }
        let named = unsafe rewrites ? everyFrame : list
        return unsafe ForwardingPlan.Target(port: port, count: n, list: UnsafePointer(named))
    }

    /// Whether a frame that goes to all goes to a port.
    @_noLocks func floods(
        _ index: Int,
        _ source: UnsafeMutablePointer<PortGate>?,
        _ gate: UnsafeMutablePointer<PortGate>?
    ) -> Bool {
        guard let gate = unsafe gate else { return true }
        if unsafe gate.pointee.isIsolated, unsafe source?.pointee.isIsolated ?? false {
            return false
        }
        return unsafe gate.pointee.contains(vlans[index])
    }

    /// Whether a port gets a frame with its tag.
    @_noLocks func isTagged(_ index: Int, _ gate: UnsafeMutablePointer<PortGate>?) -> Bool {
        let vlan = unsafe vlans[index]
        // What is in no VLAN stays as it is: without a tag, or with one that has only a priority.
        if vlan == 0 { return unsafe headLengths[index] == 18 }
        return unsafe gate.map { unsafe $0.pointee.untagged != vlan } ?? true
    }

    /// How many frames that go to all found nobody.
    @_noLocks public func unreached(_ range: Range<Int>) -> Int {
        var lost = flooded & ~reached
        lost = lost &>> UInt64(range.lowerBound)
        if range.count < 64 { lost &= (1 &<< UInt64(range.count)) &- 1 }
        return lost.nonzeroBitCount
    }

    /// Has what a trial took from the buckets be taken.
    @_noLocks public func commit(_ gate: UnsafeMutablePointer<PortGate>?) {
        guard let gate = unsafe gate else { return }
        unsafe gate.pointee.rx = rx
        unsafe gate.pointee.storm = storm
    }
}
