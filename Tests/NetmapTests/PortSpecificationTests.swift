// The grammar of port specifications, by the table of netmap-spec 2.12 and its options.

import CNetmap
import Netmap
import Testing

@Suite struct PortSpecificationTests {
    private func meaning(_ text: String) -> String {
        do throws(PortError) {
            let port = try PortSpecification(text)
            let (mode, ring) =
                switch port.rings {
                case .all: (1, 0)
                case .host: (2, 0)
                case .allAndHost: (3, 0)
                case .one(let ring): (4, ring)
                case .none: (7, 0)
                case .hostOne(let ring): (8, ring)
                }
            let flags = String(port.flags.rawValue, radix: 16)
            return "\(port.name): mode \(mode) ring \(ring) flags \(flags) memory \(port.memoryID)"
        } catch {
            return error.kind == .specification ? "\(error.errno)" : "another error"
        }
    }

    static let plain = "mode 1 ring 0 flags 0 memory 0"

    @Test(arguments: [
        ("netmap:eth0", "eth0: \(plain)"),
        ("netmap:eth0-1", "eth0: mode 4 ring 1 flags 0 memory 0"),
        ("netmap:eth0/x", "eth0: mode 1 ring 0 flags 800 memory 0"),
        ("netmap:eth0/z", "eth0: mode 1 ring 0 flags 400 memory 0"),
        ("netmap:eth0/r", "eth0: mode 1 ring 0 flags 200 memory 0"),
        ("netmap:eth0/t", "eth0: mode 1 ring 0 flags 100 memory 0"),
        ("netmap:eth0-2/Tx", "eth0: mode 4 ring 2 flags 4800 memory 0"),
        ("netmap:eth0*", "eth0: mode 3 ring 0 flags 0 memory 0"),
        ("netmap:eth0^", "eth0: mode 2 ring 0 flags 0 memory 0"),
        ("netmap:eth0^3", "eth0: mode 8 ring 3 flags 0 memory 0"),
        ("netmap:eth0@2", "eth0: mode 1 ring 0 flags 0 memory 2"),
        ("netmap:eth0@2/R", "eth0: mode 1 ring 0 flags 2000 memory 2"),
        ("netmap:eth0@2/R@2", "eth0: mode 1 ring 0 flags 2000 memory 2"),
        ("netmap:vale0:0", "vale0:0: \(plain)"), ("netmap:eth0&", "eth0&: \(plain)"),
        ("vale0:0", "vale0:0: \(plain)"), ("vale:0", "vale:0: \(plain)"),
        ("valeXXX:YYY-4", "valeXXX:YYY: mode 4 ring 4 flags 0 memory 0"),
        ("netmap:14", "14: \(plain)"), ("netmap:pipe{0", "pipe{0: \(plain)"),
        ("netmap:pipe{in-7", "pipe{in: mode 4 ring 7 flags 0 memory 0"),
        ("vale0:0{0", "vale0:0{0: \(plain)"), ("vale0:0}a_b", "vale0:0}a_b: \(plain)"),
        ("vale0:0/Tx@conf:slots=5", "vale0:0: mode 1 ring 0 flags 4800 memory 0"),
        ("netmap:eth0-4094", "eth0: mode 4 ring 4094 flags 0 memory 0"),
        ("netmap:eth0@65535", "eth0: mode 1 ring 0 flags 0 memory 65535"),
        ("vale_x:y", "vale_x:y: \(plain)"), ("netmap:eth0.5 b", "eth0.5 b: \(plain)"),
        (
            "netmap:\(String(repeating: "n", count: 63))",
            "\(String(repeating: "n", count: 63)): \(plain)"
        ),
    ])
    func decodes(text: String, expected: String) {
        #expect(meaning(text) == expected)
    }

    @Test(arguments: [
        "netmap:eth0-", "netmap:eth0@2/R@3", "netmap:eth0@", "vale0:0@", "netmap:", "netmap:^",
        "netmap:{", "", "eth0", "netmapXXX:eth0", "netmap:pipe{1}2", "netmap:eth0-4095",
        "netmap:eth0/x-1", "netmap:eth0-1^", "netmap:eth0@0", "netmap:eth0@65536",
        "netmap:eth0/", "netmap:eth0/q", "vale-x:y", "vale0", "netmap:eth0@netmap:lo/R",
        "netmap:\(String(repeating: "n", count: 64))", "vale0:0@conf=4", "vale0:0@conf",
        "vale0:0@conf:", "vale0:0@conf:rings", "vale0:0@conf:rings=", "vale0:0@conf:rings=x",
        "vale0:0@conf:rings=4,rings=4", "vale0:0@conf:bogus=1", "vale0:0@conf:slots=5,",
        "vale0:0@conf:rings=65536", "vale0:0@@conf:slots=5", "vale0:0@conf:slots=5@",
        "vale0:0@nope", "vale0:0@share", "vale0:0@share=", "vale0:0@share=eth0",
    ])
    func refuses(text: String) {
        #expect(meaning(text) == "22")
        let error = #expect(throws: PortError.self) { _ = try PortSpecification(text) }
        #expect(error?.description.contains("'\(text)'") == true)
    }

    @Test(arguments: ["vale0:0@extmem=/file", "vale0:0@offset=64"])
    func saysWhatIsForCPrograms(text: String) {
        #expect(meaning(text) == "95")
    }

    @Test(arguments: [
        ("vale0:0@conf:rings=4", [4, 4, 0, 0, 0, 0]),
        ("vale0:0@conf:tx-rings=2,rings=4", [2, 4, 0, 0, 0, 0]),
        ("vale0:0@conf:rx_rings=2,rings=4", [4, 2, 0, 0, 0, 0]),
        ("vale0:0@conf:rings=4,rx-rings=2", [4, 2, 0, 0, 0, 0]),
        (
            "vale0:0@conf:tx-slots=64,slots=512,host-rings=3,host-rx-rings=9",
            [0, 0, 3, 9, 64, 512]
        ),
        ("vale0:0@conf:slots=5@conf:rings=2", [2, 2, 0, 0, 5, 5]),
    ])
    func configures(text: String, expected: [Int]) throws {
        let all = try PortSpecification(text).configuration
        #expect(
            [
                all.transmitRings, all.receiveRings, all.hostTransmitRings,
                all.hostReceiveRings, all.transmitSlots, all.receiveSlots,
            ] == expected
        )
    }

    @Test func sharesMemoryByName() throws {
        let port = try PortSpecification("vale0:b@share=vale0:a")
        #expect(port.sharesMemoryWith == "vale0:a" && port.name == "vale0:b")
    }
}
