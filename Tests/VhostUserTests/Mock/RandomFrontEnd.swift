// A front-end that says anything, in any order, with any descriptors: mostly nearly right, because
// what is quite wrong does not get far.

import CNetmap
import Glibc
import Netmap
import TestSupport

@testable import VhostUser

/// Draws messages, and the descriptors that go with them.
struct RandomFrontEnd {
    var random: Seeded
    /// Requests that a network back-end has, and some that it has not.
    private static let requests: [UInt32] = (1...22) + [24, 25, 31, 32] + (34...40)

    /// What is said next, before anything is drawn again.
    private var pending: [FrontEndMessage] = []

    init(seed: Int) { random = Seeded(seed) }

    /// Any message.
    mutating func next() -> FrontEndMessage {
        if !pending.isEmpty { return pending.removeFirst() }
        // Now and then all that a ring needs, because by chance it seldom comes together.
        if random.chance(2) {
            let index = UInt32(random.below(4))
            pending = [
                .memory, .state(.setVringNum, index, 1 << UInt32(random.below(9))),
                .addresses(index), .file(.setVringCall, UInt64(index)),
                .file(.setVringKick, UInt64(index)), .state(.setVringEnable, index, 1),
            ]
        }
        let known = RandomFrontEnd.requests
        var message = make(
            random.chance(97) ? known[random.below(known.count)] : UInt32(random.below(50))
        )
        if random.chance(40) { message.flags |= 8 }
        if random.chance(2) { message.payload = random.bytes(random.below(60)) }
        if random.chance(3) { message.files = random.below(9) }
        return message
    }

    private mutating func make(_ number: UInt32) -> FrontEndMessage {
        let index = UInt32(random.chance(97) ? random.below(6) : random.below(1 << 20))
        guard let request = Request(rawValue: number) else {
            return FrontEndMessage(request: number, payload: random.bytes(random.below(60)))
        }
        switch request {
        case .setMemoryTable:
            if random.chance(60) { return .memory }
            return .table((0..<random.within(0...8)).map { _ in region() })
        case .addMemoryRegion, .removeMemoryRegion:
            return .slot(request, random.chance(50) ? FrontEndMessage.region : region())
        case .setLogBase:
            return random.chance(50)
                ? .log(size: 4096, offset: 0) : .log(size: word(), offset: word())
        case .setVringAddr:
            if random.chance(70) { return .addresses(index) }
            let mask: UInt64 = random.chance(90) ? ~15 : .max
            return .addresses(
                index,
                flags: random.chance(90) ? 0 : 1,
                descriptors: random.next() & mask,
                used: random.next() & mask,
                available: random.next() & mask
            )
        case .setVringNum:
            return .state(
                request,
                index,
                UInt32(random.chance(80) ? 1 << random.below(17) : random.below(1 << 31))
            )
        case .setVringKick, .setVringCall, .setVringErr:
            return .file(request, UInt64(index), polled: random.chance(30))
        case .setFeatures:
            return .word(
                request,
                random.chance(90) ? random.next() & Feature.offered : random.next()
            )
        case .setProtocolFeatures:
            let bits = random.next()
            return .word(
                request,
                random.chance(90) ? bits & ProtocolFeature.offered(isOwned: true) : bits
            )
        case .setVringEnable:
            return .state(request, index, UInt32(random.below(random.chance(95) ? 2 : 9)))
        case .iotlb:
            return translation()
        case .getConfig, .setConfig:
            let length = random.chance(90) ? random.below(30) : random.below(300)
            let start = [UInt32(random.below(30)), UInt32(length), 0]
            return FrontEndMessage(request: number, words: start, more: random.bytes(length))
        case .getInflightFD, .setInflightFD:
            var message = FrontEndMessage(
                request: number,
                words: [UInt32(random.below(1 << 17)), 0, random.chance(80) ? 0 : 4096, 0],
                more: [UInt8(random.below(8)), 0, 0, 1] + random.bytes(4)
            )
            message.files = request == .setInflightFD ? 1 : 0
            return message
        case .setBackendRequestFD:
            return FrontEndMessage(request: number, files: 1)
        case .getFeatures, .setOwner, .resetOwner, .getProtocolFeatures, .getQueueNum,
            .resetDevice, .getMaximumMemorySlots, .getStatus, .setLogFD:
            return FrontEndMessage(request: number)
        case .setVringBase, .getVringBase, .vringKick, .sendRARP, .netSetMTU, .setStatus:
            return .state(request, index, UInt32(truncatingIfNeeded: random.next()))
        }
    }

    /// A number of any size, or one at the end of all numbers.
    private mutating func word() -> UInt64 {
        random.chance(15)
            ? .max - UInt64(4096 * random.below(3)) : random.next() >> UInt64(random.below(64))
    }

    /// A page or a few of the usual memory, or anything.
    private mutating func translation() -> FrontEndMessage {
        let page = UInt64(random.below(256)) << 12
        let isUsual = random.chance(80)
        let words: [UInt64] = [
            isUsual ? page : word(), isUsual ? UInt64(random.within(1...16)) << 12 : word(),
            isUsual ? FrontEndMessage.region.userAddress + page : word() & ~4095,
            UInt64(random.below(5)) | UInt64(random.within(1...5)) << 8,
        ]
        let halves = words.flatMap {
            [UInt32(truncatingIfNeeded: $0), UInt32(truncatingIfNeeded: $0 >> 32)]
        }
        return FrontEndMessage(request: Request.iotlb.rawValue, words: halves, more: [])
    }

    private mutating func region() -> MemoryRegion {
        guard random.chance(50) else {
            return MemoryRegion(
                guestAddress: word(),
                size: word(),
                userAddress: word(),
                fileOffset: word()
            )
        }
        // One that can be mapped, if its file is long enough and nothing is in its place; now and then
        // up to the end of the guest's addresses.
        let pages = UInt64(random.within(1...256))
        let isLast = random.chance(20)
        return MemoryRegion(
            guestAddress: isLast ? 0 &- pages << 12 : UInt64(random.below(8)) << 20,
            size: pages << 12 - (isLast ? 16 : 0),
            userAddress: FrontEndMessage.region.userAddress + UInt64(random.below(8)) << 20,
            fileOffset: UInt64(4096 * random.below(2))
        )
    }

    /// A descriptor of any kind: what fits a message, and what does not.
    mutating func file() throws -> OwnedDescriptor {
        let number: Int32 =
            switch random.below(10) {
            case 0...3: unsafe nm_memfd_create("fuzz", 2 << 20)
            case 4: unsafe nm_memfd_create("short", UInt64(random.below(8192)))
            case 5...7: nm_eventfd()
            case 8: unsafe open("/dev/null", O_RDWR | O_CLOEXEC)
            default: unsafe open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            }
        return OwnedDescriptor(try SystemError.check(number, "a descriptor"))
    }
}
