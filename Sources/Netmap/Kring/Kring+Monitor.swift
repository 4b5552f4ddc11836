// Monitors: rings that get what passes through another ring (netmap-spec 2.14).

import CNetmap

/// A monitor's ring beside the one that it watches.
@unsafe package struct Watcher {
    /// The monitor's receive ring.
    package let ring: UnsafeMutablePointer<Kring>
    /// Whether frames are copied; else buffers are swapped in the memory that both rings share.
    package let isCopy: Bool

    package init(ring: UnsafeMutablePointer<Kring>, isCopy: Bool) {
        unsafe self.ring = unsafe ring
        unsafe self.isCopy = isCopy
    }
}

/// A ring's watchers: replaced as a whole by the control plane, freed after a grace period.
@unsafe package struct Watchers {
    let count: Int
    let items: UnsafeMutablePointer<Watcher>

    /// The address to store in `Kring.watchers`; 0 for none.
    package static func make(_ watchers: [Watcher]) -> UInt64 {
        guard unsafe !watchers.isEmpty else { return 0 }
        let items = unsafe UnsafeMutablePointer<Watcher>.allocate(capacity: watchers.count)
        for index in unsafe 0..<watchers.count {
            unsafe (items + index).initialize(to: watchers[index])
        }
        let list = UnsafeMutablePointer<Watchers>.allocate(capacity: 1)
        unsafe list.initialize(to: Watchers(count: watchers.count, items: items))
        return UInt64(UInt(bitPattern: list))
    }

    /// Frees what `make` made, when no worker can use it any more.
    package static func free(_ address: UInt64) {
        guard let list = unsafe UnsafeMutablePointer<Watchers>(bitPattern: UInt(address)) else {
            return
        }
        unsafe list.pointee.items.deallocate()
        unsafe list.deallocate()
    }
}

extension Kring {
    // SAFETY (whole extension): the list lives for the turn in which it was loaded (Watchers.free), and
    // so do the rings in it; slots and buffers are checked as in `collect`.

    private var watchersNow: UnsafePointer<Watchers>? {
        @_noLocks get {
            unsafe UnsafePointer(bitPattern: UInt(truncatingIfNeeded: watchers))
        }
    }

    /// Shows monitors that copy the `count` slots from `start` on.
    @usableFromInline @inline(never) @_noLocks
    func show(_ start: Int, _ count: Int) {
        guard count > 0, let list = unsafe watchersNow else { return }
        var isFirst = true
        for index in unsafe 0..<list.pointee.count {
            let watcher = unsafe list.pointee.items[index]
            // Only one can swap; to others in the same memory a copy looks the same.
            let isSwap = unsafe !watcher.isCopy && isFirst
            if unsafe !watcher.isCopy { isFirst = false }
            if isSwap { continue }
            unsafe watcher.ring.pointee.take(self, start, count, isSwap: false)
        }
    }

    /// Gives the first zero-copy monitor the `count` slots from `start` on, which come back with other
    /// buffers.
    @usableFromInline @inline(never) @_noLocks
    func swap(_ start: Int, _ count: Int) {
        guard count > 0, let list = unsafe watchersNow else { return }
        for index in unsafe 0..<list.pointee.count {
            let watcher = unsafe list.pointee.items[index]
            if unsafe watcher.isCopy { continue }
            unsafe watcher.ring.pointee.take(self, start, count, isSwap: true)
            return
        }
    }

    /// Fills this monitor's ring from `source`; of more slots than are free, the newest are kept.
    @_noLocks
    private mutating func take(_ source: borrowing Kring, _ start: Int, _ count: Int, isSwap: Bool)
    {
        while unsafe nm_try_lock(&guardWord) == 0 { nm_pause() }
        takeBack()
        var free = hwcur - hwtail - 1
        if free < 0 { free += slotCount }
        let lost = max(0, count - free)
        if lost > 0 { note(drops: lost) }
        var from = (start + lost) % source.slotCount
        var to = hwtail
        let mark = source.isTransmit ? UInt64(NS_TXMON) : 0
        for _ in lost..<count {
            let cell = unsafe source.slotBase + from &* NM_SLOT_SIZE
            let own = unsafe slotBase + to &* NM_SLOT_SIZE
            let word = unsafe nm_load64(cell)
            let mine = unsafe nm_load64(own)
            let index = UInt32(truncatingIfNeeded: word)
            let buffer = UInt32(truncatingIfNeeded: mine)
            let flags = (word &>> 48) & ~UInt64(NS_BUF_CHANGED) | mark
            var length = Int((word &>> 32) & 0xffff)
            if isSwap {
                unsafe nm_store64(
                    own,
                    UInt64(index) | UInt64(length) &<< 32 | flags &<< 48
                )
                let kept = (word &>> 48) | UInt64(NS_BUF_CHANGED)
                unsafe nm_store64(
                    cell,
                    UInt64(buffer) | (mine &>> 32 & 0xffff) &<< 32 | kept &<< 48
                )
            } else {
                length = min(min(length, source.bufferSize), bufferSize)
                if index >= source.bufferCount || buffer >= bufferCount { length = 0 }
                if length > 0 {
                    unsafe nm_copy(
                        buffers + Int(buffer) &* bufferSize,
                        source.buffers + Int(index) &* source.bufferSize,
                        length
                    )
                }
                unsafe nm_store64(
                    own,
                    UInt64(buffer) | UInt64(length) &<< 32 | flags &<< 48
                )
            }
            from = from + 1 == source.slotCount ? 0 : from + 1
            to = to + 1 == slotCount ? 0 : to + 1
        }
        if to != hwtail {
            hwtail = to
            publish()
        }
        // Inside, or another worker answers for what it has not seen.
        let isWanted = needsNotice()
        unsafe nm_unlock(&guardWord)
        if isWanted { ringListeners() }
    }

    /// Adds to the drops that `port stat` shows of the ring.
    @_noLocks
    package func note(drops: Int) {
        guard let control = unsafe control else { return }
        // SAFETY: the ring's own kring; a value that the program spoils is nobody else's.
        let cell = unsafe (control + Int(NM_KRING_DROPS)).assumingMemoryBound(to: UInt64.self)
        unsafe nm_count(cell, UInt64(truncatingIfNeeded: drops))
    }
}
