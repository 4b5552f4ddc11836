// A session whose guest has an IOMMU: what is asked for, and when rings run (vhost-user-spec 2.6, rule 14).

import Netmap
import Testing

@testable import VhostUser

@Suite("A session behind an IOMMU")
struct SessionIOMMUTests {
    /// The page tables that `FrontEndMessage.addresses(0)` needs: three areas, a page each.
    static let pages: [UInt64] = [0x7f00_0000_0000, 0x7f00_0000_1000, 0x7f00_0000_2000]

    /// IOTLB_MSG: type 2 tells a translation, type 3 takes it back.
    static func translation(_ address: UInt64, size: UInt64 = 4096, type: UInt8) -> FrontEndMessage
    {
        var payload: [UInt8] = []
        for word in [address, size, address] { payload.append(little: word) }
        payload += [3, type] + [UInt8](repeating: 0, count: 6)
        return FrontEndMessage(request: Request.iotlb.rawValue, payload: payload)
    }

    /// A ring that was kicked and lacks its translations.
    func waiting() throws -> Conversation {
        var talk = Conversation()
        try talk.negotiate(
            features: Feature.modern | Feature.protocolFeatures | Feature.accessPlatform
        )
        try talk.tell([.memory, .word(.setStatus, 8)])
        try talk.start(0)
        return talk
    }

    var asked: [BackendRequest] {
        SessionIOMMUTests.pages.enumerated().map { index, page in
            .translationMiss(address: page, isWrite: index == 2)
        }
    }

    @Test("asks once for what a ring lacks, and starts it when all of it is there")
    func start() throws {
        var talk = try waiting()
        #expect(talk.controller.running.isEmpty)
        #expect(Set(talk.controller.asked.map(\.bytes)) == Set(asked.map(\.bytes)))
        for page in SessionIOMMUTests.pages {
            #expect(talk.controller.running.isEmpty)
            #expect(try talk.ask(SessionIOMMUTests.translation(page, type: 2).acknowledged) == 0)
        }
        #expect(talk.controller.running == [0])
        #expect(talk.controller.asked.count == 3)
    }

    @Test("stops a ring before it acknowledges that a translation is gone, and asks again")
    func invalidation() throws {
        var talk = try waiting()
        for page in SessionIOMMUTests.pages {
            try talk.tell([SessionIOMMUTests.translation(page, type: 2)])
        }
        let gone = SessionIOMMUTests.pages[1]
        #expect(try talk.ask(SessionIOMMUTests.translation(gone, type: 3).acknowledged) == 0)
        #expect(talk.controller.running.isEmpty)
        #expect(talk.controller.asked.last == .translationMiss(address: gone, isWrite: false))
        try talk.tell([SessionIOMMUTests.translation(gone, type: 2)])
        #expect(talk.controller.running == [0])
    }

    @Test("asks again later for what got no answer")
    func repetition() throws {
        var talk = try waiting()
        talk.session.miss(0x5000, isWrite: true, &talk.controller)
        talk.session.miss(0x5800, isWrite: true, &talk.controller)
        #expect(talk.controller.asked.count == 4, "a page is asked for once")
        try talk.session.repeatMisses(&talk.controller)
        #expect(talk.controller.asked.count == 7, "the ring's three pages")
        talk.session.miss(0x5000, isWrite: true, &talk.controller)
        #expect(talk.controller.asked.last == .translationMiss(address: 0x5000, isWrite: true))
        #expect(talk.controller.asked.count == 8)
    }

    @Test("asks for nothing while the device is reset")
    func reset() throws {
        var talk = try waiting()
        let before = talk.controller.asked.count
        try talk.tell([.word(.setStatus, 0)])
        talk.session.miss(0x5000, isWrite: false, &talk.controller)
        #expect(talk.controller.asked.count == before)
    }
}
