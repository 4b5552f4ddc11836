// What a queue behind an IOMMU remembers of what it could not find.

import Testing

@testable import VhostUser

@Suite("A translator")
struct TranslatorTests {
    @Test("notes a miss once for each replacement of the translations, wherever they lie")
    func misses() {
        let table = TranslationTable()
        var translator = Translator(table)
        func visit() -> Int {
            translator.begin()
            _ = unsafe translator.find(0x5000, isWrite: true)
            _ = unsafe translator.find(0x5000, isWrite: true)
            return translator.takeMisses().count
        }
        #expect(visit() == 1)
        var isWaiting = translator.isWaiting
        #expect(isWaiting)
        #expect(visit() == 0)
        for _ in 0..<100 {
            // Two between two visits: the allocator gives the same address again.
            for _ in 0..<2 { TranslationTable.free(table.replace(IOTLB(), in: nil)) }
            isWaiting = translator.isWaiting
            #expect(!isWaiting)
            #expect(visit() == 1)
            #expect(visit() == 0)
        }
    }
}
