// What a message carries, read field by field and in the shapes that requests share.

import Netmap

/// A message's payload and how far it was read.
struct Payload {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var count: Int { bytes.count }

    private mutating func integer<T: FixedWidthInteger>(_ type: T.Type) -> T? {
        let length = MemoryLayout<T>.size
        guard position + length <= bytes.count else { return nil }
        defer { position += length }
        return (0..<length).reduce(T(0)) { $0 | T(bytes[position + $1]) << T(8 * $1) }
    }

    mutating func u8() -> UInt8? { integer(UInt8.self) }
    mutating func u16() -> UInt16? { integer(UInt16.self) }
    mutating func u32() -> UInt32? { integer(UInt32.self) }
    mutating func u64() -> UInt64? { integer(UInt64.self) }

    /// The shape of requests that carry one number.
    mutating func word() throws(SessionError) -> UInt64 {
        guard count == 8, let value = u64() else {
            throw SessionError("\(count) bytes of payload, expected 8")
        }
        return value
    }

    /// The shape of requests about a ring: its index and a number.
    mutating func state() throws(SessionError) -> (ring: Int, number: UInt32) {
        let value = try word()
        return (try Session.check(ring: value & 0xffff_ffff), UInt32(value >> 32))
    }

    /// The shape of KICK, CALL and ERR: a ring, and a descriptor unless bit 8 says that there is none.
    mutating func ringFile(
        _ files: [OwnedDescriptor]
    ) throws(SessionError) -> (ring: Int, file: OwnedDescriptor?) {
        let value = try word()
        let index = try Session.check(ring: value & 0xff)
        try files.expect(value & 0x100 != 0 ? 0 : 1)
        return (index, files.first)
    }

    /// The four words that describe a memory region.
    mutating func region() -> MemoryRegion? {
        guard let guest = u64(), let size = u64(), let user = u64(), let offset = u64() else {
            return nil
        }
        return MemoryRegion(
            guestAddress: guest,
            size: size,
            userAddress: user,
            fileOffset: offset
        )
    }
}

extension [OwnedDescriptor] {
    /// Refuses a message that came with another number of descriptors.
    func expect(_ expected: Int) throws(SessionError) {
        guard count == expected else {
            throw SessionError("\(count) descriptors, expected \(expected)")
        }
    }
}

extension [UInt8] {
    mutating func append(little value: some FixedWidthInteger) {
        for shift in stride(from: 0, to: value.bitWidth, by: 8) {
            append(UInt8(truncatingIfNeeded: value >> shift))
        }
    }

    /// A payload of one number.
    static func word(_ value: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(little: value)
        return bytes
    }
}
