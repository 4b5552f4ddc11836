// What a worker knows of a batch on a switch with rules: the beginnings of its frames, read once into private
// memory, their VLANs, and the views in which a port gets them.

import CNetmap
public import Netmap

/// One worker's scratch memory for batches that have to be checked.
///
/// What was checked is what is delivered: where the head of a frame matters, receivers get the private copy of it,
/// and the rest from the sender's memory. So a tag is pushed or popped without touching the payload.
@safe public struct PolicyPass: ~Copyable {
    /// The frames of the last target, if `rewrites`.
    public internal(set) var views: FrameBatch
    /// Whether targets name frames of `views` instead of the batch's.
    public internal(set) var rewrites = false

    // A head has 64 bytes: with a tag from byte 0 on, 18 of them, without from byte 32 on, 14.
    let heads: UnsafeMutableRawPointer
    /// The VLAN of each frame.
    let vlans: UnsafeMutablePointer<UInt16>
    /// How long each frame's head was; 0 for a frame without the memory of one.
    let headLengths: UnsafeMutablePointer<UInt8>
    /// Where each frame's body is among the segments of `views`, and in how many pieces.
    let bodies: UnsafeMutablePointer<(first: UInt32, count: UInt32)>
    let list: UnsafeMutablePointer<UInt16>
    /// Why each frame that goes nowhere does so: raw values of `DropReason`.
    let refusals: UnsafeMutablePointer<UInt8>
    /// 0, 1, 2 and so on.
    let everyFrame: UnsafeMutablePointer<UInt16>
    /// Frames that go to all, and those of them that somebody got, a bit each.
    var flooded: UInt64 = 0
    var reached: UInt64 = 0
    /// What a trial leaves in the buckets.
    var rx = TokenBucket.unlimited
    var storm = TokenBucket.unlimited

    static var headStride: Int { @_noLocks get { 64 } }
    static var bare: Int { @_noLocks get { 32 } }

    /// Allocates it.
    public init() {
        let n = FrameBatch.frameCapacity
        views = FrameBatch(moreSegments: n)
        unsafe heads = .allocate(byteCount: n * PolicyPass.headStride, alignment: 64)
        let headBytes = n * PolicyPass.headStride
        unsafe heads.initializeMemory(as: UInt8.self, repeating: 0, count: headBytes)
        unsafe vlans = .allocate(capacity: n)
        unsafe vlans.initialize(repeating: 0, count: n)
        unsafe headLengths = .allocate(capacity: n)
        unsafe headLengths.initialize(repeating: 0, count: n)
        unsafe bodies = .allocate(capacity: n)
        unsafe bodies.initialize(repeating: (0, 0), count: n)
        unsafe refusals = .allocate(capacity: n)
        unsafe refusals.initialize(repeating: 0, count: n)
        unsafe list = .allocate(capacity: n)
        unsafe list.initialize(repeating: 0, count: n)
        unsafe everyFrame = .allocate(capacity: n)
        for k in 0..<n { unsafe (everyFrame + k).initialize(to: UInt16(k)) }
    }

    deinit {
        unsafe heads.deallocate()
        unsafe vlans.deallocate()
        unsafe headLengths.deallocate()
        unsafe bodies.deallocate()
        unsafe list.deallocate()
        unsafe refusals.deallocate()
        unsafe everyFrame.deallocate()
    }

    // SAFETY (whole type): indices are of frames in a batch, below `frameCapacity`, for which every array has room;
    // a head has room for both of its forms.

    /// Counts a frame that goes nowhere, and notes why.
    @_noLocks func refuse(_ index: Int, _ reason: DropReason, _ counters: DirectionCounters) {
        counters.drop(reason)
        unsafe refusals[index] = UInt8(truncatingIfNeeded: reason.index)
    }

    /// Why frame `index`, which goes nowhere, does so: the raw value of a `DropReason`.
    @_noLocks public func refusal(_ index: Int) -> UInt8 { unsafe refusals[index] }

    /// Copies the head of frame `index`, which has 14 bytes.
    @_noLocks func load(_ batch: borrowing FrameBatch, _ index: Int) -> UnsafeMutableRawPointer {
        let head = unsafe heads + index &* PolicyPass.headStride
        let frame = unsafe batch.frames[index]
        if unsafe frame.headLength >= 18 {
            unsafe nm_store64(head, nm_load64(frame.address))
            unsafe nm_store64(head + 8, nm_load64(frame.address + 8))
            unsafe nm_store16(head + 16, nm_load16(frame.address + 16))
        } else {
            unsafe batch.copy(index, from: 0, length: 18, to: head)
        }
        return unsafe head
    }

    /// Makes both forms of a head.
    ///
    /// - Parameters:
    ///   - batch: where the frame is.
    ///   - index: which it is.
    ///   - control: priority and VLAN of its tag.
    ///   - wasTagged: whether the head has a tag, which is taken off.
    @_noLocks mutating func prepare(
        _ batch: borrowing FrameBatch,
        _ index: Int,
        control: UInt16,
        wasTagged: Bool
    ) {
        let head = unsafe heads + index &* PolicyPass.headStride
        let type = unsafe nm_load16(head + (wasTagged ? 16 : 12))
        let untagged = unsafe head + PolicyPass.bare
        unsafe nm_store64(untagged, nm_load64(head))
        unsafe nm_store32(untagged + 8, nm_load32(head + 8))
        unsafe nm_store16(untagged + 12, type)
        unsafe nm_store16(head + 12, UInt16(0x8100).bigEndian)
        unsafe nm_store16(head + 14, control.bigEndian)
        unsafe nm_store16(head + 16, type)
        let length = wasTagged ? 18 : 14
        unsafe headLengths[index] = UInt8(truncatingIfNeeded: length)
        let whole = unsafe Int(batch.frames[index].length)
        let first = views.extraSegments
        // As many as the batch has at most, and one for each frame, which is what `views` was made for.
        let count = unsafe batch.slice(index, length..<whole, into: views.segments + first)
        unsafe bodies[index] = (
            first: UInt32(truncatingIfNeeded: first), count: UInt32(truncatingIfNeeded: count)
        )
        views.extraSegments = first &+ count
    }

    /// Puts frame `index` in one of its forms at `place` of `views`.
    @_noLocks func show(_ batch: borrowing FrameBatch, _ index: Int, tagged: Bool, at place: Int) {
        let before = unsafe Int(headLengths[index])
        let after = tagged ? 18 : 14
        let (first, count) = unsafe bodies[index]
        let original = unsafe batch.frames[index]
        let form = index &* PolicyPass.headStride &+ (tagged ? 0 : PolicyPass.bare)
        var frame = unsafe Frame(
            address: heads + form,
            headLength: UInt32(truncatingIfNeeded: after),
            length: UInt32(truncatingIfNeeded: Int(original.length) &- before &+ after),
            firstExtra: first,
            extraCount: UInt16(truncatingIfNeeded: count)
        )
        if unsafe original.offload {
            unsafe views.headers[place] = unsafe batch.headers[index].shifted(by: after &- before)
            unsafe frame.offload = true
        }
        unsafe views.frames[place] = unsafe frame
    }
}
