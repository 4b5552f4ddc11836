// Frames in extra buffers: what has come and has nowhere to go yet.

import CNetmap

/// Frames that wait in extra buffers of a port's region, the oldest first.
///
/// Buffers are taken from those that the port's specification asked for (`extraBuffers`), and go back to
/// them with the frames. The port stays bound until the queue is gone. One thread at a time may use a port's queues.
@safe public struct FrameQueue: ~Copyable {
    private let core: PortCore
    /// A slot's first word each: buffer, length, flags.
    private let words: UnsafeMutablePointer<UInt64>
    private let capacity: Int
    private var first = 0
    private var used = 0
    /// Frames that wait.
    public private(set) var count = 0

    /// Makes a queue that can take all extra buffers of `port`.
    public init(_ port: borrowing Port) {
        core = port.core
        capacity = max(1, port.specification.extraBuffers)
        unsafe words = .allocate(capacity: capacity)
    }

    deinit {
        for place in 0..<used { core.putExtra(UInt32(truncatingIfNeeded: word(place))) }
        unsafe words.deallocate()
    }

    // SAFETY (whole type): `place` is below `used`, which is `capacity` at most. A buffer's number in a word
    // was checked when it came, and nobody else has the buffer.

    private func index(_ place: Int) -> Int {
        let index = first &+ place
        return index < capacity ? index : index &- capacity
    }

    private func word(_ place: Int) -> UInt64 { unsafe words[index(place)] }

    /// Takes the frame that begins `offset` slots after the oldest of `ring`, and leaves other buffers there.
    ///
    /// A ring of another region has its frame copied.
    ///
    /// - Returns: false if there are too few extra buffers.
    public mutating func take(
        from ring: inout ReceiveRing,
        at offset: Int,
        slots: Int,
        copying: Bool = false
    ) -> Bool {
        precondition(
            offset >= 0 && slots > 0 && offset <= ring.count - slots,
            "took slots that hold no frames"
        )
        guard slots <= capacity - used, slots <= core.extraCount else { return false }
        for slot in 0..<slots {
            guard let own = core.takeExtra() else { return false }
            let cell = unsafe ring.ring.slot(offset + slot)
            let word = unsafe nm_load64(cell)
            let number = UInt32(truncatingIfNeeded: word)
            let length = min(Int((word &>> 32) & 0xffff), core.bufferSize, ring.bufferSize)
            let more = (word &>> 48) & UInt64(NS_MOREFRAG)
            var kept = own
            if !copying, unsafe ring.ring.buffers == core.buffers, number >= 2,
                number < core.binding.buffer_count
            {
                unsafe nm_store64(cell, UInt64(own) | UInt64(NS_BUF_CHANGED) &<< 48)
                kept = number
            } else if length > 0 {
                unsafe nm_copy(core.buffer(own), ring.ring.buffer(number), length)
            }
            unsafe words[index(used)] = UInt64(kept) | UInt64(length) &<< 32 | more &<< 48
            used += 1
        }
        count += 1
        return true
    }

    /// Slots of the oldest frame.
    private var oldest: Int {
        var slots = 0
        while slots < used {
            slots += 1
            if word(slots - 1) & UInt64(NS_MOREFRAG) &<< 48 == 0 { break }
        }
        return slots
    }

    /// Sends frames, the oldest first, as long as there is room.
    ///
    /// - Returns: how many.
    @discardableResult
    public mutating func send(to ring: inout TransmitRing) -> Int {
        var frames = 0
        while used > 0 {
            let slots = oldest
            guard slots <= ring.space else { break }
            let isSwap = unsafe ring.ring.buffers == core.buffers
            for slot in 0..<slots {
                let word = word(slot)
                let cell = unsafe ring.ring.slot(slot)
                let own = UInt32(truncatingIfNeeded: word)
                let other = unsafe nm_load32(cell)
                if isSwap, other >= 2, other < core.binding.buffer_count {
                    unsafe nm_store64(cell, word | UInt64(NS_BUF_CHANGED) &<< 48)
                    core.putExtra(other)
                } else {
                    let length = min(Int((word &>> 32) & 0xffff), ring.bufferSize)
                    if length > 0 {
                        unsafe nm_copy(ring.ring.buffer(other), core.buffer(own), length)
                    }
                    let rest = word & UInt64(NS_MOREFRAG) &<< 48 | UInt64(length) &<< 32
                    unsafe nm_store64(cell, UInt64(other) | rest)
                    core.putExtra(own)
                }
            }
            ring.advance(slots)
            forget(slots)
            frames += 1
        }
        return frames
    }

    /// Drops up to `limit` frames, the oldest first.
    ///
    /// - Returns: how many.
    public mutating func drop(_ limit: Int) -> Int {
        var frames = 0
        while frames < limit, used > 0 {
            let slots = oldest
            for slot in 0..<slots { core.putExtra(UInt32(truncatingIfNeeded: word(slot))) }
            forget(slots)
            frames += 1
        }
        return frames
    }

    private mutating func forget(_ slots: Int) {
        first = index(slots)
        used -= slots
        count -= 1
    }
}
