// From a receive ring to a transmit ring: buffers are exchanged where both are in one region.

import CNetmap

extension TransmitRing {
    /// Whether buffers can be exchanged with `source`: both rings are in one region.
    @_noLocks @inlinable public func sharesMemory(with source: borrowing ReceiveRing) -> Bool {
        unsafe ring.buffers == source.ring.buffers && ring.bufferSize == source.ring.bufferSize
    }

    /// Moves slots from `source`, as many as there are, as have room, and as `limit` says.
    ///
    /// Frames of several slots keep their order; their pieces may go in two calls.
    ///
    /// - Parameters:
    ///   - source: where frames have come.
    ///   - limit: most slots.
    ///   - copying: copies even where buffers could be exchanged.
    /// - Returns: how many slots were moved.
    @_noLocks @discardableResult @inlinable
    public mutating func forward(
        from source: inout ReceiveRing,
        limit: Int = .max,
        copying: Bool = false
    ) -> Int {
        let n = min(limit, min(ring.count, source.ring.count))
        guard n > 0 else { return 0 }
        let isSwap =
            unsafe !copying && ring.buffers == source.ring.buffers
            && ring.bufferSize == source.ring.bufferSize
        for offset in 0..<n {
            if isSwap {
                TransmitRing.exchange(source.ring, ring, offset, offset)
            } else {
                TransmitRing.copy(source.ring, ring, offset, offset)
            }
        }
        ring.advance(n)
        source.ring.advance(n)
        return n
    }

    /// Moves whole frames of one slot that `body` lets pass, after it has changed them in place.
    ///
    /// Frames of several slots pass as they are.
    ///
    /// - Parameters:
    ///   - source: where frames have come.
    ///   - limit: most slots.
    ///   - body: returns whether the frame goes on; else it is dropped here.
    /// - Returns: how many slots were taken from `source`.
    @discardableResult @inlinable
    public mutating func forward(
        from source: inout ReceiveRing,
        limit: Int = .max,
        _ body: (inout MutableSpan<UInt8>) -> Bool
    ) -> Int {
        let available = source.ring.count
        let room = ring.count
        let isSwap = sharesMemory(with: source)
        var taken = 0
        var sent = 0
        while taken < limit {
            let slots = source.frameSlots(at: taken, available)
            if slots == 0 || sent &+ slots > room { break }
            if slots > 1 || source.edit(at: taken, body) {
                for _ in 0..<slots {
                    if isSwap {
                        TransmitRing.exchange(source.ring, ring, taken, sent)
                    } else {
                        TransmitRing.copy(source.ring, ring, taken, sent)
                    }
                    taken = taken &+ 1
                    sent = sent &+ 1
                }
            } else {
                taken = taken &+ 1
            }
        }
        ring.advance(sent)
        source.ring.advance(taken)
        return taken
    }

    /// Sends the frame that begins `offset` slots after the oldest of `source`, which keeps its slots until
    /// they are released: with the frame in them if it was copied, else with other buffers.
    ///
    /// - Parameters:
    ///   - source: where the frame has come.
    ///   - offset: where it begins.
    ///   - slots: how many it takes (`frameSlots`).
    ///   - copying: copies even where buffers could be exchanged.
    /// - Returns: whether there was room.
    @_noLocks @inlinable
    public mutating func send(
        from source: inout ReceiveRing,
        at offset: Int,
        slots: Int,
        copying: Bool = false
    ) -> Bool {
        precondition(
            offset >= 0 && slots > 0 && offset <= source.ring.count &- slots,
            "sent slots that hold no frames"
        )
        guard slots <= ring.count else { return false }
        let isSwap = !copying && sharesMemory(with: source)
        for slot in 0..<slots {
            if isSwap {
                TransmitRing.exchange(source.ring, ring, offset &+ slot, slot)
            } else {
                TransmitRing.copy(source.ring, ring, offset &+ slot, slot)
            }
        }
        ring.advance(slots)
        return true
    }

    // SAFETY (both): slots of the program's; words are loaded once, and a buffer's number goes on as it is
    // or is brought into bounds before an address is made of it.

    @_noLocks @usableFromInline
    static func exchange(_ from: PortRing, _ to: PortRing, _ source: Int, _ target: Int) {
        let received = unsafe from.slot(source)
        let free = unsafe to.slot(target)
        let word = unsafe nm_load64(received)
        let other = unsafe nm_load64(free)
        let more = (word &>> 48) & UInt64(NS_MOREFRAG)
        let changed = UInt64(NS_BUF_CHANGED)
        unsafe nm_store64(free, word & 0xffff_ffff_ffff | (more | changed) &<< 48)
        unsafe nm_store64(received, other & 0xffff_ffff_ffff | changed &<< 48)
    }

    @_noLocks @usableFromInline
    static func copy(_ from: PortRing, _ to: PortRing, _ source: Int, _ target: Int) {
        let word = unsafe nm_load64(from.slot(source))
        let free = unsafe to.slot(target)
        let number = unsafe nm_load32(free)
        let length = min(Int((word &>> 32) & 0xffff), min(from.bufferSize, to.bufferSize))
        if length > 0 {
            unsafe nm_copy(
                to.buffer(number),
                from.buffer(UInt32(truncatingIfNeeded: word)),
                length
            )
        }
        let more = (word &>> 48) & UInt64(NS_MOREFRAG)
        unsafe nm_store64(free, UInt64(number) | UInt64(length) &<< 32 | more &<< 48)
    }
}
