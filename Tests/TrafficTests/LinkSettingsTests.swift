// The words of -B, -D, -L, -R and -Q.

import Testing
import Traffic

@Suite struct LinkSettingsTests {
    @Test func bandwidths() throws {
        typealias Bandwidth = LinkSettings.Bandwidth
        let cases: [(String, Bandwidth)] = [
            ("0", .unlimited), ("1000", .constant(1000)), ("100M", .constant(100_000_000)),
            ("constant,2.5g", .constant(2_500_000_000)), ("ether,10G", .ethernet(10_000_000_000)),
            ("10Mbps", .constant(10_000_000)), ("real", .recorded(speedup: 1)),
            ("real,2.5", .recorded(speedup: 2.5)),
        ]
        for (text, value) in cases { #expect(try Bandwidth(text) == value, "\(text)") }
    }

    @Test func delays() throws {
        typealias Delay = LinkSettings.Delay
        let cases: [(String, Delay)] = [
            ("0", .constant(0)), ("10ms", .constant(10_000_000)),
            ("1.5s", .constant(1_500_000_000)),
            ("constant,5u", .constant(5000)), ("300ns", .constant(300)),
            ("uniform,1ms,3ms", .uniform(least: 1_000_000, most: 3_000_000)),
            ("exp,0,2m", .exponential(least: 0, average: 2_000_000)),
        ]
        for (text, value) in cases { #expect(try Delay(text) == value, "\(text)") }
    }

    @Test func lossesHoldsAndQueues() throws {
        #expect(try LinkSettings.Loss("0.25") == .frames(0.25))
        #expect(try LinkSettings.Loss("plr,1") == .frames(1))
        #expect(try LinkSettings.Loss("ber,1e-6") == .bits(1e-6))
        #expect(
            try LinkSettings.Reordering("const,0.1,2ms") == .init(share: 0.1, hold: 2_000_000)
        )
        #expect(try LinkSettings.Reordering("1,5us") == .init(share: 1, hold: 5000))
        #expect(try LinkSettings.queue("64K") == 65_536)
        #expect(try LinkSettings.queue("50000") == 50_000)
    }

    @Test(arguments: [
        "", ",", "-1", "x", "1e99", "nan", "inf", "ether", "ether,0", "constant,", "real,0",
        "real,-1",
        "real,1,2", "10Q", "1,2", "ether,ether,1",
    ])
    func noBandwidth(text: String) {
        #expect(throws: LinkSettingError.self) { try LinkSettings.Bandwidth(text) }
    }

    @Test(arguments: [
        "", "5", "-5ms", "ms", "5 ms", "uniform,1ms", "uniform,3ms,1ms", "exp,2ms,1ms", "exp,1,2",
        "constant,1ms,2ms", "9999999s", "nan", "normal,1ms,2ms", "1ms,2ms",
    ])
    func noDelay(text: String) {
        #expect(throws: LinkSettingError.self) { try LinkSettings.Delay(text) }
    }

    @Test func whatIsWrongIsSaid() {
        func sentence(_ body: () throws -> Void) -> String {
            do { try body() } catch { return "\(error)" }
            return ""
        }
        #expect(
            sentence { _ = try LinkSettings.Loss("2") }.hasPrefix("-L '2' makes no sense; write")
        )
        #expect(
            sentence { _ = try LinkSettings.Delay("5") }.contains("the units are s, ms, us and ns")
        )
        #expect(throws: LinkSettingError.self) { try LinkSettings.Loss("ber") }
        #expect(throws: LinkSettingError.self) { try LinkSettings.Loss("0.1,plr") }
        #expect(throws: LinkSettingError.self) { try LinkSettings.Reordering("0.1") }
        #expect(throws: LinkSettingError.self) { try LinkSettings.Reordering("2,1ms") }
        #expect(throws: LinkSettingError.self) { try LinkSettings.queue("0") }
        #expect(throws: LinkSettingError.self) { try LinkSettings.queue("many") }
    }
}
