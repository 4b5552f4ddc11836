// What a virtio-net header asks for, whether that can be done, and doing it for checksums.
// Segmentation has its own file.

extension VirtioNetHeader {
    /// What remains to be done to a frame before it is complete.
    public enum Offload: Sendable, Equatable, BitwiseCopyable {
        /// Nothing.
        case none
        /// The checksum.
        case checksum
        /// Segmentation, which includes the checksum of every segment.
        case segmentation(Segmentation)
        /// The header contradicts itself or the frame's length: drop the frame, count it.
        case malformed(OffloadFlaw)

        /// Whether two answers are the same; written out so that it can be inlined elsewhere.
        @inlinable
        public static func == (a: Offload, b: Offload) -> Bool {
            switch (a, b) {
            case (.none, .none), (.checksum, .checksum): true
            case (.segmentation(let a), .segmentation(let b)): a == b
            case (.malformed(let a), .malformed(let b)): a == b
            default: false
            }
        }
    }

    /// Checks what a guest wrote against the length of the frame behind the header.
    ///
    /// A result other than `malformed` means that `checksumPosition` and the byte after it lie in
    /// the frame if there is something to do. It says nothing yet about the frame's own headers.
    @_noLocks @inlinable
    public func check(frameLength: Int) -> Offload {
        guard let kind = segmentation else { return .malformed(.unknownSegmentationType) }
        if needsChecksum, checksumPosition &+ 2 > frameLength {
            return .malformed(.checksumOutsideFrame)
        }
        // ECN qualifies TCP segmentation; alone or with UDP it is a type that does not exist.
        if hasECN, !(kind == .tcpv4 || kind == .tcpv6) {
            return .malformed(.unknownSegmentationType)
        }
        if gsoType == 0 { return needsChecksum ? .checksum : .none }
        guard needsChecksum else { return .malformed(.segmentationWithoutChecksum) }
        guard gsoSize > 0 else { return .malformed(.segmentSizeTooSmall) }
        return .segmentation(kind)
    }

    /// The value to store at `checksumPosition` to complete a frame that needs no segmentation.
    ///
    /// The field holds the sum of the pseudo header, which is why summing it along is enough. A UDP
    /// checksum that comes out as 0 becomes 0xffff, since 0 would say that there is none.
    ///
    /// - Parameter sum: The sum of all bytes from `csumStart` to the end of the frame, with the
    ///   checksum field as the guest left it.
    /// - Returns: A number, to be stored high byte first.
    @inlinable
    public func checksumField(for sum: Checksum) -> UInt16 {
        csumOffset == 6 ? sum.finishUDP() : sum.finish()
    }

    /// The header for a receiver behind a VLAN tag that was pushed (4) or popped (-4).
    ///
    /// Nil where the shift leaves the field's range; such a header was malformed before.
    @inlinable
    public func shifted(by distance: Int) -> VirtioNetHeader? {
        guard needsChecksum else { return self }
        let start = Int(csumStart) &+ distance
        guard start >= 0, start <= 0xffff else { return nil }
        var shifted = self
        shifted.csumStart = UInt16(truncatingIfNeeded: start)
        return shifted
    }

    /// Completes the checksum of a frame that lies in one piece.
    ///
    /// - Parameters:
    ///   - sum: The sum of all bytes from `csumStart` to the end of the frame.
    ///   - frame: The frame, into which the checksum is stored; `check(frameLength:)` has passed.
    @inlinable
    public func storeChecksum(for sum: Checksum, into frame: inout MutableSpan<UInt8>) {
        frame.storeBigEndian(checksumField(for: sum), at: checksumPosition)
    }
}
