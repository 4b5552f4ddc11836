// What operators see of the workers, and how they move queues between them.

import CNetmap
import Control
import Glibc
import Netmap

extension Engine {
    /// `query-workers`.
    func queryWorkers() -> JSONValue {
        .array(
            pool.workers.map { worker in
                let counters = unsafe page.worker(worker.index)
                let tid = unsafe Int32(truncatingIfNeeded: nm_load64(&counters.pointee.tid))
                let ns = tid == 0 ? 0 : max(0, nm_thread_cpu_ns(getpid(), tid))
                return [
                    "id": .integer(worker.index),
                    "cpu": worker.cpu.map { .integer($0) } ?? .null,
                    "tid": .integer(Int(tid)),
                    "ports": .integer(worker.sourceCount),
                    "turns": .count(unsafe nm_load64(&counters.pointee.turns)),
                    "frames": .count(unsafe nm_load64(&counters.pointee.frames)),
                    "sleeps": .count(unsafe nm_load64(&counters.pointee.sleeps)),
                    "cpu-time": .number(Double(ns) / 1e9),
                    "queues": .array(worker.items.compactMap(describe)),
                ]
            }
        )
    }

    private func describe(_ source: WorkerPool.Source) -> JSONValue? {
        guard let port = ports[unsafe source.plane.pointee.number] else { return nil }
        return [
            "ifname": .string(port.ifname),
            "queue": .integer(source.pair),
            "frames": .count(unsafe nm_load64(&source.plane.pointee.pairs[source.pair].frames)),
            "pinned": .bool(source.isPinned),
        ]
    }

    /// `worker-move`.
    func moveWorker(_ port: Port, _ arguments: JSONObject) throws(QMPError) {
        let number = arguments["worker"]?.integerValue ?? 0
        guard let worker = pool.workers.first(where: { $0.index == number }) else {
            throw .expects("worker", "a worker from 0 to \(pool.workers.count - 1), not \(number)")
        }
        let isPinned = arguments["pinned"]?.boolValue ?? true
        if let queue = arguments["queue"]?.integerValue {
            guard queue >= 0, unsafe pool.worker(of: port.plane, queue) != nil else {
                throw QMPError(
                    "Port '\(port.ifname)' has no running queue \(queue) to move"
                )
            }
            unsafe pool.move(port.plane, queue, to: worker, isPinned: isPinned)
            return
        }
        let queues = pool.workers.flatMap(\.items).filter { unsafe $0.plane == port.plane }
        guard !queues.isEmpty else {
            throw QMPError("Port '\(port.ifname)' has no running queue to move")
        }
        for source in queues {
            unsafe pool.move(port.plane, source.pair, to: worker, isPinned: isPinned)
        }
    }
}
