// Files that a front-end shares as its guest's memory.

import CNetmap
import Glibc
import Netmap

@testable import VhostUser

enum MemoryFile {
    /// A file of `size` bytes, sealed against shrinking.
    static func make(_ size: Int) throws -> OwnedDescriptor {
        OwnedDescriptor(
            try SystemError.check(unsafe nm_memfd_create("test", UInt64(size)), "memfd_create")
        )
    }

    /// A file that can be cut short.
    static func unsealed(_ size: Int) throws -> OwnedDescriptor {
        var template = Array("/tmp/wirevale-test-XXXXXX".utf8CString)
        let number = unsafe mkstemp(&template)
        guard number >= 0 else { throw SystemError("mkstemp", result: -errno) }
        unsafe unlink(template)
        let file = OwnedDescriptor(number)
        guard ftruncate(number, size) == 0 else { throw SystemError("ftruncate", result: -errno) }
        return file
    }
}

extension MemoryRegion {
    /// A region whose front-end addresses are above its guest addresses, as QEMU has them.
    static func test(
        _ guest: UInt64,
        _ size: UInt64,
        user: UInt64? = nil,
        offset: UInt64 = 0
    ) -> MemoryRegion {
        MemoryRegion(
            guestAddress: guest,
            size: size,
            userAddress: user ?? guest + 0x7f00_0000_0000,
            fileOffset: offset
        )
    }
}
