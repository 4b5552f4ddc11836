// A frame that meets a receiver without its offload is finished here: its checksum computed, or the
// frame cut into segments. Only headers are rewritten, in private memory; the payload stays where
// the sender put it and is copied once, by the sink, like any other frame's.

import CNetmap
public import Wire

extension RawOffload {
    /// The header as `Wire` understands it.
    @inlinable public var header: VirtioNetHeader {
        @_noLocks get {
            VirtioNetHeader(
                flags: UInt8(truncatingIfNeeded: low),
                gsoType: UInt8(truncatingIfNeeded: low &>> 8),
                hdrLen: UInt16(truncatingIfNeeded: low &>> 16),
                gsoSize: UInt16(truncatingIfNeeded: low &>> 32),
                csumStart: UInt16(truncatingIfNeeded: low &>> 48),
                csumOffset: high
            )
        }
    }

    /// Whether a receiver takes the request as it is.
    ///
    /// - Parameter offloads: bit 0 for missing checksums, bit n for gso_type n, bit 7 for the ECN flag.
    /// - Returns: false if the frame has to be finished first.
    @_noLocks @inlinable
    public func isAccepted(by offloads: UInt8) -> Bool {
        let type = gsoType & 0x7f
        if flags & 1 != 0 && offloads & 1 == 0 { return false }
        if gsoType & 0x80 & ~offloads != 0 { return false }
        return type == 0 || (type < 7 && (offloads &>> type) & 1 != 0)
    }
}

/// Turns one frame with an offload request into complete frames, one at a time.
///
/// One worker owns it. `begin` decides, `finishNext` makes the next frame available as `frame` in
/// `batch`, valid until the next call.
@safe public struct OffloadFinisher: ~Copyable {
    /// Holds the extra segments of `frame`.
    public let batch = FrameBatch()
    /// The frame that `finishNext` made.
    public private(set) var frame: Frame

    private static var window: Int { 2048 }
    private let original: UnsafeMutablePointer<UInt8>
    private let rewritten: UnsafeMutablePointer<UInt8>
    private var plan: Segmenter?
    private var count = 0
    private var next = 0
    private var identification = UInt32.random(in: .min ... .max)

    /// Allocates its memory.
    public init() {
        unsafe original = .allocate(capacity: OffloadFinisher.window)
        unsafe rewritten = .allocate(capacity: OffloadFinisher.window)
        unsafe original.initialize(repeating: 0, count: OffloadFinisher.window)
        unsafe rewritten.initialize(repeating: 0, count: OffloadFinisher.window)
        unsafe frame = unsafe Frame(
            address: UnsafeMutableRawPointer(rewritten),
            length: 0
        )
    }

    deinit {
        unsafe original.deallocate()
        unsafe rewritten.deallocate()
    }

    /// Looks at what frame `index` of `source` asks for.
    ///
    /// - Returns: false if its headers do not allow it; the frame is to be dropped as `bad-offload`.
    public mutating func begin(_ source: borrowing FrameBatch, _ index: Int) -> Bool {
        // SAFETY: `index` is below the source's count (the sink's word).
        let length = unsafe Int(source.frames[index].length)
        let request = unsafe source.headers[index].header
        next = 0
        plan = nil
        switch request.check(frameLength: length) {
        case .none:
            count = 1
            return true
        case .checksum:
            count = 1
            return request.checksumPosition + 2 <= OffloadFinisher.window
        case .segmentation:
            // The headers are copied first and everything is decided on the copy.
            let n = min(length, Segmenter.headerWindow)
            unsafe source.copy(index, from: 0, length: n, to: UnsafeMutableRawPointer(original))
            let header = unsafe Span(_unsafeStart: original, count: n)
            identification = identification &+ 1
            do throws(OffloadFlaw) {
                let made = try Segmenter(
                    header,
                    frameLength: length,
                    offload: request,
                    identification: identification
                )
                plan = made
                count = made.count
                return true
            } catch {
                return false
            }
        case .malformed:
            return false
        }
    }

    /// Leaves out the next `count` frames, which were delivered earlier.
    public mutating func skip(_ count: Int) { next = min(self.count, next + count) }

