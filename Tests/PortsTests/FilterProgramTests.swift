// Our interpreter of filter programs beside libpcap's, instruction for instruction and filter for filter.

import CNetmap
import Glibc
import Testing

@testable import Ports

/// libpcap's own interpreter; nil where there is no libpcap.
private func reference(_ program: [sock_filter], _ frame: [UInt8], _ wire: Int) -> UInt32? {
    typealias Filter =
        @convention(c) (UnsafePointer<sock_filter>, UnsafePointer<UInt8>, UInt32, UInt32) -> UInt32
    guard let library = unsafe dlopen("libpcap.so.0.8", RTLD_NOW),
        let symbol = unsafe dlsym(library, "bpf_filter")
    else { return nil }
    // SAFETY: the signature is that of pcap-bpf.h; both arrays are alive during the call.
    let filter = unsafe unsafeBitCast(symbol, to: Filter.self)
    return unsafe filter(program, frame, UInt32(wire), UInt32(frame.count))
}

private func ours(_ program: [sock_filter], _ frame: [UInt8], _ wire: Int) -> UInt32? {
    guard let filter = FilterProgram.make(program) else { return nil }
    defer { filter.free() }
    // One byte more, so that an empty frame has an address, too.
    return unsafe (frame + [0]).withUnsafeBytes { bytes in
        guard let base = bytes.baseAddress else { return nil }
        return unsafe filter.run(base, length: frame.count, wireLength: wire)
    }
}

/// Frames that many expressions tell apart.
private func frames(_ count: Int) -> [[UInt8]] {
    var generator = SystemRandomNumberGenerator()
    return (0..<count).map { n in
        var frame: [UInt8] =
            (0..<6).map { _ in UInt8.random(in: 0...3) } + [2, 0, 0, 0, 0, UInt8(n & 3)]
        switch n % 6 {
        case 0, 1: frame += [8, 0]
        case 2: frame += [0x81, 0, 0, UInt8.random(in: 0...3), 8, 0]
        case 3: frame += [0x86, 0xdd]
        case 4: frame += [8, 6]
        default: frame += [UInt8.random(in: 0...255), UInt8.random(in: 0...255)]
        }
        let protocols: [UInt8] = [6, 17, 1]
        frame +=
            n % 6 == 3
            ? [0x60, 0, 0, 0, 0, 40, protocols[n % 3], 64]
            : [0x45, 0, 0, 60, 0, 0, n % 7 == 0 ? 0x20 : 0, 0, 64, protocols[n % 3], 0, 0]
        frame += [10, 0, 0, UInt8.random(in: 0...3), 10, 0, 0, UInt8.random(in: 0...3)]
        frame += [0, [22, 53, 80][n % 3], 1, 187]
        frame += (0..<Int.random(in: 0...80)).map { _ in
            UInt8.random(in: 0...255, using: &generator)
        }
        return Array(frame.prefix(n % 10 == 9 ? Int.random(in: 0...frame.count) : frame.count))
    }
}

@Suite("Filters")
struct FilterProgramTests {
    private let hasLibrary = unsafe dlopen("libpcap.so.0.8", RTLD_NOW) != nil

    @Test(arguments: [
        "ip", "ip6", "arp", "tcp", "udp port 53", "tcp dst port 80 or icmp", "host 10.0.0.1",
        "ether host 02:00:00:00:00:01", "vlan 2 and ip", "ether multicast", "len > 100",
        "greater 90",
        "net 10.0.0.0/30 and not port 22", "tcp[13] & 2 != 0", "ip[6:2] & 0x1fff = 0",
        "ip6 and udp",
        "ether[0] & 1 = 1", "icmp[icmptype] = icmp-echo", "(tcp or udp) and portrange 20-60",
        "ip[2:2] - ((ip[0] & 0xf) << 2) > 30", "len / 3 = 20 or len % 7 = 2",
    ])
    func `an expression means what it means to libpcap`(expression: String) throws {
        try #require(hasLibrary, "no libpcap0.8 here: scripts/install-packages test")
        let program = try FilterCompiler.compile(expression)
        var accepted = 0
        let all = frames(600)
        for frame in all {
            let wire = frame.count + 5
            let theirs = reference(program, frame, wire)
            #expect(ours(program, frame, wire) == theirs)
            if theirs != 0 { accepted += 1 }
        }
        #expect(accepted < all.count)
    }

