// Where the frames of a port are shown to dumps: a list that workers read and the control plane replaces as
// a whole. A port without dumps has none, which is one test of a word for a batch.

import CNetmap
import Netmap
import Ports

/// One dump of a port.
@unsafe struct DumpTap {
    let ring: CaptureRing
    /// Rung when the dump's thread sleeps.
    let wake: Int32
    /// The port's place in the dump.
    let interface: UInt16
    let takesInbound: Bool
    let takesOutbound: Bool
}

/// The dumps of a port.
@unsafe struct DumpTaps {
    let count: Int
    let items: UnsafeMutablePointer<DumpTap>

    /// The address for `PortPlane.taps`; 0 for none.
    static func make(_ taps: [DumpTap]) -> UInt64 {
        guard unsafe !taps.isEmpty else { return 0 }
        let items = unsafe UnsafeMutablePointer<DumpTap>.allocate(capacity: taps.count)
        for index in unsafe 0..<taps.count { unsafe (items + index).initialize(to: taps[index]) }
        let list = UnsafeMutablePointer<DumpTaps>.allocate(capacity: 1)
        unsafe list.initialize(to: DumpTaps(count: taps.count, items: items))
        return UInt64(UInt(bitPattern: list))
    }

    /// Frees what `make` made, when no worker can use it any more.
    static func free(_ address: UInt64) {
        guard let list = unsafe UnsafeMutablePointer<DumpTaps>(bitPattern: UInt(address)) else {
            return
        }
        unsafe list.pointee.items.deallocate()
        unsafe list.deallocate()
    }

    /// Shows a frame to all of them.
    static func show(
        _ address: UInt64,
        _ batch: borrowing FrameBatch,
        _ index: Int,
        _ sight: FrameSight
    ) {
        // SAFETY: the list and the rings in it live for the turn in which the address was loaded (free).
        guard let list = unsafe UnsafePointer<DumpTaps>(bitPattern: UInt(address)) else { return }
        for k in unsafe 0..<list.pointee.count {
            let tap = unsafe list.pointee.items + k
            guard
                unsafe sight.isInbound ? tap.pointee.takesInbound : tap.pointee.takesOutbound
            else { continue }
            let outcome = unsafe tap.pointee.ring.add(
                batch,
                index,
                interface: tap.pointee.interface,
                sight
            )
            if case .takenWake = outcome { _ = unsafe nm_eventfd_ring(tap.pointee.wake) }
        }
    }
}

/// Finds out for which reason a single frame was dropped: by which counter has grown.
@safe struct DropWatch: ~Copyable {
    private let before: UnsafeMutablePointer<UInt64>
    private static let reasons = UInt8(NM_DROP_REASONS)

    init() {
        unsafe before = .allocate(capacity: Int(DropWatch.reasons))
        unsafe before.initialize(repeating: 0, count: Int(DropWatch.reasons))
    }

    deinit { unsafe before.deallocate() }

    // SAFETY (whole type): an index is below the number of reasons.

    /// Notes the counters before a frame is delivered.
    func begin(_ counters: DirectionCounters) {
        for reason in 0..<DropWatch.reasons {
            unsafe before[Int(reason)] = counters.dropped(at: Int(reason))
        }
    }

    /// Says what became of the frame.
    func end(_ counters: DirectionCounters, time: UInt64) -> FrameSight {
        for reason in 0..<DropWatch.reasons {
            let grown = unsafe counters.dropped(at: Int(reason)) &- before[Int(reason)]
            guard grown != 0 else { continue }
            return FrameSight(
                time: time,
                isInbound: false,
                reason: reason,
                lostParts: UInt32(truncatingIfNeeded: grown)
            )
        }
        return FrameSight(time: time, isInbound: false)
    }
}
