import Testing

@testable import Engine

@Suite("A worker's quiet sources")
struct QuietSourcesTests {
    /// In how many of 1000 turns the source at `index` is looked at, if it never has work.
    private func looks(_ sources: inout QuietSources, at index: Int) -> Int {
        var count = 0
        for _ in 0..<1000 where sources.isDue(index) {
            sources.note(index, false)
            count += 1
        }
        return count
    }

    @Test("are looked at in one of seven to ten turns, after 64 without work")
    func quiet() {
        var sources = QuietSources()
        for _ in 0..<64 {
            let isDue = sources.isDue(0)
            #expect(isDue)
            sources.note(0, false)
        }
        let counts = (0..<4).map { looks(&sources, at: $0) }
        #expect(counts[0] == 1000 / 7 + 1)
        #expect(counts[1...].allSatisfy { (155...185).contains($0) }, "\(counts)")
    }

    @Test("are looked at in every turn again as soon as they have work")
    func awake() {
        var sources = QuietSources()
        _ = looks(&sources, at: 5)
        while !sources.isDue(5) {}
        sources.note(5, true)
        for _ in 0..<64 {
            let isDue = sources.isDue(5)
            #expect(isDue)
            sources.note(5, false)
        }
        // A place in the list that is beyond what is remembered shares another's.
        let isDue = sources.isDue(1024 + 6)
        #expect(isDue)
    }
}
