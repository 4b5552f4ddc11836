// The counters of one direction of one port, in the shared counter page or in private memory.

public import CNetmap

/// Counts frames, bytes and drops of one direction of a port.
///
/// A handle: copying it does not copy the counters. One thread writes at a time (the one that
/// serves the queue, or the one that holds its lock), anybody may read.
@safe public struct DirectionCounters: BitwiseCopyable, @unchecked Sendable {
    @usableFromInline let page: UnsafeMutablePointer<nm_direction_counters>

    /// Counts into `page`, which must outlive every copy of this handle.
    @inlinable public init(unsafePage page: UnsafeMutablePointer<nm_direction_counters>) {
        unsafe self.page = unsafe page
    }

    /// Adds frames that were delivered or taken.
    @_noLocks @inlinable public func count(
        packets: Int,
        bytes: Int,
        multicast: Int = 0,
        offloaded: Int = 0
    ) {
        // SAFETY: `page` outlives the handle (init); the fields are aligned 64-bit words.
        unsafe nm_count(&page.pointee.packets, UInt64(truncatingIfNeeded: packets))
        unsafe nm_count(&page.pointee.bytes, UInt64(truncatingIfNeeded: bytes))
        if multicast != 0 {
            unsafe nm_count(&page.pointee.multicast, UInt64(truncatingIfNeeded: multicast))
        }
        if offloaded != 0 {
            unsafe nm_count(&page.pointee.offloaded, UInt64(truncatingIfNeeded: offloaded))
        }
    }

    /// Adds `frames` that were dropped for `reason`.
    @_noLocks @inlinable public func drop(_ reason: DropReason, _ frames: Int = 1) {
        // SAFETY: a reason's raw value is below NM_DROP_REASONS, and `page` outlives the handle.
        unsafe nm_count(dropCell(reason), UInt64(truncatingIfNeeded: frames))
    }

    /// Frames counted.
    public var packets: UInt64 { unsafe nm_load64(&page.pointee.packets) }
    /// Bytes of those frames.
    public var bytes: UInt64 { unsafe nm_load64(&page.pointee.bytes) }
    /// Frames among them that were sent to a group.
    public var multicast: UInt64 { unsafe nm_load64(&page.pointee.multicast) }
    /// Frames among them that asked for a checksum or segmentation.
    public var offloaded: UInt64 { unsafe nm_load64(&page.pointee.offloaded) }
    /// Frames dropped for `reason`.
    public func dropped(_ reason: DropReason) -> UInt64 { unsafe nm_load64(dropCell(reason)) }
    /// Frames dropped for the reason of this index, below NM_DROP_REASONS.
    public func dropped(at index: Int) -> UInt64 {
        precondition((0..<Int(NM_DROP_REASONS)).contains(index))
        // SAFETY: the reasons' words follow the four of frames that were not dropped.
        return unsafe nm_load64(
            UnsafeRawPointer(page) + (4 + index) * MemoryLayout<UInt64>.stride
        )
    }
    /// Frames dropped for any reason.
    public var dropped: UInt64 { DropReason.allCases.reduce(0) { $0 + dropped($1) } }

    /// Adds everything that was counted here to `other`, and begins again at zero.
    ///
    /// For counters that one thread has for itself, until it knows what becomes of a batch.
    @_noLocks @inlinable public func move(to other: DirectionCounters) {
        // SAFETY: both pages are of the same type, which consists of 64-bit words.
        let from = unsafe UnsafeMutableRawPointer(page)
        let into = unsafe UnsafeMutableRawPointer(other.page)
        for word in 0..<(4 &+ Int(NM_DROP_REASONS)) {
            let offset = word &* MemoryLayout<UInt64>.stride
            let n = unsafe nm_load64(from + offset)
            if n == 0 { continue }
            unsafe nm_count(
                (into + offset).assumingMemoryBound(to: UInt64.self),
                n
            )
            unsafe nm_store64(from + offset, 0)
        }
    }

    /// Begins again at zero.
    @_noLocks @inlinable public func clear() {
        for word in 0..<(4 &+ Int(NM_DROP_REASONS)) {
            // SAFETY: as in `move`.
            unsafe nm_store64(
                UnsafeMutableRawPointer(page) + word &* MemoryLayout<UInt64>.stride,
                0
            )
        }
    }

    /// Whether anything was dropped for `reason`.
    @_noLocks @inlinable public func hasDropped(_ reason: DropReason) -> Bool {
        unsafe nm_load64(dropCell(reason)) != 0
    }

    @_noLocks @inlinable func dropCell(_ reason: DropReason) -> UnsafeMutablePointer<UInt64> {
        // SAFETY: `drops` is an array of NM_DROP_REASONS words inside the page.
        let offset = MemoryLayout<UInt64>.stride * (4 + reason.index)
        return unsafe (UnsafeMutableRawPointer(page) + offset)
            .assumingMemoryBound(to: UInt64.self)
    }
}
