// The proof that the data plane may call all this: functions that the compiler checks for locks,
// allocation and reference counting, in another module than Wire. That they compile is the test.
//
// They also show the form in which a `@_noLocks` function has to pass bytes on Swift 6.3: a span
// made on the spot from a buffer (`use(buffer.span)`), never one kept in a local variable.

import Testing
import Wire

private typealias Bytes = UnsafeBufferPointer<UInt8>
private typealias MutableBytes = UnsafeMutableBufferPointer<UInt8>

@_noLocks
private func sum(_ bytes: Bytes, _ range: Range<Int>) -> UInt16 {
    var sum = Checksum()
    unsafe sum.add(bytes.span)
    unsafe sum.add(bytes.span, in: range)
    unsafe sum.add(UnsafeRawBufferPointer(bytes).bytes)
    sum.add(range.isEmpty ? 1 : 2 as UInt16)
    var other = Checksum()
    other.append(sum)
    return other.finishUDP() ^ other.folded() ^ sum.finish()
}

@_noLocks
private func classify(_ frame: borrowing Span<UInt8>) -> Int {
    guard let addresses = EthernetAddresses(frame) else { return -1 }
    if addresses.source.isMulticast { return -2 }
    guard let ethernet = EthernetHeader(frame) else { return -3 }
    if addresses.destination != .broadcast, ethernet.outerTag?.identifier == 4 { return -4 }
    let offset = ethernet.payloadOffset
    switch ethernet.etherType {
    case .ipv4:
        guard let ip = IPv4Header(frame, at: offset) else { return -5 }
        guard let transport = ip.transportOffset else { return -6 }
        if ip.transportProtocol == .tcp, let tcp = TCPHeader(frame, at: transport) {
            return tcp.payloadOffset
        }
        return UDPHeader(frame, at: transport)?.payloadOffset ?? -7
    case .ipv6: return IPv6Header(frame, at: offset)?.transportOffset ?? -8
    case .arp: return Int(ARPPacket(frame, at: offset)?.operation ?? 0)
    default: return 0
    }
}

@_noLocks
private func offload(_ frame: Bytes, _ room: MutableBytes) -> Int {
    guard var header = unsafe VirtioNetHeader(frame.span, length: 10) else { return -1 }
    header.numBuffers = 1
    var target = unsafe room.mutableSpan
    header.encode(into: &target)
    let answer = header.check(frameLength: 100)
    if answer == .malformed(.checksumOutsideFrame) || header.segmentation == .tcpv6 { return -2 }
    switch answer {
    case .none: return Int(header.shifted(by: 4)?.csumStart ?? 0)
    case .checksum:
        var sum = Checksum()
        unsafe sum.add(frame.span)
        header.storeChecksum(for: sum, into: &target)
        return 2
    case .segmentation(let kind):
        switch kind {
        case .tcpv4, .tcpv6: return 3
        default: return 4
        }
    case .malformed(let flaw): return Int(flaw.rawValue)
    }
}

@_noLocks
private func segment(_ frame: Bytes, _ header: VirtioNetHeader, _ room: MutableBytes) -> Int {
    do {
        let plan = unsafe try Segmenter(
            frame.span,
            frameLength: frame.count,
            offload: header,
            identification: 1
        )
        var target = unsafe room.mutableSpan
        var total = 0
        for k in 0..<plan.count {
            var sum = Checksum()
            unsafe sum.add(frame.span, in: plan.summedRange(of: k))
            unsafe plan.writeHeader(k, of: frame.span, into: &target, payloadSum: sum)
            total &+= plan.segmentLength(k) &+ plan.payloadRange(of: k).count
        }
        return plan.allowsPartialChecksum ? total : 0
    } catch {
        return error.isUnsupported ? -2 : -1
    }
}

@_noLocks
private func announce(_ station: MACAddress, _ room: MutableBytes) {
    var target = unsafe room.mutableSpan
    RARPFrame(station).write(into: &target)
}

@Suite("Functions without locks")
struct NoLocksTests {
    @Test("can use all that the data plane needs")
    func use() {
        #expect(Sample.all.map { classify($0.span) } == [66, 78, 1, 50, 0, 62])
        var room = [UInt8](repeating: 0, count: 256)
        // SAFETY: all pointers are used within their closures only.
        unsafe Sample.tcp4.withUnsafeBufferPointer { frame in
            unsafe room.withUnsafeMutableBufferPointer { room in
                unsafe announce(MACAddress(2, 0, 0, 0, 0, 1), room)
                #expect(unsafe room[12] == 0x80)
                #expect(unsafe sum(frame, 0..<3) != 1)
                // The sample's first bytes are no sensible virtio-net header.
                #expect(unsafe offload(frame, room) == OffloadFlaw.unknownSegmentationType.rawValue)
                let header = VirtioNetHeader(
                    flags: 1,
                    gsoType: 1,
                    gsoSize: 5,
                    csumStart: 34,
                    csumOffset: 16
                )
                #expect(unsafe segment(frame, header, room) == 3 * 66 + 13 + 13)
            }
        }
    }
}
