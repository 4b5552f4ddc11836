// The plan read in the order in which frames came, for a batch that may have to be cut in the middle.

extension ForwardingPlan {
    /// Frames in a row with the same fate.
    public struct Run: Sendable {
        /// Where frames go.
        public enum Way: UInt8, Sendable {
            /// To one port.
            case unicast
            /// To every port but the sender's.
            case flood
            /// Nowhere, which was counted.
            case nowhere
        }

        /// Where they go.
        public let way: Way
        /// The port, if to one.
        public let port: UInt16
        /// How many there are.
        public let count: Int

        @_noLocks @inlinable init(way: Way, port: UInt16, count: Int) {
            self.way = way
            self.port = port
            self.count = count
        }
    }

    /// The run that begins with frame `index`, which is below the count of the batch.
    @_noLocks @inlinable
    public func run(from index: Int) -> Run {
        // SAFETY: `frameCount` is at most the array's capacity.
        let destination = unsafe destinations[index]
        var end = index &+ 1
        while end < frameCount, unsafe destinations[end] == destination { end = end &+ 1 }
        let way: Run.Way
        if destination == ForwardingPlan.flood {
            way = .flood
        } else if destination == ForwardingPlan.nowhere {
            way = .nowhere
        } else {
            way = .unicast
        }
        return Run(way: way, port: destination, count: end &- index)
    }
}
