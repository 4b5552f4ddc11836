// The virtio and vhost-user feature bits that a network back-end knows (virtio 1.2, sections 5.1.3
// and 6; the kernel's headers have the numbers, but as macros that shift, which Swift cannot import).

/// Virtio feature bits.
public enum Feature {
    /// VIRTIO_NET_F_CSUM: the guest may send frames without checksum.
    public static let checksum: UInt64 = 1 << 0
    /// VIRTIO_NET_F_GUEST_CSUM: the guest takes frames without checksum.
    public static let guestChecksum: UInt64 = 1 << 1
    /// VIRTIO_NET_F_MTU.
    public static let mtu: UInt64 = 1 << 3
    /// VIRTIO_NET_F_GUEST_TSO4.
    public static let guestTSO4: UInt64 = 1 << 7
    /// VIRTIO_NET_F_GUEST_TSO6.
    public static let guestTSO6: UInt64 = 1 << 8
    /// VIRTIO_NET_F_GUEST_ECN.
    public static let guestECN: UInt64 = 1 << 9
    /// VIRTIO_NET_F_GUEST_UFO.
    public static let guestUFO: UInt64 = 1 << 10
    /// VIRTIO_NET_F_HOST_TSO4.
    public static let hostTSO4: UInt64 = 1 << 11
    /// VIRTIO_NET_F_HOST_TSO6.
    public static let hostTSO6: UInt64 = 1 << 12
    /// VIRTIO_NET_F_HOST_ECN.
    public static let hostECN: UInt64 = 1 << 13
    /// VIRTIO_NET_F_HOST_UFO.
    public static let hostUFO: UInt64 = 1 << 14
    /// VIRTIO_NET_F_MRG_RXBUF.
    public static let mergeableBuffers: UInt64 = 1 << 15
    /// VIRTIO_NET_F_GUEST_ANNOUNCE.
    public static let guestAnnounce: UInt64 = 1 << 21
    /// VIRTIO_NET_F_MQ.
    public static let multiqueue: UInt64 = 1 << 22
    /// VHOST_F_LOG_ALL: note which pages are written; not a virtio bit, guests never see it.
    public static let logAll: UInt64 = 1 << 26
    /// VIRTIO_F_ANY_LAYOUT.
    public static let anyLayout: UInt64 = 1 << 27
    /// VIRTIO_F_INDIRECT_DESC.
    public static let indirect: UInt64 = 1 << 28
    /// VIRTIO_F_EVENT_IDX.
    public static let eventIndex: UInt64 = 1 << 29
    /// VHOST_USER_F_PROTOCOL_FEATURES, which guests never see.
    public static let protocolFeatures: UInt64 = 1 << 30
    /// VIRTIO_F_VERSION_1.
    public static let version1: UInt64 = 1 << 32
    /// VIRTIO_F_ACCESS_PLATFORM: addresses are those behind the guest's IOMMU.
    public static let accessPlatform: UInt64 = 1 << 33
    /// VIRTIO_F_RING_PACKED.
    public static let packedRing: UInt64 = 1 << 34
    /// VIRTIO_F_IN_ORDER: buffers are used in the order in which they were made available.
    public static let inOrder: UInt64 = 1 << 35
    /// VIRTIO_NET_F_GUEST_USO4.
    public static let guestUSO4: UInt64 = 1 << 54
    /// VIRTIO_NET_F_GUEST_USO6.
    public static let guestUSO6: UInt64 = 1 << 55
    /// VIRTIO_NET_F_HOST_USO.
    public static let hostUSO: UInt64 = 1 << 56

    /// What a port offers to its front-end.
    public static let offered: UInt64 =
        checksum | guestChecksum | mtu | guestTSO4 | guestTSO6 | guestECN | guestUFO | hostTSO4
        | hostTSO6 | hostECN | hostUFO | mergeableBuffers | guestAnnounce | multiqueue
        | anyLayout | indirect | eventIndex | protocolFeatures | version1 | guestUSO4 | guestUSO6
        | hostUSO | packedRing | inOrder | logAll | accessPlatform

