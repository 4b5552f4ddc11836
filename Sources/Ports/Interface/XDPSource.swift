// Frames from an AF_XDP socket, handed out where the kernel or the card put them. The chunks of a batch go
// back to the fill ring when the batch is through.

import CNetmap
public import Netmap

/// The receive side of an AF_XDP socket.
///
/// One worker serves it. Does not own the memory.
@safe public struct XDPSource: ~Copyable {
    // SAFETY (whole type): `base` has `size` bytes, and every descriptor is checked against that.
    private let base: UnsafeMutableRawPointer
    private let size: UInt64
    private let chunkMask: UInt64
    private let file: Int32
    private let hasFragments: Bool
    private let repairs: Bool
    private let counters: DirectionCounters
    /// The ring of frames to be sent, which is looked after here when nobody sends.
    private let tx: XDPRingMemory
    private var rx: XDPConsumer
    private var fill: XDPProducer
    /// The first descriptor that no batch has taken.
    private var next: UInt32
    /// Frames of the batch that is out.
    private var taken: UInt32 = 0
    /// Frames that are through.
    public private(set) var place: UInt32 = 0
    private var seen = nm_xdp_losses()
    private var visits: UInt32 = 0
    private var kicks = 0
    /// Why nothing comes any more; never: the control plane watches the interface.
    public var fault: Int32 { @_noLocks get { 0 } }

    init(
        unsafeBase base: UnsafeMutableRawPointer,
        size: Int,
        chunk: Int,
        rx: XDPConsumer,
        fill: XDPProducer,
        tx: XDPRingMemory,
        file: Int32,
        hasFragments: Bool,
        repairs: Bool,
        counters: DirectionCounters
    ) {
        unsafe self.base = base
        self.size = UInt64(size)
        chunkMask = ~UInt64(chunk - 1)
        self.rx = rx
        self.fill = fill
        self.tx = tx
        self.file = file
        self.hasFragments = hasFragments
        self.repairs = repairs
        self.counters = counters
        next = rx.index
    }

    deinit {
        var last = seen
        let losses = XDPSource.losses(file, hasFragments, &last)
        if losses.ringFull > 0 { counters.drop(.ringFull, losses.ringFull) }
        if losses.oversize > 0 { counters.drop(.oversize, losses.oversize) }
    }

    /// Takes the next batch, at most `limit` frames.
    @_noLocks
    public mutating func collect(
        into batch: inout FrameBatch,
        counters: DirectionCounters,
        limit: Int
    ) {
        visits = visits &+ 1
        if visits & 1023 == 0 { countLosses() }
        // The end of a frame of several chunks may have come since.
        if next == rx.produced || hasFragments { rx.refresh() }
        let begin = batch.count
        var bytes = 0
        var offloaded = 0
        taken = 0
        while next != rx.produced, batch.count &- begin < limit, batch.hasRoom {
            let index = batch.count
            guard let n = take(into: &batch, counters) else { break }
            next = next &+ n
            if batch.count == index { continue }
            taken = taken &+ 1
            bytes = unsafe bytes &+ Int(batch.frames[index].length)
            if repairs, let offload = PartialChecksum.offload(batch, index) {
                unsafe batch.headers[index] = offload
                unsafe batch.frames[index].offload = true
                offloaded = offloaded &+ 1
            }
        }
        counters.count(packets: batch.count &- begin, bytes: bytes, offloaded: offloaded)
    }

    /// Enters the frame at `next` into a batch.
    ///
    /// - Returns: how many descriptors it took; nil if the kernel has not written all of them.
    @_noLocks
    private mutating func take(
        into batch: inout FrameBatch,
        _ counters: DirectionCounters
    ) -> UInt32? {
        let head = rx.descriptor(next)
        var isGood = holds(head.address, head.length)
        if !head.isContinued {
            guard isGood, head.length >= 14 else {
                counters.drop(.malformed)
                return 1
            }
            unsafe batch.frames[batch.count] = unsafe Frame(
                address: base + Int(head.address),
                length: head.length
            )
            batch.count = batch.count &+ 1
            return 1
        }
        var n: UInt32 = 1
        var length = Int(head.length)
        let extra = batch.extraSegments
        while true {
            let place = next &+ n
            if place == rx.produced {
                batch.extraSegments = extra
                return nil
            }
            let more = rx.descriptor(place)
            n = n &+ 1
            if isGood, holds(more.address, more.length),
                batch.extraSegments < batch.segmentCapacity
            {
                unsafe batch.segments[batch.extraSegments] = unsafe Segment(
                    address: base + Int(more.address),
                    length: Int(more.length)
                )
                batch.extraSegments = batch.extraSegments &+ 1
                length = length &+ Int(more.length)
            } else {
                isGood = false
            }
            if !more.isContinued { break }
        }
        guard isGood, head.length >= 14, length <= FrameBatch.maximumFrameLength else {
            counters.drop(isGood ? .oversize : .malformed)
            batch.extraSegments = extra
            return n
        }
        unsafe batch.frames[batch.count] = unsafe Frame(
            address: base + Int(head.address),
            headLength: head.length,
            length: UInt32(length),
            firstExtra: UInt32(extra),
            extraCount: UInt16(batch.extraSegments &- extra)
        )
        batch.count = batch.count &+ 1
        return n
    }

