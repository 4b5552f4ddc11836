// Which queues to move so that no worker has much more to do than another, from what was measured.

/// A distribution of queues over workers, and how to even it out.
public struct WorkerBalance: Sendable, Hashable {
    /// A queue and its load.
    public struct Queue: Sendable, Hashable {
        /// The port, `switch:port`.
        public let port: String
        /// The queue pair.
        public let queue: Int
        /// Frames in some time.
        public let load: Int
        /// Whether it stays where it is.
        public let isPinned: Bool

        /// Puts the parts together.
        public init(port: String, queue: Int, load: Int, isPinned: Bool = false) {
            self.port = port
            self.queue = queue
            self.load = load
            self.isPinned = isPinned
        }
    }

    /// One step: a queue goes to another worker.
    public struct Move: Sendable, Hashable {
        /// The queue.
        public let queue: Queue
        /// The worker that serves it.
        public let from: Int
        /// The worker that will.
        public let to: Int
    }

    /// The queues of each worker, by its number.
    public private(set) var workers: [Int: [Queue]]

    /// Takes a distribution.
    public init(_ workers: [Int: [Queue]]) { self.workers = workers }

    /// Takes two results of `query-workers`; the load is what a queue has moved between them.
    public init(before: JSONValue, after: JSONValue) {
        var earlier: [String: Int] = [:]
        for worker in before.arrayValue ?? [] {
            for queue in worker["queues"]?.arrayValue ?? [] {
                earlier[Self.key(queue)] = queue["frames"]?.integerValue ?? 0
            }
        }
        workers = [:]
        for worker in after.arrayValue ?? [] {
            workers[worker["id"]?.integerValue ?? 0] = (worker["queues"]?.arrayValue ?? []).map {
                let frames = $0["frames"]?.integerValue ?? 0
                return Queue(
                    port: $0["ifname"]?.stringValue ?? "",
                    queue: $0["queue"]?.integerValue ?? 0,
                    load: max(0, frames - (earlier[Self.key($0)] ?? frames)),
                    isPinned: $0["pinned"]?.boolValue ?? false
                )
            }
        }
    }

    private static func key(_ queue: JSONValue) -> String {
        "\(queue["ifname"]?.stringValue ?? "")/\(queue["queue"]?.integerValue ?? 0)"
    }

    /// What a worker has to do.
    public func load(of worker: Int) -> Int {
        (workers[worker] ?? []).reduce(0) { $0 + $1.load }
    }

    /// Evens the load out with few moves, and says which.
    ///
    /// Each takes from the busiest worker the queue that brings it and the idlest one closest together;
    /// a gap of less than a tenth of the average is left alone.
    public mutating func even() -> [Move] {
        var moves: [Move] = []
        let total = workers.keys.reduce(0) { $0 + load(of: $1) }
        while moves.count < 1000 {
            let order = workers.keys.sorted { (load(of: $0), $0) < (load(of: $1), $1) }
            guard let idle = order.first, let busy = order.last, idle != busy else { break }
            let gap = load(of: busy) - load(of: idle)
            guard gap * 10 * order.count > total else { break }
            // Moving a load of more than the gap would only change who is the busiest.
            let candidates = (workers[busy] ?? []).filter {
                !$0.isPinned && $0.load > 0 && $0.load < gap
            }
            guard
                let best = candidates.min(by: {
                    (abs(gap - 2 * $0.load), $0.port, $0.queue)
                        < (abs(gap - 2 * $1.load), $1.port, $1.queue)
                })
            else { break }
            workers[busy]?.removeAll { $0 == best }
            workers[idle]?.append(best)
            moves.append(Move(queue: best, from: busy, to: idle))
        }
        return moves
    }
}