    /// The names of the bits in `features`, as virtio spells them, lowest first.
    public static func names(_ features: UInt64) -> [String] {
        let known: [(UInt64, String)] = [
            (checksum, "csum"), (guestChecksum, "guest_csum"), (mtu, "mtu"),
            (guestTSO4, "guest_tso4"), (guestTSO6, "guest_tso6"), (guestECN, "guest_ecn"),
            (guestUFO, "guest_ufo"), (hostTSO4, "host_tso4"), (hostTSO6, "host_tso6"),
            (hostECN, "host_ecn"), (hostUFO, "host_ufo"), (mergeableBuffers, "mrg_rxbuf"),
            (guestAnnounce, "guest_announce"), (multiqueue, "mq"), (anyLayout, "any_layout"),
            (indirect, "indirect_desc"), (eventIndex, "event_idx"), (version1, "version_1"),
            (accessPlatform, "access_platform"), (packedRing, "packed"), (inOrder, "in_order"),
            (guestUSO4, "guest_uso4"), (guestUSO6, "guest_uso6"), (hostUSO, "host_uso"),
        ]
        return known.filter { features & $0.0 != 0 }.map(\.1)
    }

    /// Which requests in a virtio-net header a guest with these features takes: bit 0 for a missing
    /// checksum, bit n for gso_type n, bit 7 for the ECN flag.
    static func acceptedOffloads(_ features: UInt64) -> UInt8 {
        guard features & guestChecksum != 0 else { return 0 }
        var accepted: UInt8 = 1
        if features & guestTSO4 != 0 { accepted |= 1 << 1 }
        if features & guestUFO != 0 { accepted |= 1 << 3 }
        if features & guestTSO6 != 0 { accepted |= 1 << 4 }
        if features & (guestUSO4 | guestUSO6) == guestUSO4 | guestUSO6 { accepted |= 1 << 5 }
        if features & guestECN != 0 { accepted |= 1 << 7 }
        return accepted
    }
}

/// vhost-user protocol feature bits (vhost-user-spec 2.2).
public enum ProtocolFeature {
    /// VHOST_USER_PROTOCOL_F_MQ.
    public static let multiqueue: UInt64 = 1 << 0
    /// VHOST_USER_PROTOCOL_F_LOG_SHMFD.
    public static let logSharedMemory: UInt64 = 1 << 1
    /// VHOST_USER_PROTOCOL_F_RARP.
    public static let rarp: UInt64 = 1 << 2
    /// VHOST_USER_PROTOCOL_F_REPLY_ACK.
    public static let replyAck: UInt64 = 1 << 3
    /// VHOST_USER_PROTOCOL_F_MTU.
    public static let mtu: UInt64 = 1 << 4
    /// VHOST_USER_PROTOCOL_F_BACKEND_REQ.
    public static let backendRequests: UInt64 = 1 << 5
    /// VHOST_USER_PROTOCOL_F_CONFIG.
    public static let configuration: UInt64 = 1 << 9
    /// VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD.
    public static let inflight: UInt64 = 1 << 12
    /// VHOST_USER_PROTOCOL_F_RESET_DEVICE.
    public static let resetDevice: UInt64 = 1 << 13
    /// VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS.
    public static let memorySlots: UInt64 = 1 << 15
    /// VHOST_USER_PROTOCOL_F_STATUS.
    public static let status: UInt64 = 1 << 16

    /// VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS.
    public static let inBandNotifications: UInt64 = 1 << 14

    /// What a port offers to everybody.
    public static let offered: UInt64 =
        multiqueue | logSharedMemory | rarp | replyAck | mtu | backendRequests | inflight
        | resetDevice | inBandNotifications | memorySlots | status

    /// What a port offers to a front-end that has or has not sent SET_OWNER yet.
    ///
    /// QEMU keeps a network device's configuration itself and warns of a back-end that has one. It asks
    /// before it owns; front-ends that read the configuration ask afterwards (vhost-user-spec 2.4).
    public static func offered(isOwned: Bool) -> UInt64 {
        isOwned ? offered | configuration : offered
    }
}
