// The learning switch: decides for every frame of a batch where it goes. It sees frames and port
// numbers, no rings and no descriptors; whoever calls it moves the bytes.

public import CNetmap
public import Netmap

/// The state that forwarding needs of one switch: its table and how long to believe it.
///
/// Shared by all workers that serve ports of the switch; `classify` may run on any of them at the
/// same time, the rest belongs to the control plane.
@safe public struct Switch: ~Copyable {
    /// The forwarding database.
    public let table: ForwardingTable
    @usableFromInline let settings: UnsafeMutablePointer<UInt32>
    @usableFromInline let statistics: UnsafeMutablePointer<UInt64>
    /// Ports by the number that senders may force frames to.
    @usableFromInline let places: UnsafeMutablePointer<UInt16>

    /// Makes a switch that knows nobody.
    ///
    /// - Parameters:
    ///   - tableCapacity: how many stations its table holds.
    ///   - ageing: seconds after which a silent station is forgotten, 0 for never (IEEE 802.1Q 8.8.3
    ///     has 300).
    ///   - seed: fixes the table's hash, for tests.
    public init(tableCapacity: Int = 8192, ageing: UInt32 = 300, seed: UInt64? = nil) {
        table = ForwardingTable(capacity: tableCapacity, seed: seed)
        unsafe settings = .allocate(capacity: 16)
        unsafe settings.initialize(repeating: 0, count: 16)
        unsafe settings[0] = ageing
        unsafe statistics = .allocate(capacity: 8)
        unsafe statistics.initialize(repeating: 0, count: 8)
        unsafe places = .allocate(capacity: PortPlaces.addressable.upperBound)
        unsafe places.initialize(
            repeating: ForwardingPlan.nowhere,
            count: PortPlaces.addressable.upperBound
        )
    }

    /// Makes a switch whose table is in the caller's memory, which must outlive it.
    public init(ageing: UInt32, storage: ForwardingTable.Storage) {
        table = unsafe ForwardingTable(storage)
        unsafe settings = .allocate(capacity: 16)
        unsafe settings.initialize(repeating: 0, count: 16)
        unsafe settings[0] = ageing
        unsafe statistics = .allocate(capacity: 8)
        unsafe statistics.initialize(repeating: 0, count: 8)
        unsafe places = .allocate(capacity: PortPlaces.addressable.upperBound)
        unsafe places.initialize(
            repeating: ForwardingPlan.nowhere,
            count: PortPlaces.addressable.upperBound
        )
    }

    deinit {
        unsafe settings.deallocate()
        unsafe statistics.deallocate()
        unsafe places.deallocate()
    }

    /// Seconds after which a silent station is forgotten; 0 for never.
    @inlinable public var ageing: UInt32 {
        @_noLocks get { unsafe nm_load32(settings) }
        nonmutating set { unsafe nm_store32(settings, newValue) }
    }

    /// Frames that went to every port because their destination was a group or unknown.
    public var floods: UInt64 { unsafe nm_load64(statistics) }

    /// Adds to `floods` what a trial left out.
    @_noLocks @inlinable public func add(floods: Int) {
        unsafe nm_count_shared(statistics, UInt64(truncatingIfNeeded: floods))
    }

