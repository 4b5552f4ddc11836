// When the frames of a capture leave, worked out before the first of them does.

/// The order and the times in which recorded frames cross an emulated link.
public struct ReplaySchedule: Sendable {
    /// A frame that arrives.
    public struct Entry: Sendable, Hashable {
        /// Nanoseconds after the beginning.
        public let due: UInt64
        /// Its number in the capture.
        public let frame: Int
    }

    /// What arrives, in that order.
    public let entries: [Entry]
    /// What becomes of all frames.
    public let counts: LinkModel.Counts

    /// When the last one arrives.
    public var length: UInt64 { entries.last?.due ?? 0 }

    /// Works it out.
    ///
    /// - Parameters:
    ///   - frames: time, in nanoseconds of any clock, and length of each. A time that runs back stands still.
    ///   - settings: the link; as recorded, or as fast as its bandwidth allows.
    ///   - seed: settles what it loses.
    public init(_ frames: [(time: UInt64, length: Int)], _ settings: LinkSettings, seed: UInt64) {
        var model = LinkModel(settings, seed: seed)
        var entries: [Entry] = []
        entries.reserveCapacity(frames.count)
        var (now, last) = (UInt64(0), frames.first?.time ?? 0)
        for (number, frame) in frames.enumerated() {
            if case .recorded(let speedup) = settings.bandwidth, frame.time > last {
                now &+= UInt64((Double(frame.time - last) / speedup).rounded())
                last = frame.time
            }
            switch model.offer(length: frame.length, at: now) {
            case .arrives(let due), .isHeld(let due): entries.append(Entry(due: due, frame: number))
            case .isLost, .findsNoRoom: break
            }
        }
        entries.sort { ($0.due, $0.frame) < ($1.due, $1.frame) }
        self.entries = entries
        counts = model.counts
    }
}
