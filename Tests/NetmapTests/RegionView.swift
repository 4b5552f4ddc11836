// A region as another process sees it: by its memory file and the published layout, nothing else.

import CNetmap
import Glibc
import Netmap
import TestSupport
import Testing

/// Raw access to a region's memory, for its owner's side and for those who misuse it.
@safe final class RegionView {
    /// A slot's words.
    struct Slot: Equatable {
        var buffer: UInt32
        var length: UInt16
        var flags: UInt16
    }

    let layout: Region.Layout
    let length: Int
    private let base: UnsafeMutableRawPointer

    init(_ region: borrowing Region) throws {
        layout = region.layout
        length = region.byteCount
        // SAFETY: a new mapping of the whole file.
        guard
            let address = unsafe mmap(
                nil,
                length,
                PROT_READ | PROT_WRITE,
                MAP_SHARED,
                region.descriptor.number,
                0
            ),
            unsafe address != MAP_FAILED
        else { throw SystemError("mmap", result: -errno) }
        unsafe base = unsafe address
    }

    deinit { unsafe munmap(base, length) }

    /// Where ring `ring` begins, transmit rings first.
    func ring(_ ring: Int) -> Int {
        ring * ((256 + 16 * layout.slots + 127) / 128 * 128)
    }

    func load16(_ offset: Int) -> UInt16 { unsafe nm_load16(base + offset) }
    func load32(_ offset: Int) -> UInt32 { unsafe nm_load32_acquire(base + offset) }
    func load64(_ offset: Int) -> UInt64 { unsafe nm_load64(base + offset) }
    func store32(_ value: UInt32, _ offset: Int) { unsafe nm_store32_release(base + offset, value) }
    func store64(_ value: UInt64, _ offset: Int) { unsafe nm_store64(base + offset, value) }

    func head(_ ring: Int) -> Int { Int(load32(self.ring(ring) + 20)) }
    func tail(_ ring: Int) -> Int { Int(load32(self.ring(ring) + 28)) }
    func setHead(_ ring: Int, _ head: Int) {
        store32(UInt32(truncatingIfNeeded: head), self.ring(ring) + 24)
        store32(UInt32(truncatingIfNeeded: head), self.ring(ring) + 20)
    }

    func slot(_ ring: Int, _ index: Int) -> Slot {
        let word = load64(self.ring(ring) + 256 + 16 * index)
        return Slot(
            buffer: UInt32(truncatingIfNeeded: word),
            length: UInt16(truncatingIfNeeded: word >> 32),
            flags: UInt16(word >> 48)
        )
    }

    func setSlot(_ ring: Int, _ index: Int, _ slot: Slot) {
        store64(
            UInt64(slot.buffer) | UInt64(slot.length) << 32 | UInt64(slot.flags) << 48,
            self.ring(ring) + 256 + 16 * index
        )
    }

    /// Where buffer `index` begins, as ring `ring` says.
    func buffer(_ index: UInt32, _ ring: Int = 0) -> Int {
        let start = self.ring(ring)
        let offset = Int(Int64(bitPattern: load64(start)))
        return start + offset + Int(index) * Int(load32(start + 12))
    }

    func write(_ bytes: [UInt8], _ offset: Int) {
        precondition(offset >= 0 && offset + bytes.count <= length)
        for (k, byte) in bytes.enumerated() { unsafe nm_store8(base + offset + k, byte) }
    }

    func bytes(_ offset: Int, _ count: Int) -> [UInt8] {
        precondition(offset >= 0 && offset + count <= length)
        return (0..<count).map { unsafe nm_load8(base + offset + $0) }
    }
}

/// The bytes of a batch's frame.
func bytes(_ batch: borrowing FrameBatch, _ index: Int) -> [UInt8] {
    let length = unsafe Int(batch.frames[index].length)
    var bytes = [UInt8](repeating: 0, count: length)
    unsafe bytes.withUnsafeMutableBytes { target in
        if let base = target.baseAddress {
            let n = unsafe batch.copy(index, from: 0, length: length, to: base)
            precondition(n == length, "the segments are shorter than the frame")
        }
    }
    return bytes
}

/// A batch whose frames lie in memory of the test.
@safe final class FrameSet {
    private let memory: UnsafeMutableRawBufferPointer
    private let list: UnsafeMutablePointer<UInt16>

    /// Puts `frames` into `batch`, each cut as `cut` says (lengths, zero allowed).
    init(_ frames: [[UInt8]], into batch: inout FrameBatch, cut: (Int) -> [Int] = { [$0] }) {
        unsafe list = .allocate(capacity: FrameBatch.frameCapacity)
        for k in 0..<FrameBatch.frameCapacity { unsafe (list + k).initialize(to: UInt16(k)) }
        let cuts = frames.map { $0.isEmpty ? [0] : cut($0.count) }
        let total = cuts.reduce(0) { $0 + $1.reduce(0, +) + 17 * $1.count }
        unsafe memory = .allocate(byteCount: total + 1, alignment: 16)
        guard let base = unsafe memory.baseAddress else { return }
        var offset = 0
        for (frame, lengths) in zip(frames, cuts) {
            precondition(lengths.reduce(0, +) == frame.count)
            var done = 0
            let extra = batch.extraSegments
            var first = unsafe Segment(address: base, length: 0)
            for (k, length) in lengths.enumerated() {
                for i in 0..<length { unsafe memory[offset + i] = frame[done + i] }
                let piece = unsafe Segment(address: base + offset, length: length)
                if k == 0 {
                    unsafe first = unsafe piece
                } else {
                    unsafe batch.segments[extra + k - 1] = unsafe piece
                }
                done += length
                offset += length + 17
            }
            unsafe batch.frames[batch.count] = unsafe Frame(
                address: first.address,
                headLength: UInt32(first.length),
                length: UInt32(frame.count),
                firstExtra: UInt32(extra),
                extraCount: UInt16(lengths.count - 1)
            )
            batch.extraSegments += lengths.count - 1
            batch.count += 1
        }
    }

    deinit {
        unsafe memory.deallocate()
        unsafe list.deallocate()
    }

    /// Delivers the whole batch.
    func deliver(
        _ batch: borrowing FrameBatch,
        to kring: inout Kring,
        _ page: CounterPage,
        _ finisher: inout OffloadFinisher
    ) {
        unsafe kring.deliver(
            batch,
            list,
            batch.count,
            counters: page.counters,
            finisher: &finisher
        )
    }
}
