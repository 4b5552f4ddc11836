// Counts the frames that come to a port, and who sent them.
//
//   swift run sink vale0:sink          a port of the engine that `wirevale serve` runs
//   swift run sink                     a switch inside this process, with a generator of its own
//
// Everything that this program does with memory is checked; there is no `unsafe` in it.

import Netmap
import Vale

/// Receives for a second at a time and says what came.
func count(_ port: borrowing Port, rounds: Int) async throws {
    var senders: [[UInt8]: Int] = [:]
    for _ in 0..<rounds {
        // Suspends this task: no thread waits for the frames.
        guard try await port.wait(for: .receive, timeout: .seconds(1)) == .receive else {
            print("nothing for a second")
            continue
        }
        var frames = 0
        var bytes = 0
        for index in port.receiveRings {
            var ring = port.receiveRing(index)
            frames += ring.receive { frame in
                bytes += frame.length
                guard frame.bytes.count >= 12 else { return }
                senders[(6..<12).map { frame.bytes[$0] }, default: 0] += 1
            }
        }
        print("\(frames) frames, \(bytes) bytes, \(senders.count) senders so far")
    }
}

/// Sends a few frames, as somebody on the same switch would.
func generate(_ port: borrowing Port) throws {
    var frame = [UInt8](repeating: 0, count: 60)
    for byte in 0..<6 { frame[byte] = 0xff }
    for sender in UInt8(1)...3 {
        frame[6] = 2
        frame[11] = sender
        var ring = port.transmitRing()
        ring.send(frame.span)
    }
    try port.syncTransmit()
}

do {
    if let name = CommandLine.arguments.dropFirst().first {
        let port = try Port(name)
        print("\(port.name): memory \(port.memoryID), \(port.receiveRings.count) rings")
        try await count(port, rounds: .max)
    } else {
        let space = PortSpace.embedded()
        let sink = try Port("vale0:sink", on: space)
        let generator = try Port("vale0:generator", on: space)
        for _ in 0..<3 {
            try generate(generator)
            try await count(sink, rounds: 1)
        }
    }
} catch {
    print(error)
}
