// Frames that a descriptor takes one at a time: written from where they lie, piece by piece, so that the
// kernel makes the only copy.

import CNetmap
import Glibc
public import Netmap

/// Writes single frames.
///
/// Owns memory for frames of more pieces than one call takes. One worker uses it at a time (under the
/// lock of the queue).
@safe public struct FrameWriter: ~Copyable {
    private let scratch: UnsafeMutableRawPointer

    /// Allocates the memory.
    public init() {
        unsafe scratch = .allocate(byteCount: FrameBatch.maximumFrameLength, alignment: 64)
    }

    deinit { unsafe scratch.deallocate() }

    /// Writes frame `index` of a batch, behind `headerLength` bytes at `header`.
    ///
    /// - Returns: how many bytes were taken, or a negative errno.
    @_noLocks
    public func write(
        _ batch: borrowing FrameBatch,
        _ index: Int,
        header: UnsafeRawPointer,
        headerLength: Int,
        to file: Int32
    ) -> Int {
        // SAFETY: the source has checked every segment; what lies in memory that somebody else can cut short is
        // read by the kernel, which answers EFAULT.
        let frame = unsafe batch.frames[index]
        if unsafe Int(frame.extraCount) <= Int(NM_WRITE_SEGMENTS) {
            return unsafe Int(
                nm_write_frame(
                    file,
                    header,
                    headerLength,
                    frame.address,
                    Int(frame.headLength),
                    batch.segments + Int(frame.firstExtra),
                    Int32(frame.extraCount)
                )
            )
        }
        let length = unsafe Int(frame.length)
        unsafe batch.copy(index, from: 0, length: length, to: scratch)
        return unsafe Int(nm_write_frame(file, header, headerLength, scratch, length, nil, 0))
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
