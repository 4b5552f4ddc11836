// Writing the headers of one segment. Every checksum is computed anew from what is written: a guest
// may leave anything it likes in those fields.

extension Segmenter {
    /// How many bytes `writeHeader` writes for a segment.
    ///
    /// All segments but fragments have the length of the original headers. A fragment has a UDP
    /// header only if it is the first, and over IPv6 a fragment header.
    @inlinable
    public func headerLength(of segment: Int) -> Int {
        guard isFragments else { return payloadOffset }
        let inserted = isIPv6 ? Self.fragmentHeaderLength : 0
        return (segment == 0 ? payloadOffset : l4Offset) &+ inserted
    }

    /// Which bytes of the original frame follow a segment's header.
    @inlinable
    public func payloadRange(of segment: Int) -> Range<Int> {
        precondition(segment >= 0 && segment < count, "no such segment")
        let base = isFragments ? l4Offset : payloadOffset
        let start = base &+ segment &* unit
        let end = min(start &+ unit, frameLength)
        return max(start, payloadOffset)..<max(end, payloadOffset)
    }

    /// Which bytes of the original frame the sum given to `writeHeader` must cover.
    ///
    /// A segment's own payload; but the UDP checksum in the first fragment is that of the whole
    /// datagram, and later fragments have none.
    @inlinable
    public func summedRange(of segment: Int) -> Range<Int> {
        guard isFragments else { return payloadRange(of: segment) }
        return segment == 0 ? payloadOffset..<frameLength : payloadOffset..<payloadOffset
    }

    /// The length of a segment as a frame of its own.
    @inlinable
    public func segmentLength(_ segment: Int) -> Int {
        headerLength(of: segment) &+ payloadRange(of: segment).count
    }

    /// The length of the longest segment, which is the first.
    @inlinable public var longestSegment: Int { segmentLength(0) }

    /// Whether the transport checksum may be left to the receiver of a segment.
    ///
    /// Not for fragments: their checksum covers bytes that are in other fragments.
    @inlinable public var allowsPartialChecksum: Bool { !isFragments }

    /// Writes the complete headers of one segment.
    ///
    /// - Parameters:
    ///   - segment: Which one, from 0.
    ///   - header: The bytes that the plan was made from.
    ///   - target: Where the segment begins; needs room for `headerLength(of:)` bytes.
    ///   - payloadSum: The sum of `summedRange(of:)`. Nil, where `allowsPartialChecksum`, leaves the
    ///     rest to a receiver with checksum offload: the field gets the pseudo header's sum, and
    ///     the segment's virtio-net header keeps `csumStart` and `csumOffset` of the original.
    /// - Returns: How many bytes were written.
    @inlinable
    @discardableResult
    public func writeHeader(
        _ segment: Int,
        of header: borrowing Span<UInt8>,
        into target: inout MutableSpan<UInt8>,
        payloadSum: Checksum?
    ) -> Int {
        precondition(segment >= 0 && segment < count, "no such segment")
        let length = headerLength(of: segment)
        precondition(header.count >= payloadOffset, "not the bytes that the plan was made from")
        precondition(target.count >= length, "no room for the headers of a segment")
        precondition(payloadSum != nil || allowsPartialChecksum, "a fragment needs its checksum")
        let payload = payloadRange(of: segment).count

        for i in 0..<l4Offset { target[i] = header[i] }
        if isIPv6 {
            let field = UInt16(truncatingIfNeeded: length - l3Offset - IPv6Header.length + payload)
            target.storeBigEndian(field, at: l3Offset + 4)
        } else {
            writeIPv4(segment, length: length - l3Offset + payload, into: &target)
        }
        if isFragments {
            if isIPv6 { writeFragmentHeader(segment, into: &target) }
            guard segment == 0 else { return length }
            let udp = length - UDPHeader.length
            for i in 0..<4 { target[udp + i] = header[l4Offset + i] }
            let whole = frameLength - payloadOffset
            writeUDP(at: udp, payload: whole, into: &target, payloadSum: payloadSum)
            return length
        }
        for i in l4Offset..<payloadOffset { target[i] = header[i] }
        if isTCP {
            writeTCP(segment, payload: payload, into: &target, payloadSum: payloadSum)
        } else {
            writeUDP(at: l4Offset, payload: payload, into: &target, payloadSum: payloadSum)
        }
        return length
    }

