// What VDE clients and switches say, from each other's side.

import Ports
import Testing

@Suite struct VdeMessageTests {
    private let request = VdeRequest(path: "/tmp/sw/.1-0", port: 3, description: "QEMU pid=1")

    @Test func aRequestIsLaidOutAsLibvdeplugDoes() throws {
        let bytes = request.bytes
        // Seen on a socket between vde_plug and vde_switch.
        #expect(bytes.prefix(14) == [0xce, 0xfa, 0xed, 0xfe, 3, 0, 0, 0, 0, 3, 0, 0, 1, 0])
        #expect(bytes.count == 122 + 10)
        #expect(Array(bytes[14..<26]) == Array("/tmp/sw/.1-0".utf8))
        #expect(bytes[26..<122].allSatisfy { $0 == 0 })
        #expect(try VdeRequest(bytes) == request)
    }

    @Test func anAnswerIsAnAddress() {
        let bytes = VdeAddress("/tmp/sw/003.1").bytes
        #expect(bytes.count == 110)
        #expect(VdeAddress(bytes)?.path == "/tmp/sw/003.1")
    }

    @Test func everyShorterRequestIsRefused() {
        let bytes = request.bytes
        for count in 0..<122 {
            #expect(throws: VdeRequest.Flaw.self) { try VdeRequest(Array(bytes.prefix(count))) }
        }
    }

    @Test(
        "what makes no sense is refused",
        arguments: [
            (0, 0), (3, 0), (4, 2), (5, 1),  // magic, version
            (12, 2), (13, 1),  // family
            (14, 0), (14, 0x40),  // no path, no absolute path
            (15, 0xff),  // no text
        ] as [(Int, UInt8)]
    )
    func hostile(offset: Int, value: UInt8) {
        var bytes = request.bytes
        bytes[offset] = value
        #expect(throws: VdeRequest.Flaw.self) { try VdeRequest(bytes) }
    }

    @Test func aPathWithoutEndIsRefused() {
        var bytes = request.bytes
        for index in 14..<122 { bytes[index] = UInt8(ascii: "/") }
        #expect(throws: VdeRequest.Flaw.self) { try VdeRequest(bytes) }
    }

    @Test func aLongDescriptionIsCutAndCleaned() throws {
        let bytes =
            VdeRequest(path: "/x", port: 0, description: "").bytes + [27, UInt8(ascii: "[")]
            + Array(repeating: UInt8(ascii: "a"), count: 5000)
        let description = try VdeRequest(bytes).description
        #expect(description.hasPrefix("[a") && description.count == 127)
        let broken = VdeRequest(path: "/x", port: 0, description: "").bytes + [0xff, 0xfe, 0x41]
        #expect(try VdeRequest(broken).description.hasSuffix("A"))
    }
}