    @_noLocks
    private func holds(_ address: UInt64, _ length: UInt32) -> Bool {
        address < size && UInt64(length) <= size &- address
    }

    /// Gives the chunks of the frames that were collected back to the kernel.
    @_noLocks
    public mutating func completeCollected() {
        guard next != rx.index else { return }
        var index = rx.index
        // There are as many chunks as the fill ring has entries, so there is room.
        while index != next {
            fill.push(rx.descriptor(index).address & chunkMask)
            index = index &+ 1
        }
        fill.publish()
        rx.release(to: next)
        place = place &+ taken
        taken = 0
        if fill.memory.needsWakeup { _ = nm_xdp_wake(file) }
    }

    /// Leaves what was collected where it is, to be collected again.
    @_noLocks
    public mutating func forgetCollected() {
        next = rx.index
        taken = 0
    }

    /// Looks once more before the worker sleeps.
    ///
    /// - Returns: whether there is something after all.
    @_noLocks
    public mutating func arm() -> Bool {
        countLosses()
        if fill.memory.needsWakeup { _ = nm_xdp_wake(file) }
        rx.refresh()
        return next != rx.produced || sendsOn()
    }

    /// Has frames sent that the kernel did not take at once.
    ///
    /// - Returns: whether there is a point in trying again soon.
    @_noLocks
    private mutating func sendsOn() -> Bool {
        // SAFETY: both words are in the ring's mapping.
        let left = unsafe nm_load32(tx.producer) &- nm_load32(tx.consumer)
        guard left != 0, tx.needsWakeup else {
            kicks = 0
            return false
        }
        // One that is stuck (no carrier) is left alone; whoever sends next tries again.
        guard kicks < 1000 else { return false }
        kicks = kicks &+ 1
        _ = nm_xdp_kick(file)
        return unsafe nm_load32(tx.producer) != nm_load32(tx.consumer)
    }

    /// Counts what the kernel had to drop.
    @_noLocks
    private mutating func countLosses() {
        let losses = XDPSource.losses(file, hasFragments, &seen)
        if losses.ringFull != 0 { counters.drop(.ringFull, losses.ringFull) }
        if losses.oversize != 0 { counters.drop(.oversize, losses.oversize) }
    }

    @_noLocks
    private static func losses(
        _ file: Int32,
        _ hasFragments: Bool,
        _ seen: inout nm_xdp_losses
    ) -> (ringFull: Int, oversize: Int) {
        var now = nm_xdp_losses()
        guard unsafe nm_xdp_losses(file, &now) >= 0 else { return (0, 0) }
        let before = seen
        seen = now
        return split(before, now, hasFragments)
    }

    /// What the kernel's counters say about frames that were lost in between.
    ///
    /// `dropped` has frames that no chunk was free for, and those that no chunk is large enough for; of the
    /// former, those without fragments are in `fill_empty`, too.
    @_noLocks
    static func split(
        _ before: nm_xdp_losses,
        _ now: nm_xdp_losses,
        _ hasFragments: Bool
    ) -> (ringFull: Int, oversize: Int) {
        let dropped = Int(truncatingIfNeeded: now.dropped &- before.dropped)
        let empty = Int(truncatingIfNeeded: now.fill_empty &- before.fill_empty)
        let full = Int(truncatingIfNeeded: now.ring_full &- before.ring_full)
        let lacking = hasFragments ? dropped : min(dropped, empty)
        return (full &+ lacking, dropped &- lacking)
    }
}
