// A middlebox: frames from one port go to another with their IPv4 destination rewritten, and with
// checksums that are right again. Frames change where they lie; nothing is copied in one region.
//
//   swift run middlebox vale0:inside vale1:outside 192.0.2.1
//   swift run middlebox                                        shows it inside this process

import Netmap
import Vale
import Wire

/// Sets the destination of an IPv4 frame and corrects the checksums of IP, TCP and UDP.
func redirect(_ frame: inout MutableSpan<UInt8>, to address: [UInt8]) -> Bool {
    guard let ethernet = EthernetHeader(frame.span), ethernet.etherType == .ipv4,
        let ip = IPv4Header(frame.span, at: ethernet.payloadOffset)
    else { return true }  // ARP and others pass as they are
    let place = ip.offset + 16
    let old = (0..<4).map { frame[place + $0] }
    for byte in 0..<4 { frame[place + byte] = address[byte] }
    correct(&frame, at: ip.offset + 10, from: old, to: address)
    guard let transport = ip.transportOffset else { return true }
    let isUDP = ip.transportProtocol == .udp
    let checksum = transport + (isUDP ? 6 : 16)
    guard isUDP || ip.transportProtocol == .tcp, checksum + 2 <= frame.count else { return true }
    // A UDP checksum of zero says that there is none.
    if isUDP, frame[checksum] == 0, frame[checksum + 1] == 0 { return true }
    correct(&frame, at: checksum, from: old, to: address)
    return true
}

/// Takes `old` out of a checksum and puts `new` in (RFC 1624): what it covers need not be read again.
func correct(_ frame: inout MutableSpan<UInt8>, at place: Int, from old: [UInt8], to new: [UInt8]) {
    var sum = Checksum()
    sum.add(~(UInt16(frame[place]) << 8 | UInt16(frame[place + 1])))
    for pair in [0, 2] {
        sum.add(~(UInt16(old[pair]) << 8 | UInt16(old[pair + 1])))
        sum.add(UInt16(new[pair]) << 8 | UInt16(new[pair + 1]))
    }
    let value = sum.finish()
    frame[place] = UInt8(value >> 8)
    frame[place + 1] = UInt8(value & 0xff)
}

/// Passes on what has come.
func pass(_ source: borrowing Port, _ target: borrowing Port, to address: [UInt8]) throws -> Int {
    var received = source.receiveRing()
    var free = target.transmitRing()
    let count = free.forward(from: &received) { redirect(&$0, to: address) }
    try target.syncTransmit()
    return count
}

do {
    let words = Array(CommandLine.arguments.dropFirst())
    let address = (words.count == 3 ? words[2] : "192.0.2.1").split(separator: ".").map { UInt8($0) ?? 0 }
    guard address.count == 4 else { throw PortError(.specification, errno: 22, "no IPv4 address") }
    let space = words.count == 3 ? PortSpace.engine() : PortSpace.embedded()
    let inside = try Port(words.first ?? "vale0:in", on: space)
    let outside = try Port(words.count == 3 ? words[1] : "vale1:out", on: space)
    while words.count == 3 {
        _ = try inside.poll(.receive)
        _ = try pass(inside, outside, to: address)
    }
    let sender = try Port("vale0:sender", on: space)
    var ring = sender.transmitRing()
    ring.send([UInt8](repeating: 0xff, count: 60).span)
    try sender.syncTransmit()
    try inside.syncReceive()
    print("passed \(try pass(inside, outside, to: address)) frame")
} catch {
    print(error)
}
