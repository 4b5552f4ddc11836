// The frames that pkt-gen sends: Ethernet, IPv4 or IPv6, UDP, with checksums that are right.

internal import Wire

/// An address range with ports, as -s and -d take it: `10.0.0.1:1234-10.0.0.9:1300`.
struct AddressRange {
    /// Addresses as numbers; IPv6 counts in its low half.
    let first: IPNumber
    let last: IPNumber
    let firstPort: UInt16
    let lastPort: UInt16
    private(set) var address: IPNumber
    private(set) var port: UInt16

    /// Whether there is more than one of either.
    var isRange: Bool { first != last || firstPort != lastPort }

    init(_ text: String, isIPv6: Bool, port standard: UInt16 = 1234) throws {
        let parts = text.split(separator: "-", maxSplits: 1).map(String.init)
        guard let from = parts.first, let begin = Self.parse(from, isIPv6),
            let end = parts.count == 2 ? Self.parse(parts[1], isIPv6) : begin
        else {
            throw Failure(
                .usage,
                "'\(text)' is no \(isIPv6 ? "IPv6" : "IPv4") address or range; write "
                    + (isIPv6 ? "'fd00::1', '[fd00::1]:80'" : "'10.0.0.1:80-10.0.0.9:99'")
            )
        }
        first = begin.address
        last = end.address
        firstPort = begin.port ?? standard
        lastPort = parts.count == 2 ? end.port ?? firstPort : firstPort
        address = first
        port = firstPort
        guard first <= last, firstPort <= lastPort else {
            throw Failure(.usage, "the range '\(text)' ends before it begins")
        }
    }

    /// The next one; ports run fastest.
    mutating func advance() {
        if port < lastPort {
            port += 1
        } else {
            port = firstPort
            address = address == last ? first : address.next
        }
    }

    /// Any one.
    mutating func randomise(_ random: inout SystemRandomNumberGenerator) {
        address.low = .random(in: 0 ... .max, using: &random)
        port = .random(in: 1 ... .max, using: &random)
    }

    private static func parse(
        _ text: String,
        _ isIPv6: Bool
    ) -> (address: IPNumber, port: UInt16?)? {
        guard isIPv6 else {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count <= 2, let address = IPNumber(ipv4: parts[0]) else { return nil }
            guard parts.count == 2 else { return (address, nil) }
            guard let port = UInt16(parts[1]) else { return nil }
            return (address, port)
        }
        guard text.hasPrefix("[") else { return IPNumber(ipv6: text[...]).map { ($0, nil) } }
        guard let close = text.firstIndex(of: "]"),
            let address = IPNumber(ipv6: text[text.index(after: text.startIndex)..<close])
        else { return nil }
        let rest = text[text.index(after: close)...]
        if rest.isEmpty { return (address, nil) }
        guard rest.hasPrefix(":"), let port = UInt16(rest.dropFirst()) else { return nil }
        return (address, port)
    }
}

/// An IP address to count with.
struct IPNumber: Comparable {
    var high: UInt64 = 0
    var low: UInt64

    static func < (a: IPNumber, b: IPNumber) -> Bool { (a.high, a.low) < (b.high, b.low) }
    var next: IPNumber { IPNumber(high: low == .max ? high &+ 1 : high, low: low &+ 1) }

    init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    init?(ipv4 text: Substring) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
        guard parts.count == 4, parts.allSatisfy({ $0 != nil }) else { return nil }
        low = parts.reduce(0) { $0 << 8 | UInt64($1 ?? 0) }
    }

    init?(ipv6 text: Substring) {
        let halves = text.components(around: "::")
        func words(_ text: Substring) -> [UInt16]? {
            if text.isEmpty { return [] }
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
                .map { UInt16($0, radix: 16) }
            return parts.contains(nil) ? nil : parts.compactMap { $0 }
        }
        guard let front = words(halves[0]), let back = halves.count == 2 ? words(halves[1]) : []
        else { return nil }
        let missing = 8 - front.count - back.count
        guard halves.count == 2 ? missing > 0 : missing == 0 else { return nil }
        let all = front + Array(repeating: 0, count: missing) + back
        high = all[..<4].reduce(0) { $0 << 16 | UInt64($1) }
        low = all[4...].reduce(0) { $0 << 16 | UInt64($1) }
    }
}

