// What operators are told about lossless ports.

import CNetmap
import Control
import Logging
import Netmap

extension Port {
    /// Says which receive queues have lost the right to keep their senders waiting, and wakes senders that would
    /// miss a kick.
    func noteStalls() {
        guard let lossless else { return }
        for index in 0..<queues {
            let pair = unsafe plane.pointee.pairs + index
            if unsafe nm_load32(&pair.pointee.stall.isRecall) != 0 {
                unsafe nm_store32(&pair.pointee.stall.isRecall, 0)
                pool.recall()
            }
            guard unsafe nm_load32(&pair.pointee.stall.unsaid) != 0 else { continue }
            unsafe nm_store32(&pair.pointee.stall.unsaid, 0)
            logger.warning(
                "lossless, but its receiver took nothing for \(lossless.timeout) ms: it loses frames until it does",
                metadata: ["queue": "\(index)"]
            )
        }
    }

    /// Whether a receive queue has lost that right and not won it back.
    var isStalled: Bool {
        (0..<queues).contains { index in
            unsafe nm_load32(&plane.pointee.pairs[index].stall.isOver) != 0
        }
    }

    /// The number of a port that frames from this one wait for.
    var waitsFor: UInt16? {
        for index in 0..<queues {
            let number = unsafe nm_load16(&plane.pointee.pairs[index].hold.port)
            if number != 0 { return number }
        }
        return nil
    }
}

extension Engine {
    /// The members of `query-ports` that are about waiting.
    func describeLossless(_ port: Port, _ object: inout JSONObject) {
        if let lossless = port.lossless {
            object["lossless-timeout"] = .integer(lossless.timeout)
            if port.isStalled { object["stalled"] = true }
        }
        if let number = port.waitsFor, let other = ports[number] {
            object["waits-for"] = .string(other.ifname)
        }
    }
}
