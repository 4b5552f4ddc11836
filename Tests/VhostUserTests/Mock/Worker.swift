// What one of the engine's workers holds, and its turn: collect a batch, deliver it, give the
// collected chains back.

import CNetmap
import Netmap
import TestSupport

@testable import VhostUser

/// A frame as it stands in a batch.
struct Collected: Equatable {
    var frame: [UInt8]
    /// The header's first ten bytes if the frame asks its receiver for something.
    var request: [UInt8]?
}

@safe struct Worker: ~Copyable {
    var batch = FrameBatch()
    var scratch = DeliveryScratch()
    var finisher = OffloadFinisher()
    /// From the sender.
    let received = CounterPage()
    /// To the receiver.
    let sent = CounterPage()
    private let everyFrame: UnsafeMutablePointer<UInt16>

    init() {
        unsafe everyFrame = .allocate(capacity: FrameBatch.frameCapacity)
        for k in 0..<FrameBatch.frameCapacity { unsafe (everyFrame + k).initialize(to: UInt16(k)) }
    }

    deinit { unsafe everyFrame.deallocate() }

    /// Collects without looking at the frames.
    mutating func take(_ queue: any DeviceQueue, limit: Int = FrameBatch.frameCapacity) {
        batch.removeAll()
        queue.collect(into: &batch, counters: received.counters, limit: limit)
    }

    /// Collects without delivering or completing.
    mutating func collect(_ queue: any DeviceQueue) -> [Collected] {
        take(queue)
        return (0..<batch.count).map { frame($0) }
    }

    /// Frame `index` of the batch, bytes copied.
    func frame(_ index: Int) -> Collected {
        let frame = unsafe batch.frames[index]
        let length = unsafe Int(frame.length)
        var bytes = [UInt8](repeating: 0, count: length)
        unsafe bytes.withUnsafeMutableBytes { target in
            if let base = target.baseAddress {
                let n = unsafe batch.copy(index, from: 0, length: length, to: base)
                precondition(n == length, "the segments are shorter than the frame")
            }
        }
        guard unsafe frame.offload else { return Collected(frame: bytes, request: nil) }
        let raw = unsafe batch.headers[index]
        var request: [UInt8] = []
        for shift in stride(from: UInt64(0), to: 64, by: 8) {
            request.append(UInt8(truncatingIfNeeded: raw.low >> shift))
        }
        request += [UInt8(truncatingIfNeeded: raw.high), UInt8(raw.high >> 8)]
        return Collected(frame: bytes, request: request)
    }

    /// Delivers what was collected.
    mutating func give(_ sink: any DeviceQueue) {
        unsafe sink.deliver(
            batch,
            everyFrame,
            batch.count,
            counters: sent.counters,
            scratch: &scratch,
            finisher: &finisher
        )
    }

    /// Delivers what was collected from frame `first` on, as far as there is room.
    ///
    /// `segments` of the first are through already, and afterwards those of the first that is not.
    ///
    /// - Returns: the first frame that is not through.
    mutating func giveWhileRoom(
        _ sink: any DeviceQueue,
        from first: Int,
        segments: inout Int,
        trial: CounterPage
    ) -> Int {
        // SAFETY: the list has `frameCapacity` numbers, of which `batch.count` are used.
        unsafe first
            + sink.deliverWhileRoom(
                batch,
                everyFrame + first,
                batch.count - first,
                segments: &segments,
                counters: sent.counters,
                trial: trial.counters,
                scratch: &scratch,
                finisher: &finisher
            )
    }

    /// One turn from a transmit queue to a receive queue.
    ///
    /// - Returns: how many frames were collected.
    @discardableResult
    mutating func turn(_ source: any DeviceQueue, _ sink: any DeviceQueue) -> Int {
        take(source)
        give(sink)
        source.completeCollected()
        return batch.count
    }

    /// Delivers frames that lie in memory of the test.
    mutating func deliver(_ frames: [[UInt8]], to sink: any DeviceQueue) {
        batch.removeAll()
        let bytes = frames.flatMap { $0 }
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: bytes.count + 1,
            alignment: 1
        )
        defer { unsafe memory.deallocate() }
        unsafe memory.copyBytes(from: bytes)
        guard let base = memory.baseAddress else { return }
        var offset = 0
        for frame in frames {
            // SAFETY: at most `frameCapacity` frames, each inside `memory`.
            unsafe batch.frames[batch.count] = unsafe Frame(
                address: base + offset,
                headLength: UInt32(frame.count),
                length: UInt32(frame.count)
            )
            batch.count += 1
            offset += frame.count
        }
        give(sink)
        batch.removeAll()
    }
}

/// An Ethernet frame with a number in it, of an experimental type.
func makeFrame(_ number: Int, length: Int, using random: inout Seeded) -> [UInt8] {
    var bytes = random.bytes(length)
    let head: [UInt8] = [
        0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1, 0x88, 0xb5,
        UInt8(truncatingIfNeeded: number >> 24), UInt8(truncatingIfNeeded: number >> 16),
        UInt8(truncatingIfNeeded: number >> 8), UInt8(truncatingIfNeeded: number),
    ]
    for k in 0..<min(head.count, length) { bytes[k] = head[k] }
    return bytes
}

extension Feature {
    static let modern: UInt64 =
        version1 | mergeableBuffers | indirect | eventIndex | checksum | guestChecksum
        | guestTSO4 | guestTSO6 | guestECN | guestUFO | guestUSO4 | guestUSO6
}
