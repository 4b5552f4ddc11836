// Which rings a mode selects (netmap-spec 2.3, the table).

import CNetmap
import Glibc
@testable import Netmap
import Testing

@Suite("A mode selects")
struct DeviceRingRangeTests {
    /// What is selected of a port, or the errno.
    static func select(
        _ port: RingGeometry,
        _ mode: Int,
        _ ring: Int = 0,
        _ flags: Int32 = 0
    ) -> (transmit: Range<Int>, receive: Range<Int>, errno: Int32) {
        do throws(NetmapError) {
            let selection = try RingSelection(
                port,
                mode: mode,
                ring: ring,
                flags: UInt64(flags),
                name: "x"
            )
            return (selection.transmit, selection.receive, 0)
        } catch {
            return (0..<0, 0..<0, error.errno)
        }
    }

    static let port: RingGeometry = {
        var port = RingGeometry()
        (port.transmitRings, port.receiveRings) = (4, 2)
        (port.hostTransmitRings, port.hostReceiveRings) = (1, 3)
        return port
    }()

    @Test("NIC rings, host rings, or both")
    func all() {
        #expect(Self.select(Self.port, NR_REG_ALL_NIC) == (0..<4, 0..<2, 0))
        #expect(Self.select(Self.port, NR_REG_NULL) == (0..<4, 0..<2, 0))
        #expect(Self.select(Self.port, NR_REG_SW) == (4..<5, 2..<5, 0))
        #expect(Self.select(Self.port, NR_REG_NIC_SW) == (0..<5, 0..<5, 0))
    }

    @Test("one ring, or the first one of the direction that has fewer")
    func one() {
        #expect(Self.select(Self.port, NR_REG_ONE_NIC, 1) == (1..<2, 1..<2, 0))
        #expect(Self.select(Self.port, NR_REG_ONE_NIC, 3) == (3..<4, 0..<1, 0))
        #expect(Self.select(Self.port, NR_REG_ONE_NIC, 4).errno == EINVAL)
        #expect(Self.select(Self.port, NR_REG_ONE_SW, 0) == (4..<5, 2..<3, 0))
        #expect(Self.select(Self.port, NR_REG_ONE_SW, 2) == (4..<5, 4..<5, 0))
        #expect(Self.select(Self.port, NR_REG_ONE_SW, 3).errno == EINVAL)
    }

    @Test("nothing of the other direction with an ONLY flag")
    func only() {
        #expect(Self.select(Self.port, NR_REG_ALL_NIC, 0, NR_RX_RINGS_ONLY) == (0..<0, 0..<2, 0))
        #expect(Self.select(Self.port, NR_REG_ONE_SW, 2, NR_TX_RINGS_ONLY) == (4..<5, 0..<0, 0))
    }

    @Test(
        "no host rings of a port that has none: EINVAL",
        arguments: [NR_REG_SW, NR_REG_NIC_SW, NR_REG_ONE_SW]
    )
    func noHost(mode: Int) throws {
        #expect(Self.select(RingGeometry(), mode).errno == EINVAL)
        let client = DeviceClient()
        #expect(try client.refuse("vale0:a", DeviceClient.registration(mode: mode)) == EINVAL)
        client.expectNothingLeft()
    }
}
