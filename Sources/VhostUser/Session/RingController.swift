// What a session asks of whoever owns memory and rings.

import CNetmap
public import Netmap

/// A piece of the front-end's address space.
public struct UserRange: Hashable, Sendable {
    /// Where it begins.
    public var address: UInt64
    /// Its length in bytes.
    public var length: Int
}

/// A ring's set-up when it starts, addresses as the front-end sees them.
public struct RingSetup {
    /// Entries.
    public var size: UInt16
    /// The descriptor table or packed ring; in several pieces only behind an IOMMU.
    public var descriptors: [UserRange]
    /// The driver's ring, or its event area.
    public var available: [UserRange]
    /// The device's ring, or its event area.
    public var used: [UserRange]
    /// Where to begin: the argument of SET_VRING_BASE.
    public var base: UInt32
    /// Features that the driver acknowledged.
    public var features: UInt64
    /// Readable when the guest has added buffers; nil if the ring is to be polled.
    public var kick: OwnedDescriptor?
    /// Whether kicks and calls are messages (VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS).
    public var isInBand = false
    /// Whether what is written to the ring itself is to be logged.
    public var isLogged = false

    /// Whether the ring is in the packed format.
    public var isPacked: Bool { features & Feature.packedRing != 0 }
    /// Whether buffer addresses are looked up in the IOTLB.
    public var isTranslated: Bool { features & Feature.accessPlatform != 0 }

    /// Bytes that the three areas of a ring of `size` entries take.
    public static func areas(
        _ size: UInt16,
        isPacked: Bool
    ) -> (descriptors: Int, available: Int, used: Int) {
        let n = Int(size)
        let descriptors = n * NM_VRING_DESC_SIZE
        return isPacked
            ? (descriptors, 4, 4) : (descriptors, 6 + 2 * n, 6 + NM_VRING_USED_ELEM_SIZE * n)
    }
}

/// What a session needs done.
///
/// The engine does it; tests write it down.
public protocol RingController {
    /// Maps the guest's memory; no ring is running.
    mutating func map(_ regions: [MemoryRegion], _ files: [OwnedDescriptor]) throws(SessionError)
    /// Replaces what translated queues look addresses up in.
    ///
    /// When this returns, nothing uses what is not in `iotlb` any more.
    mutating func setTranslations(_ iotlb: IOTLB)
    /// Starts ring `index`, which is not running.
    mutating func start(ring index: Int, _ setup: RingSetup) throws(SessionError)
    /// Stops ring `index`: when this returns nothing touches it any more.
    ///
    /// - Returns: what GET_VRING_BASE answers.
    mutating func stop(ring index: Int) -> UInt32
    /// The front-end knows where ring `index` ended, or begins it anew; what was noted is void.
    mutating func conclude(ring index: Int)
    /// Lets frames flow, or discards them, on a ring that may not be running yet.
    mutating func enable(ring index: Int, _ enabled: Bool)
    /// The guest has added buffers to a ring whose kicks are messages.
    mutating func kick(ring index: Int)
    /// What to write when the guest wants an interrupt; at any time, running or not.
    mutating func setCall(ring index: Int, _ call: OwnedDescriptor?) throws(SessionError)
    /// What to write when the ring is broken.
    mutating func setError(ring index: Int, _ error: OwnedDescriptor?)
    /// Where to note which pages are written from now on; no ring is running.
    mutating func setLog(_ file: OwnedDescriptor, size: UInt64, offset: UInt64) throws(SessionError)
    /// Makes the file in which it is noted how far rings came, for the front-end to keep.
    mutating func makeInflight(
        rings: Int
    ) throws(SessionError) -> (file: OwnedDescriptor, size: UInt64)
    /// Notes how far rings come in `file` from now on, and starts them where it says.
    mutating func setInflight(
        _ file: OwnedDescriptor,
        rings: Int,
        size: UInt64,
        offset: UInt64
    ) throws(SessionError)
    /// Takes the socket on which the front-end is asked.
    mutating func setBackendChannel(_ file: OwnedDescriptor) throws(SessionError)
    /// Asks the front-end, if it has given a socket for that.
    mutating func ask(_ request: BackendRequest)
    /// The device's configuration (virtio 1.2, section 5.1.4).
    func configuration() -> [UInt8]
    /// Announces the guest's address after a migration (SEND_RARP); first octet in the low byte.
    mutating func announce(_ mac: UInt64)
    /// The guest's MTU, as its front-end fixed it.
    mutating func setMTU(_ mtu: UInt64) throws(SessionError)
}
