// The forwarding table's key: its layout against a frame's bytes, and its text form.

import Testing
import Wire

@Suite("MAC addresses")
struct MACAddressTests {
    @Test("hold the first octet lowest, as a little-endian load of a frame would")
    func layout() throws {
        let frame = Sample.tcp4
        let load = (0..<8).reduce(UInt64(0)) { $0 | UInt64(frame[$1]) << (8 * UInt64($1)) }
        let address = try #require(MACAddress(in: frame))
        #expect(address == MACAddress(rawValue: load))
        #expect(address.rawValue == load & 0xffff_ffff_ffff)
        #expect(address == MACAddress(0x52, 0x54, 0x00, 0xab, 0xcd, 0xef))
        #expect((0..<6).map { address[$0] } == Array(frame[0..<6]))
        #expect(MACAddress(in: frame, at: 6)?.description == "52:54:00:12:34:56")
    }

    @Test("are nil beyond the end, wherever that is")
    func bounds() {
        let bytes = [UInt8](repeating: 1, count: 6)
        for offset in [-1, 1, 6, 7, Int.max, Int.min] {
            #expect(MACAddress(in: bytes, at: offset) == nil)
        }
        #expect(MACAddress(in: []) == nil)
    }

    @Test("know groups, everybody and local assignment")
    func kinds() {
        let station = MACAddress(0x52, 0x54, 0, 0, 0, 1)
        #expect(!station.isMulticast && station.isLocal && station.isUnicastStation)
        let group = MACAddress(0x01, 0x80, 0xc2, 0, 0, 0)
        #expect(group.isMulticast && !group.isBroadcast && !group.isLocal)
        #expect(MACAddress.broadcast.isBroadcast && MACAddress.broadcast.isMulticast)
        #expect(!MACAddress.zero.isUnicastStation && !group.isUnicastStation)
    }

    @Test(
        "are read from text with colons or dashes",
        arguments: [
            ("52:54:00:12:34:56", "52:54:00:12:34:56"),
            ("52-54-00-AB-cd-EF", "52:54:00:ab:cd:ef"),
            ("1:2:3:4:5:f", "01:02:03:04:05:0f"),
        ]
    )
    func parsing(text: String, expected: String) throws {
        let address = try #require(MACAddress(text))
        #expect(address.description == expected)
        #expect(MACAddress(address.description) == address)
    }

    @Test(
        "refuse what is not an address",
        arguments: [
            "", ":", "52:54:00:12:34", "52:54:00:12:34:", "52:54:00:12:34:56:",
            "52:54:00:12:34:567", "52:54:00:12:34:56:78", "52:54-00:12:34:56", "525400123456",
            "52:54::12:34:56",
            "52:54:00:12:34:5g", " 52:54:00:12:34:56", "52:54:00:12:34:56 ", ":52:54:00:12:34:56",
            "５2:54:00:12:34:56", "+2:54:00:12:34:56",
        ]
    )
    func refusing(text: String) {
        #expect(MACAddress(text) == nil)
    }
}
