// What both ring formats remember between two questions whether to interrupt the guest.

/// How far a ring was when it was last asked.
@usableFromInline struct InterruptState: BitwiseCopyable {
    @usableFromInline var signalled: UInt16
    @usableFromInline var isValid = false
    /// Whether anything was returned since.
    @usableFromInline var hasNews = false

    @_noLocks @inlinable init(_ index: UInt16) { signalled = index }

    /// Asks whether the guest is to be interrupted for what was returned since the last time.
    ///
    /// - Returns: nil if nothing was; else how far the ring was then, and whether there was no such time.
    @_noLocks @inlinable
    mutating func ask(_ new: UInt16) -> (old: UInt16, isFirst: Bool)? {
        guard hasNews else { return nil }
        let result = (signalled, !isValid)
        hasNews = false
        signalled = new
        isValid = true
        return result
    }
}
