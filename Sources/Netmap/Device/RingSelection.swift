// Which rings of a port a descriptor binds (netmap-spec 2.3).

import CNetmap
import Glibc

/// The rings that a mode, a ring number and flags select.
struct RingSelection: Equatable {
    var transmit: Range<Int>
    var receive: Range<Int>

    /// All of them, receive rings first: the order in which they get memory.
    var rings: [RingNumber] {
        receive.map { RingNumber(.receive, $0) } + transmit.map { RingNumber(.transmit, $0) }
    }

    /// - Throws: EINVAL, saying what the port has.
    init(
        _ port: RingGeometry,
        mode: Int,
        ring: Int,
        flags: UInt64,
        name: String
    ) throws(NetmapError) {
        let (isHost, isNIC, isOne) =
            switch mode {
            case NR_REG_ALL_NIC, NR_REG_NULL: (false, true, false)
            case NR_REG_SW: (true, false, false)
            case NR_REG_NIC_SW: (true, true, false)
            case NR_REG_ONE_NIC: (false, true, true)
            case NR_REG_ONE_SW: (true, false, true)
            default:
                throw NetmapError(
                    EINVAL,
                    "nr_mode \(mode) selects no rings of '\(name)'; "
                        + "write one of NR_REG_ALL_NIC, _SW, _NIC_SW, _ONE_NIC, _ONE_SW, _NULL"
                )
            }
        if isHost, port.hostTransmitRings == 0, port.hostReceiveRings == 0 {
            throw NetmapError(
                EINVAL,
                "'\(name)' has no host rings: only interfaces have; open it without '^' or '*'"
            )
        }
        if isOne {
            let counts = Direction.both.map { isHost ? port.hostRings($0) : port.rings($0) }
            let most = counts.max() ?? 0
            guard ring < most else {
                throw NetmapError(
                    EINVAL,
                    "'\(name)' has no \(isHost ? "host " : "")ring \(ring); it has \(most), "
                        + "counted from 0"
                )
            }
        }
        func range(_ direction: Direction) -> Range<Int> {
            let nic = port.rings(direction)
            let host = port.hostRings(direction)
            guard isOne else { return (isNIC ? 0 : nic)..<(isHost ? nic + host : nic) }
            let (first, count) = isHost ? (nic, host) : (0, nic)
            // The direction with fewer rings lends its first one.
            let place = first + (ring < count ? ring : 0)
            return place..<place + min(1, count)
        }
        let onlyReceive = flags & UInt64(NR_RX_RINGS_ONLY) != 0
        let onlyTransmit = flags & UInt64(NR_TX_RINGS_ONLY) != 0
        transmit = onlyReceive ? 0..<0 : range(.transmit)
        receive = onlyTransmit ? 0..<0 : range(.receive)
    }

    init(transmit: Range<Int>, receive: Range<Int>) {
        self.transmit = transmit
        self.receive = receive
    }
}

extension Direction {
    static let both: [Direction] = [.receive, .transmit]
}