    /// Makes the next complete frame.
    ///
    /// - Returns: false when there is none left.
    public mutating func finishNext(_ source: borrowing FrameBatch, _ index: Int) -> Bool {
        guard next < count else { return false }
        let segment = next
        next += 1
        // SAFETY: `begin` has checked that every header offset lies inside the window and the frame.
        if let plan {
            var sum = Checksum()
            let summed = plan.summedRange(of: segment)
            addBytes(summed, of: source, index, to: &sum)
            let header = unsafe Span(
                _unsafeStart: original,
                count: min(plan.frameLength, Segmenter.headerWindow)
            )
            var target = unsafe MutableSpan(
                _unsafeStart: rewritten,
                count: OffloadFinisher.window
            )
            let n = plan.writeHeader(segment, of: header, into: &target, payloadSum: sum)
            make(headLength: n, body: plan.payloadRange(of: segment), of: source, index)
            return true
        }
        let request = unsafe source.headers[index].header
        let length = unsafe Int(source.frames[index].length)
        guard request.needsChecksum else {
            make(headLength: 0, body: 0..<length, of: source, index)
            return true
        }
        let head = request.checksumPosition + 2
        unsafe source.copy(index, from: 0, length: head, to: UnsafeMutableRawPointer(rewritten))
        var sum = Checksum()
        let start = Int(request.csumStart)
        let copied = unsafe Span(_unsafeStart: rewritten, count: head)
        sum.add(copied, in: start..<head)
        addBytes(head..<length, of: source, index, to: &sum)
        let value = request.checksumField(for: sum)
        unsafe rewritten[head - 2] = UInt8(truncatingIfNeeded: value &>> 8)
        unsafe rewritten[head - 1] = UInt8(truncatingIfNeeded: value)
        make(headLength: head, body: head..<length, of: source, index)
        return true
    }

    /// The frame of `headLength` rewritten bytes and `body` of the original.
    private mutating func make(
        headLength: Int,
        body: Range<Int>,
        of source: borrowing FrameBatch,
        _ index: Int
    ) {
        // SAFETY: a frame has at most `segmentsPerFrame` segments, for which the batch has room.
        let extras = unsafe source.slice(index, body, into: batch.segments)
        unsafe frame = unsafe Frame(
            address: UnsafeMutableRawPointer(rewritten),
            headLength: UInt32(headLength),
            length: UInt32(headLength + body.count),
            firstExtra: 0,
            extraCount: UInt16(extras)
        )
    }

    /// Sums bytes of a frame that stay where they are.
    ///
    /// Their owner may change them before they are copied; the receiver then finds a wrong checksum,
    /// which harms only the two of them.
    private mutating func addBytes(
        _ range: Range<Int>,
        of source: borrowing FrameBatch,
        _ index: Int,
        to sum: inout Checksum
    ) {
        // SAFETY: as in `make`; each slice lies in its owner's memory.
        let pieces = unsafe source.slice(index, range, into: batch.segments)
        for piece in 0..<pieces {
            let segment = unsafe batch.segments[piece]
            sum.add(unsafe RawSpan(_unsafeStart: segment.address, byteCount: segment.length))
        }
    }
}

extension FrameBatch {
    /// Appends the frame that stands at `count` with its offload request, or drops it for a request
    /// that contradicts itself.
    ///
    /// - Parameters:
    ///   - request: what the sender wrote.
    ///   - counters: where a drop is counted.
    /// - Returns: whether it was appended.
    @inline(never) @_noLocks
    public mutating func appendLast(_ request: RawOffload, _ counters: DirectionCounters) -> Bool {
        // SAFETY: the source has just written the frame at `count`, for which it made sure of room.
        let length = unsafe Int(frames[count].length)
        if case .malformed = request.header.check(frameLength: length) {
            counters.drop(.badOffload)
            return false
        }
        // Of the flags only NEEDS_CSUM is the sender's to say; no other reaches a receiver.
        unsafe headers[count] = RawOffload(low: request.low & ~0xfe, high: request.high)
        // Through a copy: in place, the compiler crashes under the thread sanitizer (Swift 6.3.1).
        var frame = unsafe frames[count]
        unsafe frame.offload = true
        unsafe frames[count] = unsafe frame
        count += 1
        return true
    }

    /// Names the memory of bytes `range` of frame `index`.
    ///
    /// - Parameters:
    ///   - index: which frame.
    ///   - range: which of its bytes.
    ///   - out: room for `segmentsPerFrame` + 1 segments.
    /// - Returns: how many segments that are.
    @_noLocks
    package func slice(_ index: Int, _ range: Range<Int>, into out: UnsafeMutablePointer<Segment>)
        -> Int
    {
        // SAFETY: segments `firstExtra ..< firstExtra + extraCount` were written by the source.
        let frame = unsafe frames[index]
        var segment = unsafe Segment(address: frame.address, length: Int(frame.headLength))
        var next = unsafe Int(frame.firstExtra)
        let end = unsafe next + Int(frame.extraCount)
        var skip = range.lowerBound
        var left = range.count
        var count = 0
        while left > 0 {
            if unsafe skip < segment.length {
                let n = unsafe min(left, segment.length - skip)
                unsafe out[count] = unsafe Segment(address: segment.address + skip, length: n)
                count += 1
                left -= n
                skip = 0
            } else {
                skip -= unsafe segment.length
            }
            if next == end { break }
            unsafe segment = unsafe segments[next]
            next += 1
        }
        return count
    }
}
