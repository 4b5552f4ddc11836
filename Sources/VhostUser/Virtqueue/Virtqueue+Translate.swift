// From the addresses that a guest's driver uses to ours.

extension Virtqueue where Format: ~Copyable {
    /// Translates `length` bytes at guest address `address` if they lie in one region.
    ///
    /// - Parameters:
    ///   - address: as the driver gave it.
    ///   - length: bytes.
    ///   - isWrite: whether the device is going to write there.
    /// - Returns: where they are for us, or nil; then it may have been noted that a translation is missing.
    @inlinable
    mutating func translate(
        _ address: UInt64,
        _ length: Int,
        isWrite: Bool
    ) -> UnsafeMutableRawPointer? {
        // SAFETY: `lastRegion` is below the table's length, or 0 in a table of one empty region.
        let region = unsafe regions[lastRegion]
        let offset = unsafe address &- region.guest
        if unsafe offset < region.size, unsafe UInt64(length) <= region.size &- offset {
            return unsafe region.host + Int(offset)
        }
        return unsafe translateElsewhere(address, length, isWrite)
    }

    @inlinable @inline(never)
    mutating func translateElsewhere(
        _ address: UInt64,
        _ length: Int,
        _ isWrite: Bool
    ) -> UnsafeMutableRawPointer? {
        if let translator = unsafe translator {
            guard let found = unsafe translator.pointee.find(address, isWrite: isWrite) else {
                return nil
            }
            return unsafe UInt64(length) <= found.length ? found.host : nil
        }
        for index in 0..<regionCount {
            // SAFETY: below `regionCount`, the table's length.
            let region = unsafe regions[index]
            let offset = unsafe address &- region.guest
            if unsafe offset < region.size, unsafe UInt64(length) <= region.size &- offset {
                lastRegion = index
                return unsafe region.host + Int(offset)
            }
        }
        return nil
    }

    /// How many bytes from `address` on lie in one region.
    @inlinable
    mutating func contiguous(_ address: UInt64, isWrite: Bool) -> Int {
        if let translator = unsafe translator {
            return unsafe Int(translator.pointee.find(address, isWrite: isWrite)?.length ?? 0)
        }
        for index in 0..<regionCount {
            // SAFETY: below `regionCount`, the table's length.
            let region = unsafe regions[index]
            let offset = unsafe address &- region.guest
            if unsafe offset < region.size { return unsafe Int(region.size - offset) }
        }
        return 0
    }

    // MARK: IOMMU

    /// Whether the visit cannot go on before the front-end has translated something.
    @inlinable var isTranslationMissing: Bool {
        unsafe translator?.pointee.isMissing ?? false
    }

    /// Begins a visit: no address from before is used any more.
    @inlinable
    mutating func beginVisit() {
        if let translator = unsafe translator { unsafe translator.pointee.begin() }
    }

    /// Whether the front-end has to be asked for translations.
    @inlinable public var hasMisses: Bool { unsafe translator?.pointee.hasMisses ?? false }

    /// What to ask the front-end for; for the control thread.
    public func takeMisses() -> [BackendRequest] { unsafe translator?.pointee.takeMisses() ?? [] }

    /// Looks up the guest's next receive buffers, so that translations are there before frames are.
    ///
    /// Drivers that map each buffer by itself would lose a frame to each otherwise. Only the first
    /// descriptor of a chain is looked at; the rest of it is asked for when it is used.
    @inlinable
    public mutating func lookAhead() {
        guard let translator = unsafe translator, !isFaulty else { return }
        unsafe translator.pointee.begin()
        var at = position
        for _ in 0..<lookAheadCount {
            guard ring.availability(at) > 0, ring.head(at) < ring.size else { return }
            let descriptor = ring.descriptor(Int(ring.head(at)))
            let flags = Format.flags(descriptor)
            var address = descriptor.address
            var left = descriptor.length
            while left > 0 {
                let n = contiguous(address, isWrite: flags & 4 == 0)
                // Unknown: whatever is behind this page is looked up by itself.
                let step = n > 0 ? n : Int(4096 &- (address & 4095))
                address = address &+ UInt64(step)
                left = left &- step
            }
            // How many slots of a packed ring the chain takes is known when all of it is translated.
            if flags & 1 != 0, !Format.tablesAreLinked { return }
            at = ring.advance(at, by: 1)
        }
    }

    /// How many buffers are looked up ahead of frames: as many as misses can be noted.
    @inlinable var lookAheadCount: Int { 64 }
}
