// What the tests of this target have in common. None of its files may say `unsafe`: all of it is what a
// careful program can do.

import Netmap
import Testing
import Vale

/// A frame from station `source` to station `target`, 255 for everybody.
func frame(from source: UInt8, to target: UInt8, length: Int = 60, mark: UInt8 = 0) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: length)
    for place in 0..<6 { bytes[place] = target == 255 ? 255 : 0 }
    bytes[0] = target == 255 ? 255 : 2
    bytes[5] = target
    bytes[6] = 2
    bytes[11] = source
    bytes[12] = 0x88
    bytes[13] = 0xb5
    if length > 14 { bytes[14] = mark }
    return bytes
}

extension Port {
    /// Sends frames and syncs.
    @discardableResult
    func send(_ frames: [[UInt8]], ring index: Int? = nil) throws -> Int {
        var ring = transmitRing(index)
        var sent = 0
        for frame in frames where ring.send(frame.span) { sent += 1 }
        try syncTransmit()
        return sent
    }

    /// Free slots of the first transmit ring.
    var space: Int { transmitRing().space }
    /// Whether all that it sent has gone.
    var isDrained: Bool { transmitRing().isDrained }

    /// All frames that have come, after a sync.
    func receive(ring index: Int? = nil) throws -> [[UInt8]] {
        try syncReceive()
        var ring = receiveRing(index)
        var frames: [[UInt8]] = []
        ring.receive { frames.append($0.array) }
        try syncReceive()
        return frames
    }
}
