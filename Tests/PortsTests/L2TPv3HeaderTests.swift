// L2TPv3's header, from both sides.

import Netmap
@testable import Ports
import Testing

@Suite struct L2TPv3HeaderTests {
    private func header(
        udp: Bool = true,
        ipv6: Bool = false,
        cookie: L2TPv3Header.CookieSize = .long,
        counter: Bool = false,
        pinned: Bool = false,
        padding: Int = 0
    ) -> L2TPv3Header {
        L2TPv3Header(
            isUDP: udp,
            isIPv6: ipv6,
            cookieSize: cookie,
            hasCounter: counter,
            isCounterPinned: pinned,
            sessions: (0x0102_0304, 0x0a0b_0c0d),
            cookies: (0x1112_1314_1516_1718, 0x2122_2324_2526_2728),
            padding: padding
        )
    }

    private func encoded(_ header: inout L2TPv3Header) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: header.length)
        unsafe bytes.withUnsafeMutableBytes { buffer in
            if let base = buffer.baseAddress { unsafe header.encode(to: base) }
        }
        return bytes
    }

    private func decode(_ header: L2TPv3Header, _ bytes: [UInt8]) -> String {
        // Behind its end nothing may be read: the sanitizers see it.
        let copy = UnsafeMutableRawPointer.allocate(byteCount: max(1, bytes.count), alignment: 1)
        defer { unsafe copy.deallocate() }
        unsafe copy.copyMemory(from: bytes, byteCount: bytes.count)
        switch unsafe header.decode(copy, bytes.count) {
        case .frame(let offset): return "\(offset)"
        case .drop(let reason): return reason.name
        }
    }

    @Test func allFieldsInTheirOrder() {
        var header = header(counter: true, padding: 2)
        let first: [UInt8] = [
            0, 3, 0, 0, 1, 2, 3, 4, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,
        ]
        #expect(encoded(&header) == first + [0, 0, 0, 1, 0, 0])
        #expect(encoded(&header) == first + [0, 0, 0, 2, 0, 0])
        var pinned = self.header(cookie: .short, counter: true, pinned: true)
        _ = encoded(&pinned)
        #expect(encoded(&pinned) == [0, 3, 0, 0, 1, 2, 3, 4, 0x15, 0x16, 0x17, 0x18, 0, 0, 0, 0])
        var plain = self.header(udp: false, cookie: .none)
        #expect(encoded(&plain) == [1, 2, 3, 4])
    }

    private let frame = [UInt8](repeating: 0x55, count: 14)
    private let ours: [UInt8] = [0x0a, 0x0b, 0x0c, 0x0d]
    private let cookie: [UInt8] = [0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28]

    @Test func aFrameIsFoundBehindItsHeader() {
        #expect(decode(header(), [0, 3, 0, 0] + ours + cookie + frame) == "16")
        #expect(decode(header(padding: 8), [0, 3, 0, 0] + ours + cookie + frame) == "malformed")
        #expect(
            decode(header(padding: 8), [0, 3, 0, 0] + ours + cookie + frame.prefix(8) + frame)
                == "24"
        )
        #expect(decode(header(udp: false, ipv6: true), ours + cookie + frame) == "12")
        #expect(
            decode(header(cookie: .short), [0, 3, 0, 0] + ours + cookie.suffix(4) + frame) == "12"
        )
    }

    @Test func aRawIPv4SocketGivesTheIPHeaderToo() {
        let header = header(udp: false, cookie: .none)
        let ip = [UInt8](repeating: 0, count: 19)
        #expect(decode(header, [0x45] + ip + ours + frame) == "24")
        #expect(decode(header, [0x46] + ip + [1, 2, 3, 4] + ours + frame) == "28")
        // Options that are longer than the datagram, and a header that is too short for one.
        #expect(decode(header, [0x4f] + ip + ours + frame) == "malformed")
        #expect(decode(header, [0x44] + ip + ours + frame) == "malformed")
        #expect(decode(header, [0x40] + ip + ours + frame) == "malformed")
    }

    @Test func otherSessionsAndCookiesAreTold() {
        for bit in 0..<32 {
            var session = ours
            session[bit / 8] ^= 1 << (bit % 8)
            #expect(decode(header(), [0, 3, 0, 0] + session + cookie + frame) == "wrong-session")
        }
        for bit in 0..<64 {
            var wrong = cookie
            wrong[bit / 8] ^= 1 << (bit % 8)
            #expect(decode(header(), [0, 3, 0, 0] + ours + wrong + frame) == "wrong-session")
        }
    }

    @Test func controlMessagesAndOtherVersionsAreMalformed() {
        for first: [UInt8] in [[0xc8, 3, 0, 0], [0, 2, 0, 0], [0, 3, 0, 1], [0, 0, 0, 0]] {
            #expect(decode(header(), first + ours + cookie + frame) == "malformed")
        }
    }

    @Test func everyShorterDatagramIsMalformed() {
        let whole = [0, 3, 0, 0] + ours + cookie + frame
        for count in 0..<whole.count {
            #expect(decode(header(), Array(whole.prefix(count))) == "malformed")
        }
        let raw = [0x45] + [UInt8](repeating: 0, count: 19) + ours + cookie + frame
        for count in 0..<raw.count {
            #expect(decode(header(udp: false), Array(raw.prefix(count))) == "malformed")
        }
    }
}
