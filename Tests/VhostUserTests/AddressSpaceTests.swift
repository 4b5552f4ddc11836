// The ends of address spaces, where sums wrap around: a front-end can put memory and translations there,
// and the engine must not trap over its arithmetic.

import Netmap
import Testing

@testable import VhostUser

@Suite("The end of an address space")
struct AddressSpaceTests {
    /// Memory up to the last page that a guest address can have, and not quite to its end.
    static let last = MemoryRegion(
        guestAddress: 0xffff_ffff_ffff_0000,
        size: 0xf800,
        userAddress: 0x7f00_0000_0000,
        fileOffset: 0
    )

    @Test("can hold a ring")
    func rings() async {
        await #expect(processExitsWith: .success) {
            let file = try MemoryFile.make(0x1_0000)
            let memory = try GuestMemory([AddressSpaceTests.last], files: [file])
            let place = AddressSpaceTests.last.userAddress + 0xe800
            let area = try RingArea([UserRange(address: place, length: 0x1000)], in: memory)
            let pages = (0..<area.pageCount).map { unsafe area.pages[$0] }
            precondition(pages == [0xffff_ffff_ffff_e000, 0xffff_ffff_ffff_f000])
        }
    }

    @Test("can be translated to, and what is behind it is not contiguous")
    func translations() async {
        await #expect(processExitsWith: .success) {
            let page: UInt64 = 4096
            var iotlb = IOTLB()
            // The last page of the front-end's addresses, then its first, side by side for the device.
            for (index, user) in [UInt64.max - 4095, 0].enumerated() {
                let entry = Translation(
                    address: UInt64(index) * page,
                    size: page,
                    userAddress: user,
                    access: [.read, .write]
                )
                precondition(entry.isValid)
                iotlb.insert(entry)
            }
            let expected = [
                UserRange(address: .max - 2047, length: 2048), UserRange(address: 0, length: 2048),
            ]
            precondition(iotlb.pieces(2048, 4096, .read) == .found(expected))
            // The device's own addresses end, too.
            iotlb.insert(
                Translation(
                    address: .max - 4095,
                    size: page,
                    userAddress: 0x10_0000,
                    access: [.read, .write]
                )
            )
            let end = [UserRange(address: 0x10_0fff, length: 1)]
            precondition(iotlb.pieces(.max, 1, .read) == .found(end))
            precondition(iotlb.pieces(.max, 2, .read) == .missing([.max]))
            iotlb.remove(.max, through: .max)
            precondition(iotlb.entries.count == 2)
            iotlb.remove(0, through: .max)
            precondition(iotlb.entries.isEmpty)
        }
    }
}
