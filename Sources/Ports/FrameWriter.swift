// Frames that a descriptor takes one at a time: written from where they lie, piece by piece, so that the
// kernel makes the only copy.

import CNetmap
import Glibc
public import Netmap

/// Writes single frames to one descriptor, and counts what becomes of them.
///
/// Owns memory for frames of more pieces than one call takes. One worker uses it at a time (under the
/// lock of the queue).
@safe public struct FrameWriter: ~Copyable {
    private let file: Int32
    /// Bytes of a virtio-net header before each frame, or 0.
    let headerLength: Int
    private let scratch: UnsafeMutableRawPointer
    /// The header of the frame that is written.
    private let header: UnsafeMutableRawPointer
    /// Why nothing can be written any more: an errno, or 0.
    public private(set) var fault: Int32 = 0

    /// Writes to `file`, which outlives the writer.
    public init(file: Int32, hasVnetHeader: Bool) {
        self.file = file
        headerLength = hasVnetHeader ? Int(NM_VNET_HEADER) : 0
        unsafe scratch = .allocate(byteCount: FrameBatch.maximumFrameLength, alignment: 64)
        unsafe header = .allocate(byteCount: 16, alignment: 16)
    }

    deinit {
        unsafe scratch.deallocate()
        unsafe header.deallocate()
    }

    /// Writes frame `index` of a batch.
    @_noLocks
    public mutating func write(
        _ batch: borrowing FrameBatch,
        _ index: Int,
        _ counters: DirectionCounters
    ) {
        // SAFETY: the source has checked every segment; what lies in memory that somebody else can cut short is
        // read by the kernel, which answers EFAULT. `header` has room for ten bytes.
        let frame = unsafe batch.frames[index]
        let offload = unsafe frame.offload ? batch.headers[index] : .none
        unsafe nm_store64(header, offload.low)
        unsafe nm_store16(header + 8, offload.high)
        let length = unsafe Int(frame.length)
        let n: Int64
        if unsafe Int(frame.extraCount) <= Int(NM_WRITE_SEGMENTS) {
            n = unsafe nm_write_frame(
                file,
                header,
                headerLength,
                frame.address,
                Int(frame.headLength),
                batch.segments + Int(frame.firstExtra),
                Int32(frame.extraCount)
            )
        } else {
            unsafe batch.copy(index, from: 0, length: length, to: scratch)
            n = unsafe nm_write_frame(file, header, headerLength, scratch, length, nil, 0)
        }
        guard n >= 0 else { return refuse(Int32(truncatingIfNeeded: 0 &- n), counters) }
        counters.count(packets: 1, bytes: length, offloaded: unsafe frame.offload ? 1 : 0)
    }

    /// Completes a frame whose offload the descriptor does not take, and writes what it becomes.
    mutating func finish(
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

    /// Counts a frame that was not taken, and notes if no other will be.
    @_noLocks
    mutating func refuse(_ code: Int32, _ counters: DirectionCounters) {
        if let reason = DropReason(writeError: code) {
            counters.drop(reason)
        } else {
            counters.drop(.noReader)
            fault = code
        }
    }
}

extension DropReason {
    /// What a frame is counted under that a descriptor did not take with this errno; nil if it takes no more at all.
    @_noLocks
    init?(writeError code: Int32) {
        if code == EAGAIN || code == ENOBUFS || code == ENOMEM {
            self = .ringFull
        } else if code == EIO || code == ENETDOWN {
            self = .linkDown
        } else if code == EINVAL {
            self = .badOffload
        } else if code == EFAULT {
            self = .malformed
        } else if code == EMSGSIZE {
            self = .oversize
        } else {
            return nil
        }
    }
}
