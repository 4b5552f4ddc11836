// What a port may do, as people write it.

import Control
import Testing

@Suite struct TrafficUnitsTests {
    @Test(
        "rates are read as tc reads them",
        arguments: [
            ("10mbit", 10_000_000), ("1.5gbit", 1_500_000_000), ("100", 100), ("64kbit", 64000),
            ("8bit", 8), ("1tbit", 1_000_000_000_000), ("1kibit", 1024), ("2mibit", 2_097_152),
            ("10bps", 80), ("1kbps", 8000), ("1mibps", 8_388_608), ("10MBIT", 10_000_000),
        ] as [(String, UInt64)]
    )
    func rates(text: String, bits: UInt64) {
        #expect(TrafficUnits.rate(text) == bits)
    }

    @Test(
        "sizes are read as tc reads them",
        arguments: [
            ("1500", 1500), ("64kb", 65536), ("64k", 65536), ("1mb", 1_048_576), ("10b", 10),
            ("8kbit", 1024), ("1.5k", 1536), ("1g", 1_073_741_824),
        ] as [(String, UInt64)]
    )
    func sizes(text: String, bytes: UInt64) {
        #expect(TrafficUnits.size(text) == bytes)
    }

    @Test(
        "nonsense is none",
        arguments: [
            "", "x", "10x", "mbit", "-1mbit", ".5mbit", "1..5mbit", "10 mbit", "1e99mbit", "10xbit",
        ]
    )
    func nonsense(text: String) {
        #expect(TrafficUnits.rate(text) == nil)
        #expect(TrafficUnits.size(text) == nil)
    }

    @Test func aTextIsReadAsWhatItWasMadeOf() {
        for value in [8, 1000, 1001, 1_500_000, 10_000_000, 2_000_000_000] as [UInt64] {
            #expect(TrafficUnits.rate(TrafficUnits.text(rate: value)) == value)
            #expect(TrafficUnits.size(TrafficUnits.text(size: value * 8)) == value * 8)
        }
    }
}

@Suite struct PortPolicyTests {
    private func policy(_ text: String) throws -> PortPolicy {
        try NetdevOptions(text: "netmap,id=n0,ifname=vale0:a" + (text.isEmpty ? "" : ",\(text)"))
            .policy
    }

    @Test(
        "good rules are taken, and come back as they were",
        arguments: [
            ("", ""), ("vlan=10", "vlan=10"), ("trunks=10,,20-30", "trunks=10,,20-30"),
            ("trunks=30-40,,10,,11,,35-50", "trunks=10-11,,30-50"), ("trunks=all", ""),
            ("trunks=10,native-vlan=5", "native-vlan=5,trunks=10"),
            ("native-vlan=5", "native-vlan=5"),
            ("isolated=on", "isolated=on"), ("mac-limit=3", "mac-limit=3"), ("mac-limit=0", ""),
            ("source-check=first", "source-check=first"), ("source-check=off", ""),
            (
                "source-check=52:54:00:AA:00:01,,52:54:00:aa:00:02",
                "source-check=52:54:00:aa:00:01,,52:54:00:aa:00:02"
            ),
            ("storm-limit=100", "storm-limit=100"),
            ("rx-rate=10mbit,rx-burst=64kb", "rx-burst=64kb,rx-rate=10mbit"),
            ("tx-rate=1.5gbit", "tx-rate=1500mbit"), ("tx-rate=off", ""), ("vlan=0", ""),
        ]
    )
    func takes(text: String, same: String) throws {
        let policy = try policy(text)
        let words = policy.members.sorted { $0.key < $1.key }.map { key, value in
            let word = value == true ? "on" : value.stringValue ?? value.description
            return "\(key)=\(KeyValueText.escape(word))"
        }
        #expect(words.joined(separator: ",") == same)
        #expect(try PortPolicy(policy.members) == policy)
    }

    @Test(
        "bad rules are refused with a sentence that helps",
        arguments: [
            ("vlan=4095", "'vlan' expects a number from 0 (none) to 4094, not 4095"),
            ("vlan=-1", "not -1"), ("vlan=10,trunks=20", "'vlan' and 'trunks' exclude each other"),
            ("vlan=10,native-vlan=20", "'vlan' and 'native-vlan' exclude each other"),
            ("trunks=", "such as 10,20-30; not ''"), ("trunks=5-", "not '5-'"),
            ("trunks=30-20", "not '30-20'"), ("trunks=4095", "not '4095'"),
            ("trunks=1-2-3", "not '1-2-3'"),
            ("trunks=a", "not 'a'"), ("mac-limit=-1", "from 0 (none) to 8192"),
            ("source-check=33:33:00:00:00:01", "addresses of stations"),
            ("source-check=first,,52:54:00:00:00:01", "addresses of stations"),
            ("rx-rate=fast", "such as 10mbit; not 'fast'"), ("rx-rate=2tbit", "8bit to 1tbit"),
            ("tx-burst=64kb", "'tx-burst' says nothing without 'tx-rate'"),
            ("rx-rate=1mbit,rx-burst=0", "bytes from 1 to 1gb"),
            ("tx-rate=1mbit,lossless=on", "'tx-rate' and 'lossless' exclude each other"),
        ]
    )
    func refuses(text: String, part: String) {
        #expect {
            _ = try policy(text)
        } throws: { error in
            "\(error)".contains(part)
        }
    }

    @Test func whatIsNotMentionedStays() throws {
        let old = try policy("trunks=10,native-vlan=5,rx-rate=10mbit,rx-burst=64kb,mac-limit=4")
        let access = try PortPolicy(["vlan": 7], changing: old)
        #expect(access.members["vlan"] == 7 && access.members["trunks"] == nil)
        #expect(access.members["native-vlan"] == nil && access.members["mac-limit"] == 4)
        let trunk = try PortPolicy(["trunks": "1-9"], changing: access)
        #expect(trunk.members["vlan"] == nil && trunk.members["trunks"] == "1-9")
        let faster = try PortPolicy(["rx-rate": "20mbit"], changing: trunk)
        #expect(faster.members["rx-burst"] == "64kb")
        let free = try PortPolicy(
            ["rx-rate": "off", "trunks": "all", "mac-limit": 0],
            changing: faster
        )
        #expect(free.isEmpty)
    }

    @Test(
        "hubs have ports as QEMU has them",
        arguments: [
            ("hubport,id=p0,hubid=0", "hub0:p0"), ("hubport,id=p0,hubid=12,netdev=n0", "hub12:p0"),
        ]
    )
    func hubs(text: String, name: String) throws {
        let options = try NetdevOptions(text: text)
        #expect("\(options.port)" == name)
        #expect(try NetdevOptions(options.arguments) == options)
    }

    @Test(
        "hubs refuse what they cannot do",
        arguments: [
            ("hubport,id=p0", "'hubid' is missing"), ("hubport,id=p0,hubid=-1", "from 0 to"),
            ("hubport,id=p0,hubid=0,vlan=3", "a hub knows no VLANs"),
            ("hubport,id=p0,hubid=0,mac-limit=3", "a hub learns no addresses"),
            ("hubport,id=p0,hubid=0,netdev=n0,isolated=on", "'isolated' is unexpected"),
            ("hubport,id=a-very-long-identifier,hubid=0", "at most 15 are possible"),
            ("netmap,id=n,ifname=hub01:a", "does not start with 'vale'"),
        ]
    )
    func hubRefusals(text: String, part: String) {
        #expect {
            _ = try NetdevOptions(text: text)
        } throws: { error in
            "\(error)".contains(part)
        }
    }
}
