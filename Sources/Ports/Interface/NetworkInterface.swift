// What can be known of an interface of the host, by its name.

import CNetmap
import Glibc
public import Netmap

/// An Ethernet interface of this network namespace, as it was when it was looked at.
public struct NetworkInterface: Sendable, Equatable {
    /// Its name.
    public let name: String
    /// The kernel's number of it; another one if it was deleted and made again.
    public let index: Int32
    /// The longest payload.
    public let mtu: Int
    /// Whether it was set up.
    public let isUp: Bool
    /// Whether it has a carrier.
    public let isRunning: Bool
    /// How many receive queues it has.
    public let queues: Int
    /// What drives it, such as `veth`.
    public let driver: String

    /// Looks an interface up.
    ///
    /// - Throws: ENODEV if there is none, EMEDIUMTYPE if it is no Ethernet.
    public init(_ name: String) throws(SystemError) {
        var seen = nm_interface()
        let result = unsafe nm_interface_look(name, &seen)
        if result == -EMEDIUMTYPE {
            throw SystemError("interface \(name) is no Ethernet", result: result)
        }
        _ = try SystemError.check(result, "interface \(name)")
        self.name = name
        index = seen.index
        mtu = Int(seen.mtu)
        isUp = seen.flags & UInt32(NM_IFF_UP) != 0
        isRunning = seen.flags & UInt32(NM_IFF_RUNNING) != 0
        queues = Int(seen.rx_queues)
        // SAFETY: the array is inside `seen`, and its last byte is zero.
        driver = unsafe withUnsafeBytes(of: &seen.driver) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
    }

    /// What the stack or the card does to frames before we see them.
    public enum Offload: Int32, Sendable, CaseIterable {
        /// The card joins frames of a TCP connection.
        case lro = 0
        /// The card takes VLAN tags off.
        case receiveVLAN = 1
        /// The stack joins frames of a TCP connection.
        case gro = 2

        /// ethtool's word.
        public var name: String {
            switch self {
            case .lro: "lro"
            case .receiveVLAN: "rxvlan"
            case .gro: "gro"
            }
        }
    }

    /// Whether an offload is on.
    public func has(_ offload: Offload) -> Bool {
        unsafe nm_interface_offload(name, offload.rawValue) == 1
    }

    /// Switches an offload on or off.
    ///
    /// - Returns: whether it is so now.
    public func set(_ offload: Offload, _ on: Bool) -> Bool {
        unsafe nm_interface_set_offload(name, offload.rawValue, on ? 1 : 0) == 0
    }
}