extension Substring {
    fileprivate func components(around separator: String) -> [Substring] {
        guard let range = firstRange(of: separator) else { return [self] }
        return [self[..<range.lowerBound], self[range.upperBound...]]
    }
}

/// A frame that is made once and changed in place.
struct GeneratedFrame {
    /// Header bytes of a virtio-net port, then the frame.
    private(set) var bytes: [UInt8]
    let isIPv6: Bool
    /// Bytes in front of the Ethernet header.
    let lead: Int

    /// Where the UDP header is, and where the payload is.
    var udp: Int { lead + (isIPv6 ? 54 : 34) }
    var payload: Int { udp + 8 }

    init(
        length: Int,
        lead: Int,
        isIPv6: Bool,
        from source: MACAddress,
        to target: MACAddress
    ) {
        bytes = [UInt8](repeating: 0, count: lead + length)
        self.lead = lead
        self.isIPv6 = isIPv6
        let words = Array("wirevale pkt-gen: these bytes say nothing. ".utf8)
        for place in 0..<6 {
            put(target[place], lead + place)
            put(source[place], lead + 6 + place)
        }
        put16(isIPv6 ? 0x86dd : 0x0800, lead + 12)
        for place in payload..<max(payload, bytes.count) {
            put(words[(place - payload) % words.count], place)
        }
    }

    private mutating func put(_ byte: UInt8, _ at: Int) {
        if at < bytes.count { bytes[at] = byte }
    }

    private mutating func put16(_ value: UInt16, _ at: Int) {
        put(UInt8(value >> 8), at)
        put(UInt8(value & 0xff), at + 1)
    }

    private mutating func put64(_ value: UInt64, _ at: Int) {
        for place in 0..<8 { put(UInt8(truncatingIfNeeded: value >> UInt64(56 - 8 * place)), at + place) }
    }

    /// The bytes on the wire of a frame that is to be `length` long.
    func count(_ length: Int) -> Int { min(bytes.count, lead + length) }

    /// Sets addresses, ports, lengths and, if the payload has room, a number in front of it, and makes the
    /// checksums right.
    mutating func set(
        length: Int,
        from source: AddressRange,
        to target: AddressRange,
        sequence: UInt32? = nil
    ) {
        let end = lead + length
        let ip = lead + 14
        if isIPv6 {
            put(0x60, ip)
            put16(UInt16(clamping: max(0, end - ip - 40)), ip + 4)
            put(17, ip + 6)
            put(64, ip + 7)
            put64(source.address.high, ip + 8)
            put64(source.address.low, ip + 16)
            put64(target.address.high, ip + 24)
            put64(target.address.low, ip + 32)
        } else {
            put(0x45, ip)
            put16(UInt16(clamping: max(0, end - ip)), ip + 2)
            put(64, ip + 8)
            put(17, ip + 9)
            put16(0, ip + 10)
            for place in 0..<4 {
                let shift = UInt64(24 - 8 * place)
                put(UInt8(truncatingIfNeeded: source.address.low >> shift), ip + 12 + place)
                put(UInt8(truncatingIfNeeded: target.address.low >> shift), ip + 16 + place)
            }
            var sum = Checksum()
            if ip + 20 <= bytes.count { sum.add(bytes.span, in: ip..<ip + 20) }
            put16(sum.finish(), ip + 10)
        }
        put16(source.port, udp)
        put16(target.port, udp + 2)
        put16(UInt16(clamping: max(8, end - udp)), udp + 4)
        put16(0, udp + 6)
        if let sequence, payload + 4 <= end {
            put16(UInt16(sequence >> 16), payload)
            put16(UInt16(sequence & 0xffff), payload + 2)
        }
        guard udp + 8 <= end, end <= bytes.count else { return }
        put16(udpChecksum(end), udp + 6)
    }

    private func udpChecksum(_ end: Int) -> UInt16 {
        let ip = lead + 14
        var sum = Checksum()
        // The pseudo-header: both addresses, the protocol, the length.
        sum.add(bytes.span, in: isIPv6 ? ip + 8..<ip + 40 : ip + 12..<ip + 20)
        sum.add(UInt32(17))
        sum.add(UInt32(end - udp))
        sum.add(bytes.span, in: udp..<end)
        return sum.finishUDP()
    }
}
