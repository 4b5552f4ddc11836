// Joins two ports. Where both are in one memory region, as the pipes of one port are, frames change
// hands by exchanging buffer numbers, and their bytes are never touched.
//
//   swift run zero-copy-bridge 'netmap:p{1' 'netmap:p{2'      ports of the engine
//   swift run zero-copy-bridge                                shows it inside this process

import Netmap
import Vale

/// Moves what has come at one port to the other.
func move(from source: borrowing Port, to target: borrowing Port) -> Int {
    var moved = 0
    for (from, to) in zip(source.receiveRings, target.transmitRings) {
        var received = source.receiveRing(from)
        var free = target.transmitRing(to)
        moved += free.forward(from: &received)
    }
    return moved
}

/// Whether frames wait at a port.
func hasFrames(_ port: borrowing Port) -> Bool {
    for index in port.receiveRings where port.receiveRing(index).count > 0 { return true }
    return false
}

/// Bridges until nothing comes for `patience`, or for ever.
func bridge(_ a: borrowing Port, _ b: borrowing Port, patience: Duration?) throws -> Int {
    var total = 0
    while true {
        // Frames that wait at one side wait for room at the other.
        let wantedA: Readiness = hasFrames(b) ? [.receive, .transmit] : .receive
        let wantedB: Readiness = hasFrames(a) ? [.receive, .transmit] : .receive
        let ready = try Port.poll(a, wantedA, b, wantedB, timeout: patience)
        if ready.0.isEmpty, ready.1.isEmpty { return total }
        total += move(from: a, to: b) + move(from: b, to: a)
        try a.syncTransmit()
        try b.syncTransmit()
    }
}

do {
    let names = Array(CommandLine.arguments.dropFirst())
    if names.count == 2 {
        let a = try Port(names[0])
        let b = try Port(names[1])
        print("\(a.name) and \(b.name), \(a.memoryID == b.memoryID ? "zero copy" : "copying")")
        _ = try bridge(a, b, patience: nil)
    } else {
        let space = PortSpace.embedded()
        let left = try Port("netmap:demo}1", on: space)
        let right = try Port("netmap:demo}2", on: space)
        let a = try Port("netmap:demo{1", on: space)
        let b = try Port("netmap:demo{2", on: space)
        var ring = left.transmitRing()
        let sent = ring.send(limit: 1000) { number, buffer in
            buffer[14] = UInt8(truncatingIfNeeded: number)
            return 60
        }
        try left.syncTransmit()
        let moved = try bridge(a, b, patience: .milliseconds(10))
        try right.syncReceive()
        print("sent \(sent), bridged \(moved), arrived \(right.receiveRing().count)")
    }
} catch {
    print(error)
}
