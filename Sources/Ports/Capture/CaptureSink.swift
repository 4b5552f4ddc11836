// A receiver that keeps what comes in a file, or only counts it.

import CNetmap
public import Netmap

/// Takes every frame; the senders' counters then say how fast they can be.
@safe public struct CaptureSink: ~Copyable {
    /// Nil if frames are only counted; the writer's owner keeps it.
    private let ring: CaptureRing?
    private let wake: Int32

    /// Gives frames to `writer`, which must outlive the sink, or counts them.
    public init(_ writer: CaptureWriter?) {
        ring = writer?.ring
        wake = writer?.wakeNumber ?? -1
    }

    /// Takes the frames of `batch` that `list` names, in order.
    public mutating func deliver(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ count: Int,
        counters: DirectionCounters,
        finisher: inout OffloadFinisher
    ) {
        let time = nm_realtime_ns()
        for k in 0..<count {
            // SAFETY: `list` holds `count` indices below the batch's count; the finisher's batch has room for
            // the one frame.
            let index = unsafe Int(list[k])
            guard ring != nil, unsafe batch.frames[index].offload else {
                take(batch, index, counters, time)
                continue
            }
            // A file has no virtio-net headers: what is in it is what a network would carry.
            guard finisher.begin(batch, index) else {
                counters.drop(.badOffload)
                continue
            }
            while finisher.finishNext(batch, index) {
                unsafe finisher.batch.frames[0] = unsafe finisher.frame
                take(finisher.batch, 0, counters, time)
            }
        }
    }

    private func take(
        _ batch: borrowing FrameBatch,
        _ index: Int,
        _ counters: DirectionCounters,
        _ time: UInt64
    ) {
        let frame = unsafe batch.frames[index]
        if let ring {
            let sight = FrameSight(time: time, isInbound: false)
            switch ring.add(batch, index, interface: 0, sight) {
            case .taken: break
            case .takenWake: _ = nm_eventfd_ring(wake)
            case .unwanted: return counters.drop(.noReader)
            case .lost: return counters.drop(.ringFull)
            }
        }
        counters.count(
            packets: 1,
            bytes: unsafe Int(frame.length),
            offloaded: unsafe frame.offload ? 1 : 0
        )
    }
}
