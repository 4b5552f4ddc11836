// Why a frame's offload request cannot be honoured. A closed list, so that the data plane can count
// by reason without looking at text.

/// What is wrong with an offload request that a guest wrote.
public enum OffloadFlaw: UInt8, Error, Sendable, CaseIterable, BitwiseCopyable {
    /// The checksum field lies outside the frame.
    case checksumOutsideFrame
    /// Segmentation was asked for without a checksum.
    case segmentationWithoutChecksum
    /// No such segmentation type.
    case unknownSegmentationType
    /// A segment size of zero, or for fragments one below eight.
    case segmentSizeTooSmall
    /// The segment size would make packets that IP cannot describe.
    case segmentSizeTooLarge
    /// More than `Segmenter.maximumSegments` segments would arise.
    case tooManySegments
    /// Longer than any frame that IP can describe.
    case frameTooLong
    /// The headers are damaged, or do not fit the frame or the part of it that was looked at.
    case headersIncomplete
    /// The headers are not those of the protocol that was to be segmented.
    case wrongProtocol
    /// The transport header is not where the checksum was to start.
    case checksumStartMismatch
    /// The frame is a fragment already.
    case alreadyFragmented
    /// A source route: the checksum covers a destination that is not in the header. (Unsupported.)
    case sourceRouted
    /// Fragmenting IPv6 with extension headers. (Unsupported.)
    case extensionHeaders

    /// Whether two flaws are the same; written out so that it can be inlined elsewhere.
    @inlinable
    public static func == (a: OffloadFlaw, b: OffloadFlaw) -> Bool {
        a.rawValue == b.rawValue
    }

    /// Whether the request is legitimate and merely not implemented here.
    @inlinable public var isUnsupported: Bool {
        switch self {
        case .sourceRouted, .extensionHeaders: true
        default: false
        }
    }
}

extension OffloadFlaw: CustomStringConvertible {
    /// The flaw as part of a log line.
    public var description: String {
        switch self {
        case .checksumOutsideFrame: "csum_start + csum_offset points outside the frame"
        case .segmentationWithoutChecksum: "gso_type is set without VIRTIO_NET_HDR_F_NEEDS_CSUM"
        case .unknownSegmentationType: "unknown gso_type"
        case .segmentSizeTooSmall: "gso_size is too small"
        case .segmentSizeTooLarge: "gso_size makes segments longer than IP allows"
        case .tooManySegments: "gso_size makes more than \(Segmenter.maximumSegments) segments"
        case .frameTooLong: "the frame is longer than \(Segmenter.maximumFrameLength) bytes"
        case .headersIncomplete: "the headers are damaged or cut off"
        case .wrongProtocol: "gso_type does not match the headers"
        case .checksumStartMismatch: "csum_start or csum_offset does not match the headers"
        case .alreadyFragmented: "gso_type is set on an IP fragment"
        case .sourceRouted: "segmenting source-routed packets is not supported"
        case .extensionHeaders: "fragmenting IPv6 with extension headers is not supported"
        }
    }
}
