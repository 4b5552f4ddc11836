// Frames that go out of an interface by a packet socket: a batch in one system call, each from where it
// lies, behind its virtio-net header, so that the kernel finishes what was left open.

import CNetmap
import Glibc
public import Netmap

/// Sends through a packet socket.
///
/// Used under the lock of its queue.
@safe public struct PacketSink: ~Copyable {
    private let file: Int32
    private var writer: FrameWriter
    // SAFETY (whole type): the arrays have room for a full batch: each frame has at most its head, its
    // virtio-net header and its share of the batch's segments.
    private let pieces: UnsafeMutablePointer<Segment>
    private let counts: UnsafeMutablePointer<UInt16>
    private let indices: UnsafeMutablePointer<UInt16>
    private let headers: UnsafeMutableRawPointer
    /// Frames and segments that wait for the next system call.
    private var queued = 0
    private var used = 0
    /// Why nothing can be sent any more: an errno, or 0.
    public var fault: Int32 { @_noLocks get { writer.fault } }

    private static var headerStride: Int { @_noLocks get { 16 } }

    /// Sends through `file`, which outlives the sink.
    public init(file: Int32) {
        self.file = file
        writer = FrameWriter(file: file, hasVnetHeader: true)
        let frames = FrameBatch.frameCapacity
        let segments = 2 * frames + 2 * FrameBatch.segmentsPerFrame
        unsafe pieces = .allocate(capacity: segments)
        unsafe counts = .allocate(capacity: frames)
        unsafe indices = .allocate(capacity: frames)
        let bytes = frames * PacketSink.headerStride
        unsafe headers = .allocate(byteCount: bytes, alignment: 16)
        unsafe headers.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
        unsafe counts.initialize(repeating: 0, count: frames)
        unsafe indices.initialize(repeating: 0, count: frames)
    }

    deinit {
        unsafe pieces.deallocate()
        unsafe counts.deallocate()
        unsafe indices.deallocate()
        unsafe headers.deallocate()
    }

    /// Sends the frames of `batch` that `list` names, in order.
    public mutating func deliver(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ count: Int,
        counters: DirectionCounters,
        finisher: inout OffloadFinisher
    ) {
        for k in 0..<count {
            // SAFETY: `list` holds `count` indices below the batch's count.
            let index = unsafe list[k]
            if unsafe Int(batch.frames[Int(index)].extraCount) > Int(NM_WRITE_SEGMENTS) {
                // More pieces than one message takes.
                flush(batch, counters, &finisher)
                writer.write(batch, Int(index), counters)
                continue
            }
            queue(batch, index)
            if queued == FrameBatch.frameCapacity { flush(batch, counters, &finisher) }
        }
        flush(batch, counters, &finisher)
    }

    @_noLocks
    private mutating func queue(_ batch: borrowing FrameBatch, _ index: UInt16) {
        let frame = unsafe batch.frames[Int(index)]
        let offload = unsafe frame.offload ? batch.headers[Int(index)] : .none
        let header = unsafe headers + queued &* PacketSink.headerStride
        unsafe nm_store64(header, offload.low)
        unsafe nm_store16(header + 8, offload.high)
        unsafe pieces[used] = unsafe Segment(address: header, length: Int(NM_VNET_HEADER))
        unsafe pieces[used &+ 1] = unsafe Segment(
            address: frame.address,
            length: Int(frame.headLength)
        )
        let extra = unsafe Int(frame.extraCount)
        for k in 0..<extra {
            unsafe pieces[used &+ 2 &+ k] = unsafe batch.segments[Int(frame.firstExtra) &+ k]
        }
        unsafe counts[queued] = UInt16(truncatingIfNeeded: extra &+ 2)
        unsafe indices[queued] = index
        used = used &+ extra &+ 2
        queued = queued &+ 1
    }

    /// Sends what is queued; what is not taken is counted.
    private mutating func flush(
        _ batch: borrowing FrameBatch,
        _ counters: DirectionCounters,
        _ finisher: inout OffloadFinisher
    ) {
        var done = 0
        var piece = 0
        var hasTriedAgain = false
        while done < queued {
            let n = unsafe Int(
                nm_send_frames(file, pieces + piece, counts + done, Int32(queued - done))
            )
            if n > 0 {
                note(batch, done, n, counters)
                for k in done..<done + n { piece += unsafe Int(counts[k]) }
                done += n
                continue
            }
            let code = Int32(truncatingIfNeeded: -n)
            let index = unsafe Int(indices[done])
            // Once it is the news that the interface was down, not that it is.
            if code == ENETDOWN, !hasTriedAgain {
                hasTriedAgain = true
                continue
            }
            if code == EAGAIN || code == ENETDOWN {
                // Nor would it take the others.
                counters.drop(code == EAGAIN ? .ringFull : .linkDown, queued - done)
                break
            }
            if code == EINVAL, unsafe batch.frames[index].offload {
                // Segmented UDP is beyond kernels before 6.2.
                writer.finish(batch, index, counters, &finisher)
            } else {
                writer.refuse(code, counters)
            }
            piece += unsafe Int(counts[done])
            done += 1
        }
        queued = 0
        used = 0
    }

    private func note(
        _ batch: borrowing FrameBatch,
        _ from: Int,
        _ count: Int,
        _ counters: DirectionCounters
    ) {
        var bytes = 0
        var offloaded = 0
        for k in from..<from + count {
            let frame = unsafe batch.frames[Int(indices[k])]
            bytes += unsafe Int(frame.length)
            if unsafe frame.offload { offloaded += 1 }
        }
        counters.count(packets: count, bytes: bytes, offloaded: offloaded)
    }
}
