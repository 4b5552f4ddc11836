// Frames that come into the host through a tap interface.

import CNetmap
public import Netmap

/// Writes to one queue of a tap interface.
@safe public struct TapSink: ~Copyable {
    private let file: Int32
    private let headerLength: Int
    private let writer = FrameWriter()
    /// The virtio-net header of the frame that is written.
    private let header: UnsafeMutableRawPointer
    /// Why nothing can be written any more: an errno, or 0.
    public private(set) var fault: Int32 = 0

    /// Writes to `file`, which outlives the sink.
    public init(file: Int32, hasVnetHeader: Bool) {
        self.file = file
        headerLength = hasVnetHeader ? TapDevice.headerLength : 0
        unsafe header = .allocate(byteCount: 16, alignment: 16)
    }

    deinit { unsafe header.deallocate() }

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
            if headerLength == 0, unsafe batch.frames[index].offload {
                finish(batch, index, counters, &finisher)
            } else {
                write(batch, index, counters)
            }
        }
    }

    /// Completes a frame for a descriptor that takes no virtio-net headers.
    private mutating func finish(
        _ batch: borrowing FrameBatch,
        _ index: Int,
        _ counters: DirectionCounters,
        _ finisher: inout OffloadFinisher
    ) {
        guard finisher.begin(batch, index) else {
            counters.drop(.badOffload)
            return
        }
        while finisher.finishNext(batch, index) {
            // SAFETY: the finisher's batch has room for the one frame.
            unsafe finisher.batch.frames[0] = unsafe finisher.frame
            write(finisher.batch, 0, counters)
        }
    }

    @_noLocks
    private mutating func write(
        _ batch: borrowing FrameBatch,
        _ index: Int,
        _ counters: DirectionCounters
    ) {
        let frame = unsafe batch.frames[index]
        let offload = unsafe frame.offload ? batch.headers[index] : .none
        // SAFETY: `header` has room for ten bytes.
        unsafe nm_store64(header, offload.low)
        unsafe nm_store16(header + 8, offload.high)
        let n = unsafe writer.write(
            batch,
            index,
            header: header,
            headerLength: headerLength,
            to: file
        )
        if n >= 0 {
            counters.count(
                packets: 1,
                bytes: unsafe Int(frame.length),
                offloaded: unsafe frame.offload ? 1 : 0
            )
            return
        }
        let code = Int32(truncatingIfNeeded: 0 &- n)
        if let reason = DropReason(writeError: code) {
            counters.drop(reason)
        } else {
            counters.drop(.noReader)
            fault = code
        }
    }
}