    @Test
    func `random programs do what libpcap's interpreter does`() throws {
        try #require(hasLibrary, "no libpcap0.8 here: scripts/install-packages test")
        let codes: [UInt16] = [
            0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0xb1, 0x00, 0x01, 0x80, 0x81, 0x60, 0x61, 0x02,
            0x03,
            0x07, 0x87, 0x04, 0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3c, 0x44, 0x4c, 0x54, 0x5c,
            0x64,
            0x6c, 0x74, 0x7c, 0x84, 0x94, 0x9c, 0xa4, 0xac, 0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d,
            0x45,
            0x4d, 0x05,
        ]
        let all = frames(50)
        var ran = 0
        for round in 0..<3000 {
            // The words are written first: what they hold before is nobody's business.
            var program = (0..<16).map { sock_filter(code: 0x02, jt: 0, jf: 0, k: $0) }
            let length = Int.random(in: 1...12)
            for index in 0..<length {
                let code = codes.randomElement() ?? 0
                let left = length - index
                var k: UInt32 = [0, 1, 2, 12, 14, 23, 31, 60, .max, 1 << 31][Int.random(in: 0...9)]
                if [0x60, 0x61, 0x02, 0x03].contains(code) { k %= 16 }
                if code & 7 == 4, [0x60, 0x70].contains(code & 0xf0) { k %= 32 }
                if code & 7 == 4, [0x30, 0x90].contains(code & 0xf0), k == 0 { k = 3 }
                if code == 0x05 { k = UInt32.random(in: 0..<UInt32(left)) }
                let isJump = code & 7 == 5 && code != 0x05
                program.append(
                    sock_filter(
                        code: code,
                        jt: isJump ? UInt8.random(in: 0..<UInt8(left)) : 0,
                        jf: isJump ? UInt8.random(in: 0..<UInt8(left)) : 0,
                        k: k
                    )
                )
            }
            program.append(sock_filter(code: 0x16, jt: 0, jf: 0, k: 0))
            let frame = all[round % all.count]
            guard let result = ours(program, frame, frame.count) else {
                Issue.record("refused: \(program)")
                continue
            }
            #expect(result == reference(program, frame, frame.count), "\(program) \(frame)")
            ran += 1
        }
        #expect(ran == 3000)
    }

    @Test
    func `a program that is none is refused`() {
        let end = sock_filter(code: 6, jt: 0, jf: 0, k: 1)
        func one(_ code: UInt16, jt: UInt8 = 0, jf: UInt8 = 0, k: UInt32 = 0) -> [sock_filter] {
            [sock_filter(code: code, jt: jt, jf: jf, k: k), end]
        }
        let good = FilterProgram.make([end])
        #expect(good != nil)
        good?.free()
        for bad in [
            [], one(0xff), one(0x05, k: 1), one(0x05, k: .max), one(0x15, jt: 1), one(0x15, jf: 9),
            one(0x60, k: 16), one(0x02, k: 99), one(0x34), one(0x94), one(0x64, k: 32), one(0x1e),
            one(0x20).dropLast(), [sock_filter](repeating: end, count: 4097),
        ] as [[sock_filter]] {
            let made = FilterProgram.make(bad)
            #expect(made == nil, "\(bad)")
            made?.free()
        }
    }

    @Test
    func `what cannot be compiled is said`() throws {
        try #require(hasLibrary, "no libpcap0.8 here: scripts/install-packages test")
        #expect {
            try FilterCompiler.compile("tcp prot 80")
        } throws: { "\($0)".hasPrefix("filter 'tcp prot 80': ") }
        #expect {
            try FilterCompiler.compile("tcp", library: "libpcap.so.nowhere")
        } throws: { "\($0)".contains("apt-get install libpcap0.8") }
    }
}
