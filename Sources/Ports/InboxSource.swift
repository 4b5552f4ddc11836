// A queue that reads frames from a descriptor of this host into memory of its own. What is special
// about each kind is how it reads, and nothing else.

public import Netmap

/// How frames come from a descriptor: the closed set of kinds that are read.
///
/// Each has `read(into:counters:)`, which reads frames until there are none, or no room, and returns
/// zero or the errno of why the descriptor can be read no more.
public enum FrameReader {
    /// One queue of a tap interface.
    case tap(TapReader)
    /// A packet socket without a ring.
    case packet(PacketReader)
}

/// The frames that a reader brings, as workers take them.
///
/// One worker serves it; `fault` may be read by others.
@safe public struct InboxSource: ~Copyable {
    private var reader: FrameReader
    private var inbox = Inbox()
    /// Why nothing comes any more: an errno, or 0.
    public private(set) var fault: Int32 = 0
    /// Where frames are counted that have to be dropped when they are read.
    private let counters: DirectionCounters

    /// Takes over a reader.
    ///
    /// - Parameters:
    ///   - reader: what brings frames.
    ///   - counters: of the direction from the port.
    public init(_ reader: consuming FrameReader, counters: DirectionCounters) {
        self.reader = reader
        self.counters = counters
    }

    /// Reads, unless there is something to forward already.
    @_noLocks
    private mutating func fill() {
        guard !inbox.hasNews, fault == 0 else { return }
        switch reader {
        case .tap(let tap): fault = tap.read(into: &inbox, counters: counters)
        case .packet(let packet): fault = packet.read(into: &inbox, counters: counters)
        }
    }

    /// Takes the next batch, at most `limit` frames.
    @_noLocks
    public mutating func collect(
        into batch: inout FrameBatch,
        counters: DirectionCounters,
        limit: Int
    ) {
        fill()
        inbox.collect(into: &batch, counters: counters, limit: limit)
    }

    /// Frees the frames that were collected.
    @_noLocks public mutating func completeCollected() { inbox.complete() }

    /// Leaves what was collected where it is, to be collected again.
    @_noLocks public mutating func forgetCollected() { inbox.forget() }

    /// Looks once more before the worker sleeps; the kernel wakes it by the descriptor.
    ///
    /// - Returns: whether there is something after all.
    @_noLocks
    public mutating func arm() -> Bool {
        fill()
        return inbox.hasNews || fault != 0
    }

    /// How many frames are through.
    public var place: UInt32 { @_noLocks get { inbox.place } }
}
