// Why a frame was not delivered. Every lost frame is counted at one port, in one direction, under
// one of these (design: never lose silently).

/// The reason why a frame was dropped.
///
/// The raw value is the index in the counter page, so a case keeps its number for ever.
public enum DropReason: UInt8, CaseIterable, Sendable {
    /// The receiver had no free buffers: it is slower than its senders.
    case ringFull = 0
    /// Nobody is behind the port yet, or its driver is not running.
    case noReader = 1
    /// Larger than the receiver's buffers, or than any port accepts.
    case oversize = 2
    /// Shorter than an Ethernet header, or the sender's descriptors made no sense.
    case malformed = 3
    /// The virtio-net header asks for the impossible.
    case badOffload = 4
    /// No other port on the switch.
    case noDestination = 5
    /// The destination is on the port that the frame came from.
    case sameSegment = 6
    /// The link was set down by an operator.
    case linkDown = 7
    /// The sender's queue is not enabled, its frames are taken and discarded (vhost-user).
    case queueDisabled = 8
    /// Of a tunnel session that is not the port's, or without its cookie.
    case wrongSession = 16

    /// The place of the reason in the counter page.
    @inlinable public var index: Int { @_noLocks get { Int(rawValue) } }

    /// The name that operators see, in JSON, tables and metrics.
    public var name: String {
        switch self {
        case .ringFull: "ring-full"
        case .noReader: "no-reader"
        case .oversize: "oversize"
        case .malformed: "malformed"
        case .badOffload: "bad-offload"
        case .noDestination: "no-destination"
        case .sameSegment: "same-segment"
        case .linkDown: "link-down"
        case .queueDisabled: "queue-disabled"
        case .wrongSession: "wrong-session"
        }
    }
}