    @inlinable
    func writeIPv4(_ segment: Int, length: Int, into target: inout MutableSpan<UInt8>) {
        let total = UInt16(truncatingIfNeeded: length)
        var fragment = fragmentField
        var identifier = UInt16(truncatingIfNeeded: identification)
        if isFragments {
            // One identification for all, and don't-fragment has been overruled by the sender.
            fragment = fragmentOffsetField(segment) / 8
            if segment + 1 < count { fragment |= 0x2000 }
        } else {
            identifier &+= UInt16(truncatingIfNeeded: segment)
        }
        var sum = ipSum
        sum.add(total)
        sum.add(identifier)
        sum.add(fragment)
        target.storeBigEndian(total, at: l3Offset + 2)
        target.storeBigEndian(identifier, at: l3Offset + 4)
        target.storeBigEndian(fragment, at: l3Offset + 6)
        target.storeBigEndian(sum.finish(), at: l3Offset + 10)
    }

    /// Where a fragment's payload lies in the datagram; a multiple of eight below 65536.
    @inlinable
    func fragmentOffsetField(_ segment: Int) -> UInt16 {
        UInt16(truncatingIfNeeded: segment * unit)
    }

    @inlinable
    func writeFragmentHeader(_ segment: Int, into target: inout MutableSpan<UInt8>) {
        target[l3Offset + 6] = IPProtocol.ipv6Fragment.rawValue
        target[l4Offset] = IPProtocol.udp.rawValue
        target[l4Offset + 1] = 0
        let more: UInt16 = segment + 1 < count ? 1 : 0
        target.storeBigEndian(fragmentOffsetField(segment) | more, at: l4Offset + 2)
        target.storeBigEndian(identification, at: l4Offset + 4)
    }

    @inlinable
    func writeTCP(
        _ segment: Int,
        payload: Int,
        into target: inout MutableSpan<UInt8>,
        payloadSum: Checksum?
    ) {
        let number = sequence &+ UInt32(truncatingIfNeeded: segment * unit)
        var control = controlField
        if segment + 1 < count {
            control &= ~UInt16(TCPHeader.Flags.fin.rawValue | TCPHeader.Flags.psh.rawValue)
        }
        if segment > 0, hasECN {
            control &= ~UInt16(TCPHeader.Flags.cwr.rawValue)
        }
        target.storeBigEndian(number, at: l4Offset + 4)
        target.storeBigEndian(control, at: l4Offset + 12)
        let field: UInt16
        let length = UInt16(truncatingIfNeeded: payloadOffset - l4Offset + payload)
        if let payloadSum {
            var sum = transportSum
            sum.add(length)
            sum.add(number)
            sum.add(control)
            sum.append(payloadSum)
            field = sum.finish()
        } else {
            field = pseudoSum(length)
        }
        target.storeBigEndian(field, at: l4Offset + 16)
    }

    @inlinable
    func writeUDP(
        at offset: Int,
        payload: Int,
        into target: inout MutableSpan<UInt8>,
        payloadSum: Checksum?
    ) {
        let length = UInt16(truncatingIfNeeded: UDPHeader.length + payload)
        target.storeBigEndian(length, at: offset + 4)
        let field: UInt16
        if let payloadSum {
            var sum = transportSum
            // Once in the pseudo header, once in the header.
            sum.add(length)
            sum.add(length)
            sum.append(payloadSum)
            field = sum.finishUDP()
        } else {
            field = pseudoSum(length)
        }
        target.storeBigEndian(field, at: offset + 6)
    }

    @inlinable
    func pseudoSum(_ length: UInt16) -> UInt16 {
        var sum = networkSum
        sum.add(length)
        return sum.folded()
    }
}
