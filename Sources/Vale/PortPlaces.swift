// The numbers that ports have on their switch: what VALE_LIST says, and what a sender writes into a slot to
// choose the port by itself (NS_PORT beside NS_NO_LEARN).

import CNetmap
public import Netmap

/// Which port of a switch has which number.
///
/// A port keeps its number as long as it is on the switch, whoever comes and goes meanwhile. Control
/// thread only.
public struct PortPlaces: Sendable {
    /// The numbers that fit a slot's flags: 0 there says nothing, and 255 is VALE_LIST's "no such port".
    @inlinable public static var addressable: Range<Int> { 1..<255 }

    private var ports: [Int: UInt16] = [:]

    /// A switch without ports.
    public init() {}

    /// Gives a port the lowest number that is free.
    public mutating func add(_ port: UInt16) -> Int {
        var place = PortPlaces.addressable.lowerBound
        while ports[place] != nil || place == PortPlaces.addressable.upperBound { place += 1 }
        ports[place] = port
        return place
    }

    /// Takes a port's number back.
    ///
    /// - Returns: the number, if it had one.
    public mutating func remove(_ port: UInt16) -> Int? {
        guard let place = place(of: port) else { return nil }
        ports[place] = nil
        return place
    }

    /// The number of a port.
    public func place(of port: UInt16) -> Int? { ports.first { $0.value == port }?.key }

    /// All ports, by their numbers.
    public var all: [(place: Int, port: UInt16)] {
        ports.sorted { $0.key < $1.key }.map { (place: $0.key, port: $0.value) }
    }
}

extension Switch {
    /// Says which port has a number that frames can be forced to; nil: none any more.
    ///
    /// A port that has gone is unreachable for whoever begins a turn later, as one in the table is.
    public func setPort(_ port: UInt16?, at place: Int) {
        guard PortPlaces.addressable.contains(place) else { return }
        // SAFETY: `places` has room for the addressable numbers.
        unsafe nm_store16(places + place, port ?? ForwardingPlan.nowhere)
    }

    /// As `classify`, for frames whose sources are not learned, and that may name the port that they are for.
    ///
    /// A number that no port of the switch has is no destination.
    @usableFromInline @inline(never) @_noLocks
    func classifyUnlearned(
        _ batch: borrowing FrameBatch,
        from source: UInt16,
        now: UInt32,
        counters: DirectionCounters,
        into plan: inout ForwardingPlan
    ) {
        let ageing = self.ageing
        var floods = 0
        var multicast = 0
        for i in 0..<batch.count {
            // SAFETY: as in `classify`.
            let frame = unsafe batch.frames[i]
            unsafe plan.destinations[i] = ForwardingPlan.nowhere
            guard unsafe frame.length >= 14 else {
                counters.drop(.malformed)
                continue
            }
            let word =
                unsafe frame.headLength >= 14
                ? unsafe nm_load64(frame.address) : Switch.gatherAddresses(batch, i).0
            let destination = word & 0xffff_ffff_ffff
            multicast += Int(truncatingIfNeeded: destination & 1)
            let forced = unsafe Int(batch.ports[i])
            let port: UInt16
            if forced != 0 {
                port = forcedPort(forced)
            } else if destination & 1 != 0 {
                port = ForwardingPlan.flood
            } else {
                port = table.lookup(destination, now: now, ageing: ageing) ?? ForwardingPlan.flood
            }
            if port == ForwardingPlan.nowhere {
                counters.drop(.noDestination)
            } else if port == source {
                counters.drop(.sameSegment)
            } else {
                unsafe plan.destinations[i] = port
                if port == ForwardingPlan.flood {
                    floods += 1
                } else {
                    plan.append(i, to: plan.group(of: port))
                }
            }
        }
        plan.frameCount = batch.count
        plan.flooded = floods
        if floods != 0, !plan.isTrial { add(floods: floods) }
        if multicast != 0 { counters.count(packets: 0, bytes: 0, multicast: multicast) }
    }

    @_noLocks
    private func forcedPort(_ place: Int) -> UInt16 {
        // SAFETY: as in `setPort`.
        place < PortPlaces.addressable.upperBound
            ? unsafe nm_load16(places + place) : ForwardingPlan.nowhere
    }
}