    /// Learns the batch's sources and decides where each of its frames goes.
    ///
    /// Frames that go nowhere are counted in `counters` with their reason: shorter than an Ethernet
    /// header (`malformed`), or addressed to a station on the source's own port (`same-segment`).
    ///
    /// - Parameters:
    ///   - batch: frames from one port.
    ///   - source: that port.
    ///   - now: seconds on a clock that does not go back.
    ///   - counters: of the direction from that port.
    ///   - plan: where the result goes.
    @_noLocks @inlinable
    public func classify(
        _ batch: borrowing FrameBatch,
        from source: UInt16,
        now: UInt32,
        counters: DirectionCounters,
        into plan: inout ForwardingPlan
    ) {
        plan.reset()
        if batch.isUnlearned {
            classifyUnlearned(batch, from: source, now: now, counters: counters, into: &plan)
            return
        }
        let count = batch.count
        let frames = unsafe batch.frames
        let ageing = self.ageing
        var lastSource = UInt64.max
        var lastDestination = UInt64.max
        var lastPort = ForwardingPlan.nowhere
        var lastGroup = 0
        var floodCount = 0
        var multicast = 0
        for i in 0..<count {
            // SAFETY: `i` is below the batch's count; an address is read only where the frame has
            // 14 bytes in one piece, and from then on the two words are what counts.
            let frame = unsafe frames[i]
            let low: UInt64
            let high: UInt32
            if unsafe frame.headLength >= 14 {
                low = unsafe nm_load64(frame.address)
                high = unsafe nm_load32(frame.address + 8)
            } else if unsafe frame.length >= 14 {
                (low, high) = Switch.gatherAddresses(batch, i)
            } else {
                counters.drop(.malformed)
                unsafe plan.destinations[i] = ForwardingPlan.nowhere
                continue
            }
            let destination = low & 0xffff_ffff_ffff
            let from = (low &>> 48) | UInt64(high) &<< 16
            if from != lastSource {
                lastSource = from
                // A group address cannot send, and all zeroes is nobody.
                if from & 1 == 0, from != 0,
                    table.learn(from, on: source, now: now, ageing: ageing).changedTable
                {
                    // The table changed, so what was looked up before may no longer hold.
                    lastDestination = .max
                }
            }
            if destination != lastDestination {
                lastDestination = destination
                if destination & 1 != 0 {
                    lastPort = ForwardingPlan.flood
                } else {
                    lastPort =
                        table.lookup(destination, now: now, ageing: ageing) ?? ForwardingPlan.flood
                    if lastPort == source { lastPort = ForwardingPlan.nowhere }
                }
                if lastPort < ForwardingPlan.nowhere { lastGroup = plan.group(of: lastPort) }
            }
            unsafe plan.destinations[i] = lastPort
            multicast = multicast &+ Int(truncatingIfNeeded: destination & 1)
            if lastPort < ForwardingPlan.nowhere {
                plan.append(i, to: lastGroup)
            } else if lastPort == ForwardingPlan.flood {
                floodCount = floodCount &+ 1
            } else {
                counters.drop(.sameSegment)
            }
        }
        plan.frameCount = count
        plan.flooded = floodCount
        if floodCount != 0, !plan.isTrial { add(floods: floodCount) }
        if multicast != 0 { counters.count(packets: 0, bytes: 0, multicast: multicast) }
    }

    /// The address words of a frame whose first segment ends within them.
    @usableFromInline @inline(never) @_noLocks
    static func gatherAddresses(_ batch: borrowing FrameBatch, _ index: Int) -> (UInt64, UInt32) {
        let low = batch.littleEndian(index, from: 0, length: 8)
        let high = batch.littleEndian(index, from: 8, length: 4)
        return (low, UInt32(truncatingIfNeeded: high))
    }
}

extension ForwardingPlan {
    @_noLocks @inlinable
    mutating func group(of port: UInt16) -> Int {
        // SAFETY: `groupOfPort` has an entry for every 16-bit number; one group per frame at most.
        let known = unsafe groupOfPort[Int(port)]
        if known != 0xffff { return Int(known) }
        let group = groups
        unsafe groupOfPort[Int(port)] = UInt16(truncatingIfNeeded: group)
        unsafe targets[group] = port
        unsafe sizes[group] = 0
        groups = group &+ 1
        return group
    }

    @_noLocks @inlinable
    mutating func append(_ frame: Int, to group: Int) {
        // SAFETY: a frame is appended once, so no list outgrows the batch.
        let n = unsafe sizes[group]
        unsafe lists[group &* FrameBatch.frameCapacity &+ n] = UInt16(truncatingIfNeeded: frame)
        unsafe sizes[group] = n &+ 1
    }
}
