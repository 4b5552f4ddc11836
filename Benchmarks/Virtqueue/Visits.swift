// What one visit to a queue can cost at most: the time that a guest takes from its neighbours when
// it fills its ring with what is dearest for the switch.

import CNetmap
import Netmap
import VhostUser

/// One kind of guest.
struct VisitKind {
    let name: String
    /// Descriptors of a chain, and bytes of each.
    let chain: Int
    let length: Int

    static let all = [
        VisitKind(name: "64 B", chain: 1, length: 12 + 64),
        VisitKind(name: "1514 B", chain: 1, length: 12 + 1514),
        VisitKind(name: "64 kB in 32 buffers", chain: 32, length: 2040),
        VisitKind(name: "64 kB in 1024 buffers", chain: 1024, length: 64),
        VisitKind(name: "1024 empty buffers", chain: 1024, length: 0),
        VisitKind(name: "16 buffers of 8 B", chain: 16, length: 8),
    ]
}

/// Nanoseconds of the median visit to a full ring of such chains, and frames and bytes of it.
func measureVisit(_ kind: VisitKind) throws -> (nanoseconds: Double, frames: Int, bytes: Int) {
    var bed = try Bed(size: 64, entries: 8192)
    bed.source = try GuestSide(entries: 8192, bufferLength: kind.length, writable: false)
    bed.source.address(from: sourceMAC, to: sinkMAC)
    bed.source.chain(kind.chain, length: kind.length)
    var times: [Double] = []
    var frames = 0
    var bytes = 0
    // What is measured must not meet an empty ring or a full one.
    bed.source.offer(8192 / kind.chain)
    for _ in 0..<2000 {
        let start = nm_monotonic_ns()
        let visit = bed.visit()
        times.append(Double(nm_monotonic_ns() - start))
        frames = max(frames, visit.frames)
        bytes = max(bytes, visit.bytes)
        bed.source.offer(visit.chains)
        bed.refillSink()
    }
    times.sort()
    return (times[times.count / 2], frames, bytes)
}

func showVisits() throws {
    for kind in VisitKind.all {
        let cost = try measureVisit(kind)
        print(
            "\(kind.name): \(Int(cost.nanoseconds)) ns a visit, "
                + "\(cost.frames) frames, \(cost.bytes) bytes"
        )
    }
}
