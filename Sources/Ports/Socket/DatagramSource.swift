// Frames that come as datagrams, many with one call.

public import CNetmap
import Glibc
public import Netmap

/// Reads datagrams from one socket.
///
/// One worker serves it; `fault` may be read by others.
@safe public struct DatagramSource: ~Copyable {
    // No multiple of a page, so that the beginnings of frames do not compete for a few cache lines. Memory that no
    // frame is long enough for is never touched.
    private static var stride: Int { @_noLocks get { 65_728 } }
    private static var capacity: Int { @_noLocks get { Int(NM_DATAGRAMS) } }

    private let file: Int32
    private let memory: UnsafeMutableRawPointer
    private let lengths: UnsafeMutablePointer<UInt32>
    private let own: UnsafeMutablePointer<nm_address>
    private let framing: DatagramFraming
    private var first = 0
    private var taken = 0
    private var count = 0
    private var isDrained = false
    /// Why nothing comes any more: an errno, or 0.
    public private(set) var fault: Int32 = 0
    /// How many datagrams are through.
    public private(set) var place: UInt32 = 0

    /// Reads from `file`, which outlives the source.
    ///
    /// - Parameters:
    ///   - file: a socket.
    ///   - own: the address that our own datagrams come from, when a group returns them.
    ///   - framing: what stands before each frame.
    public init(file: Int32, own: nm_address? = nil, framing: DatagramFraming = .none) {
        self.file = file
        self.framing = framing
        unsafe memory = .allocate(
            byteCount: DatagramSource.stride * DatagramSource.capacity,
            alignment: 64
        )
        unsafe lengths = .allocate(capacity: DatagramSource.capacity)
        unsafe self.own = .allocate(capacity: 1)
        unsafe self.own.initialize(to: own ?? nm_address())
    }

    deinit {
        unsafe memory.deallocate()
        unsafe lengths.deallocate()
        unsafe own.deallocate()
    }

    // SAFETY (whole type): first <= taken <= count <= capacity; what is below `count` was written by the kernel.

    @_noLocks
    private mutating func fill() {
        guard taken == count, fault == 0 else { return }
        first = 0
        taken = 0
        count = 0
        isDrained = false
        let n = unsafe nm_datagrams_read(
            file,
            memory,
            DatagramSource.stride,
            DatagramSource.stride,
            Int32(truncatingIfNeeded: DatagramSource.capacity),
            lengths,
            own
        )
        if n >= 0 {
            count = Int(n)
        } else if n == -EAGAIN {
            isDrained = true
        } else if n != -ECONNREFUSED {
            // That one is about a datagram of ours.
            fault = 0 &- n
        }
    }

    /// Takes the next batch, at most `limit` frames.
    @_noLocks
    public mutating func collect(
        into batch: inout FrameBatch,
        counters: DirectionCounters,
        limit: Int
    ) {
        fill()
        let start = batch.count
        var bytes = 0
        while taken < count, batch.count &- start < limit, batch.count < FrameBatch.frameCapacity {
            let length = unsafe lengths[taken]
            if length == NM_DATAGRAM_TRUNCATED {
                counters.drop(.oversize)
            } else if length == NM_DATAGRAM_OWN {
                // Nobody sent it to us.
            } else {
                let start = unsafe memory + taken &* DatagramSource.stride
                if let frame = unsafe frame(start, Int(length), counters) {
                    unsafe batch.frames[batch.count] = unsafe frame
                    batch.count = batch.count &+ 1
                    bytes = unsafe bytes &+ Int(frame.length)
                }
            }
            taken = taken &+ 1
        }
        counters.count(packets: batch.count &- start, bytes: bytes)
    }

    /// The frame in a datagram; nil if there is none, which is counted.
    @_noLocks
    private func frame(
        _ datagram: UnsafeMutableRawPointer,
        _ length: Int,
        _ counters: DirectionCounters
    ) -> Frame? {
        var start = 0
        if case .l2tpv3(let header) = framing {
            switch unsafe header.decode(datagram, length) {
            case .frame(let offset): start = offset
            case .drop(let reason):
                counters.drop(reason)
                return nil
            }
        }
        guard length &- start >= 14 else {
            counters.drop(.malformed)
            return nil
        }
        guard length &- start <= FrameBatch.maximumFrameLength else {
            counters.drop(.oversize)
            return nil
        }
        return unsafe Frame(
            address: datagram + start,
            length: UInt32(truncatingIfNeeded: length &- start)
        )
    }

    /// Frees the frames that were collected.
    @_noLocks
    public mutating func completeCollected() {
        place = place &+ UInt32(truncatingIfNeeded: taken &- first)
        first = taken
    }

    /// Leaves what was collected where it is, to be collected again.
    @_noLocks public mutating func forgetCollected() { taken = first }

    /// Looks once more before the worker sleeps; the kernel wakes it by the descriptor.
    ///
    /// - Returns: whether there may be something after all.
    @_noLocks
    public mutating func arm() -> Bool {
        fill()
        return !isDrained
    }
}
