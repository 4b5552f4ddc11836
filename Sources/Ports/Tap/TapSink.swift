// Frames that come into the host through a tap interface.

public import Netmap

/// Writes to one queue of a tap interface.
@safe public struct TapSink: ~Copyable {
    private var writer: FrameWriter
    /// Why nothing can be written any more: an errno, or 0.
    public var fault: Int32 { @_noLocks get { writer.fault } }

    /// Writes to `file`, which outlives the sink.
    public init(file: Int32, hasVnetHeader: Bool) {
        writer = FrameWriter(file: file, hasVnetHeader: hasVnetHeader)
    }

    /// Writes the frames of `batch` that `list` names, in order.
    public mutating func deliver(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ count: Int,
        counters: DirectionCounters,
        finisher: inout OffloadFinisher
    ) {
        for k in 0..<count {
            // SAFETY: `list` holds `count` indices below the batch's count.
            let index = unsafe Int(list[k])
            if writer.headerLength == 0, unsafe batch.frames[index].offload {
                writer.finish(batch, index, counters, &finisher)
            } else {
                writer.write(batch, index, counters)
            }
        }
    }
}
