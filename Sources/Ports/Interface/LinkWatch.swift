// News of interfaces: the kernel tells whoever listens that one has changed, come or gone.

import CNetmap
public import Netmap

/// A socket that is readable when an interface of this network namespace has changed.
public struct LinkWatch {
    /// To be watched for being readable.
    public let file: OwnedDescriptor

    /// Begins to listen.
    public init() throws(SystemError) {
        file = OwnedDescriptor(
            try SystemError.check(nm_link_watch(), "listen for changes of interfaces")
        )
    }

    /// Forgets the news; whoever is told looks again anyway.
    public func drain() { nm_link_drain(file.number) }
}

/// Keeps an interface promiscuous.
public struct PromiscuousHold: Sendable {
    /// What is to be kept open for it.
    public let file: OwnedDescriptor

    /// Has an interface hear frames to all addresses.
    public init(_ interface: NetworkInterface) throws(SystemError) {
        file = OwnedDescriptor(
            try SystemError.check(
                nm_packet_promiscuous(interface.index),
                "make \(interface.name) promiscuous"
            )
        )
    }
}
