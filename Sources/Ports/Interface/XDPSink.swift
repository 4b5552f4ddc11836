// Frames that go out by an AF_XDP socket: copied into chunks, published together, and one system call for
// all of them if the kernel sleeps.

import CNetmap
import Glibc
public import Netmap

/// The sending side of an AF_XDP socket.
///
/// Used under the lock of its queue. Does not own the memory.
@safe public struct XDPSink: ~Copyable {
    // SAFETY (whole type): `base` holds the chunks whose addresses are in `free`, which nobody else uses.
    private let base: UnsafeMutableRawPointer
    private let chunk: Int
    private let longest: Int
    private let file: Int32
    private let hasFragments: Bool
    private let isZeroCopy: Bool
    private let counters: DirectionCounters
    private var tx: XDPProducer
    private var completion: XDPConsumer
    /// Chunks that hold nothing, last in first out: what was used last is in the cache.
    private let free: UnsafeMutablePointer<UInt64>
    private var freeCount: Int
    /// By entry of the ring: bytes of the frame that ends there, or 0.
    private let lengths: UnsafeMutablePointer<UInt32>
    /// How far frames have been counted: those before it the kernel has taken.
    private var counted: UInt32
    /// Why nothing can be sent any more; never: the control plane watches the interface.
    public var fault: Int32 { @_noLocks get { 0 } }

    init(
        unsafeBase base: UnsafeMutableRawPointer,
        first: Int,
        count: Int,
        chunk: Int,
        longest: Int,
        tx: XDPProducer,
        completion: XDPConsumer,
        file: Int32,
        hasFragments: Bool,
        isZeroCopy: Bool,
        counters: DirectionCounters
    ) {
        unsafe self.base = base
        self.chunk = chunk
        self.longest = longest
        self.tx = tx
        self.completion = completion
        self.file = file
        self.hasFragments = hasFragments
        self.isZeroCopy = isZeroCopy
        self.counters = counters
        counted = tx.index
        unsafe free = .allocate(capacity: count)
        for number in 0..<count {
            unsafe (free + number).initialize(to: UInt64(first + (count - 1 - number) * chunk))
        }
        freeCount = count
        let entries = Int(tx.memory.size)
        unsafe lengths = .allocate(capacity: entries)
        unsafe lengths.initialize(repeating: 0, count: entries)
    }

    deinit {
        // What the kernel has not taken goes with the socket.
        var rest = tx
        rest.refresh()
        var lost = 0
        var index = isZeroCopy ? rest.consumed : counted
        while index != rest.published {
            if unsafe lengths[Int(index & (rest.memory.size &- 1))] != 0 { lost += 1 }
            index = index &+ 1
        }
        if lost > 0, !isZeroCopy { counters.drop(.linkDown, lost) }
        unsafe free.deallocate()
        unsafe lengths.deallocate()
    }

    /// Sends the frames of `batch` that `list` names, in order.
    public mutating func deliver(
        _ batch: borrowing FrameBatch,
        _ list: UnsafePointer<UInt16>,
        _ count: Int,
        counters: DirectionCounters,
        finisher: inout OffloadFinisher
    ) {
        reap()
        for k in 0..<count {
            // SAFETY: `list` holds `count` indices below the batch's count.
            let index = unsafe Int(list[k])
            guard unsafe batch.frames[index].offload else {
                put(batch, index, counters)
                continue
            }
            guard finisher.begin(batch, index) else {
                counters.drop(.badOffload)
                continue
            }
            while finisher.finishNext(batch, index) {
                // SAFETY: the finisher's batch has room for the one frame.
                unsafe finisher.batch.frames[0] = unsafe finisher.frame
                put(finisher.batch, 0, counters)
            }
        }
        send(counters)
    }

    /// Copies a frame into chunks.
    @_noLocks
    private mutating func put(
        _ batch: borrowing FrameBatch,
        _ index: Int,
        _ counters: DirectionCounters
    ) {
        let length = unsafe Int(batch.frames[index].length)
        let need = length <= chunk ? 1 : (length &+ chunk &- 1) / chunk
        guard length <= longest, need == 1 || hasFragments else {
            counters.drop(.oversize)
            return
        }
        if freeCount < need || Int(tx.room) < need {
            // Segments of a long frame fill the ring: perhaps the first are through already.
            send(counters)
            reap()
            guard freeCount >= need, Int(tx.room) >= need else {
                counters.drop(.ringFull)
                return
            }
        }
        var offset = 0
        for piece in 1...need {
            let n = min(chunk, length &- offset)
            freeCount = freeCount &- 1
            let address = unsafe free[freeCount]
            unsafe batch.copy(index, from: offset, length: n, to: base + Int(address))
            let isLast = piece == need
            unsafe lengths[Int(tx.index & (tx.memory.size &- 1))] = isLast ? UInt32(length) : 0
            tx.push(
                address,
                length: UInt32(n),
                options: isLast ? 0 : UInt32(NM_XDP_CONTINUED)
            )
            offset = offset &+ n
        }
    }

    /// Takes chunks back whose frames are sent.
    @_noLocks
    private mutating func reap() {
        completion.refresh()
        var index = completion.index
        guard index != completion.produced else { return }
        while index != completion.produced {
            unsafe free[freeCount] = completion.address(index) & ~UInt64(chunk &- 1)
            freeCount = freeCount &+ 1
            index = index &+ 1
        }
        completion.release(to: index)
    }

    /// Publishes what was put, and has the kernel send it.
    @_noLocks
    private mutating func send(_ counters: DirectionCounters) {
        tx.publish()
        var lost = 0
        if tx.memory.needsWakeup {
            // In copy mode the kernel sends a few frames a call (32 before 6.17), and says EAGAIN if there are more.
            var tries = 2 &* FrameBatch.frameCapacity
            while tries > 0 {
                let before = tx.consumed
                let result = nm_xdp_kick(file)
                tx.refresh()
                // EBUSY: the driver dropped one, and the others wait.
                if result == -EBUSY { lost = lost &+ 1 }
                if result == 0 || tx.consumed == tx.published { break }
                if result != -EBUSY, tx.consumed == before { break }
                tries = tries &- 1
            }
        }
        tx.refresh()
        count(counters, lost: lost)
    }

    /// Counts the frames that the kernel has taken.
    ///
    /// A card that reads the ring itself takes what is in it sooner or later.
    @_noLocks
    private mutating func count(_ counters: DirectionCounters, lost: Int) {
        let end = isZeroCopy ? tx.published : tx.consumed
        var packets = 0
        var bytes = 0
        while counted != end {
            let length = unsafe lengths[Int(counted & (tx.memory.size &- 1))]
            if length != 0 { packets = packets &+ 1 }
            bytes = bytes &+ Int(length)
            counted = counted &+ 1
        }
        let dropped = min(lost, packets)
        counters.count(packets: packets &- dropped, bytes: bytes)
        if dropped != 0 { counters.drop(.linkDown, dropped) }
    }
}
