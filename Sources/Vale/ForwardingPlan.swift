// Where the frames of one batch go: the result of classifying them, one worker's scratch memory.

import CNetmap
public import Netmap

/// For each destination of a batch, the frames that go there, in arrival order.
///
/// Made once per worker and filled again for every batch, without allocation.
@safe public struct ForwardingPlan: ~Copyable {
    /// The destination that means "every other port".
    @inlinable static var flood: UInt16 { @_noLocks get { 0xffff } }
    /// The destination that means "nowhere".
    @inlinable static var nowhere: UInt16 { @_noLocks get { 0xfffe } }

    /// How many different ports the batch's unicast frames go to.
    @inlinable public var targetCount: Int { groups }
    /// How many frames go to every port.
    @inlinable public var floodCount: Int { flooded }

    /// Whether the plan may be thrown away and made again, so that its floods are not counted yet.
    public var isTrial = false

    @usableFromInline var groups = 0
    @usableFromInline var flooded = 0
    @usableFromInline var frameCount = 0

    @usableFromInline let destinations: UnsafeMutablePointer<UInt16>
    @usableFromInline let targets: UnsafeMutablePointer<UInt16>
    @usableFromInline let sizes: UnsafeMutablePointer<Int>
    @usableFromInline let lists: UnsafeMutablePointer<UInt16>
    @usableFromInline let groupOfPort: UnsafeMutablePointer<UInt16>
    @usableFromInline let merged: UnsafeMutablePointer<UInt16>

    /// Makes an empty plan.
    public init() {
        let n = FrameBatch.frameCapacity
        unsafe destinations = .allocate(capacity: n)
        unsafe targets = .allocate(capacity: n)
        unsafe sizes = .allocate(capacity: n)
        unsafe lists = .allocate(capacity: n * n)
        unsafe groupOfPort = .allocate(capacity: 65536)
        unsafe merged = .allocate(capacity: n)
        unsafe destinations.initialize(repeating: 0, count: n)
        unsafe targets.initialize(repeating: 0, count: n)
        unsafe sizes.initialize(repeating: 0, count: n)
        unsafe lists.initialize(repeating: 0, count: n * n)
        unsafe groupOfPort.initialize(repeating: 0xffff, count: 65536)
        unsafe merged.initialize(repeating: 0, count: n)
    }

    deinit {
        unsafe destinations.deallocate()
        unsafe targets.deallocate()
        unsafe sizes.deallocate()
        unsafe lists.deallocate()
        unsafe groupOfPort.deallocate()
        unsafe merged.deallocate()
    }

    /// The frames of one destination.
    @safe public struct Target: BitwiseCopyable {
        /// The destination's port number.
        public let port: UInt16
        /// How many frames.
        public let count: Int
        /// Their indices in the batch, valid until the plan is next asked or filled.
        public let list: UnsafePointer<UInt16>

        /// Names frames; `list` must hold `count` indices below the batch's count.
        @_noLocks @inlinable public init(port: UInt16, count: Int, list: UnsafePointer<UInt16>) {
            self.port = port
            self.count = count
            unsafe self.list = unsafe list
        }
    }

    /// Unicast destination `index`, below `targetCount`; meaningful if `floodCount` is 0.
    @_noLocks @inlinable
    public func target(_ index: Int) -> Target {
        // SAFETY: at most one group per frame, so every array has room for `targetCount`.
        unsafe Target(
            port: targets[index],
            count: sizes[index],
            list: UnsafePointer(lists + index &* FrameBatch.frameCapacity)
        )
    }

    /// The frames for `port` when some frames of the batch go everywhere: its own and those, merged.
    @_noLocks @inlinable
    public mutating func target(forPort port: UInt16) -> Target {
        var n = 0
        for i in 0..<frameCount {
            // SAFETY: `frameCount` is at most the capacity of both arrays.
            let destination = unsafe destinations[i]
            unsafe merged[n] = UInt16(truncatingIfNeeded: i)
            n = n &+ (destination == port || destination == ForwardingPlan.flood ? 1 : 0)
            if n == FrameBatch.frameCapacity { break }
        }
        return unsafe Target(port: port, count: n, list: UnsafePointer(merged))
    }

    @_noLocks @inlinable
    mutating func reset() {
        for group in 0..<groups {
            // SAFETY: as in `target`.
            unsafe groupOfPort[Int(targets[group])] = 0xffff
        }
        groups = 0
        flooded = 0
        frameCount = 0
    }
}
