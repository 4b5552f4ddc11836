// The C libraries: what port specifications mean, and that their functions do with rings what they say.

import LibNetmapProbe
import Testing

/// A specification and what it means, named by itself.
struct Row: CustomTestStringConvertible, Sendable {
    let spec: String
    let meaning: String

    init(_ spec: String, _ meaning: String) {
        self.spec = spec
        self.meaning = meaning
    }

    var testDescription: String { spec.isEmpty ? "the empty specification" : spec }
}

/// What a probe writes into its buffer.
private func text(_ probe: (UnsafeMutablePointer<CChar>, Int) -> Void) -> String {
    var buffer = [CChar](repeating: 0, count: 512)
    return unsafe buffer.withUnsafeMutableBufferPointer { bytes in
        guard let base = bytes.baseAddress else { return "" }
        unsafe probe(base, bytes.count)
        return unsafe String(cString: base)
    }
}

private func failure(_ result: UnsafePointer<CChar>?) -> String? {
    // SAFETY: NULL or a string literal of the probe.
    unsafe result.map { unsafe String(cString: $0) }
}

/// One after the other: the default context and the table of options belong to the process.
@Suite(.serialized) enum LibNetmapTests {}

extension LibNetmapTests {
    @Suite struct SpecificationTests {
        static let plain = "mode 1 ring 0 flags 0 memory 0"
        static let invalid = "Invalid argument"

        @Test(
            "name, rings and flags of a specification",
            arguments: [
                Row("netmap:eth0", "eth0, rest : \(plain)"),
                Row("netmap:eth0-1", "eth0, rest : mode 4 ring 1 flags 0 memory 0"),
                Row("netmap:eth0-", "eth0, rest -: \(invalid)"),
                Row("netmap:eth0/x", "eth0, rest : mode 1 ring 0 flags 0x800 memory 0"),
                Row("netmap:eth0/z", "eth0, rest : mode 1 ring 0 flags 0x400 memory 0"),
                Row("netmap:eth0/r", "eth0, rest : mode 1 ring 0 flags 0x200 memory 0"),
                Row("netmap:eth0/t", "eth0, rest : mode 1 ring 0 flags 0x100 memory 0"),
                Row("netmap:eth0-2/Tx", "eth0, rest : mode 4 ring 2 flags 0x4800 memory 0"),
                Row("netmap:eth0*", "eth0, rest : mode 3 ring 0 flags 0 memory 0"),
                Row("netmap:eth0^", "eth0, rest : mode 2 ring 0 flags 0 memory 0"),
                Row("netmap:eth0^3", "eth0, rest : mode 8 ring 3 flags 0 memory 0"),
                Row("netmap:eth0@2", "eth0, rest : mode 1 ring 0 flags 0 memory 2"),
                Row("netmap:eth0@2/R", "eth0, rest : mode 1 ring 0 flags 0x2000 memory 2"),
                Row("netmap:eth0@2/R@2", "eth0, rest : mode 1 ring 0 flags 0x2000 memory 2"),
                Row("netmap:eth0@netmap:lo/R", "eth0, rest @netmap:lo/R: \(plain)"),
                Row("netmap:eth0/R@xxx", "eth0, rest @xxx: mode 1 ring 0 flags 0x2000 memory 0"),
                Row("netmap:eth0@2/R@3", "eth0, rest @2/R@3: \(invalid)"),
                Row("netmap:eth0@", "eth0, rest @: \(invalid)"),
                Row("vale0:0@", "vale0:0, rest @: \(invalid)"),
                Row("netmap:", "no name: \(invalid)"),
                Row("netmap:^", "no name: \(invalid)"),
                Row("netmap:{", "no name: \(invalid)"),
                Row("", "no name: \(invalid)"),
                Row("eth0", "no name: \(invalid)"),
                Row("netmapXXX:eth0", "no name: \(invalid)"),
                Row("netmap:pipe{1}2", "no name: \(invalid)"),
                Row("netmap:vale0:0", "vale0:0, rest : \(plain)"),
                Row("netmap:eth0&", "eth0&, rest : \(plain)"),
                Row("vale0:0", "vale0:0, rest : \(plain)"),
                Row("vale:0", "vale:0, rest : \(plain)"),
                Row("valeXXX:YYY", "valeXXX:YYY, rest : \(plain)"),
                Row("valeXXX:YYY-4", "valeXXX:YYY, rest : mode 4 ring 4 flags 0 memory 0"),
                Row("netmap:14", "14, rest : \(plain)"),
                Row("netmap:pipe{0", "pipe{0, rest : \(plain)"),
                Row("netmap:pipe{in", "pipe{in, rest : \(plain)"),
                Row("netmap:pipe{in-7", "pipe{in, rest : mode 4 ring 7 flags 0 memory 0"),
                Row("vale0:0{0", "vale0:0{0, rest : \(plain)"),
                Row("vale0:0}a_b", "vale0:0}a_b, rest : \(plain)"),
                Row("vale0:0@opt", "vale0:0, rest @opt: \(plain)"),
                Row("vale0:0/Tx@opt", "vale0:0, rest @opt: mode 1 ring 0 flags 0x4800 memory 0"),
                Row("vale0:0-3@opt", "vale0:0, rest @opt: mode 4 ring 3 flags 0 memory 0"),
                Row("netmap:eth0-4094", "eth0, rest : mode 4 ring 4094 flags 0 memory 0"),
                Row("netmap:eth0-4095", "eth0, rest -4095: \(invalid)"),
                Row("netmap:eth0/x-1", "eth0, rest /x-1: \(invalid)"),
                Row("netmap:eth0-1^", "eth0, rest -1^: \(invalid)"),
                Row("netmap:eth0@0", "eth0, rest @0: \(invalid)"),
                Row("netmap:eth0@65535", "eth0, rest : mode 1 ring 0 flags 0 memory 65535"),
                Row("netmap:eth0@65536", "eth0, rest @65536: \(invalid)"),
                Row("netmap:eth0/", "eth0, rest /: \(invalid)"),
                Row("netmap:eth0/q", "eth0, rest /q: \(invalid)"),
                Row("vale_x:y", "vale_x:y, rest : \(plain)"),
                Row("vale-x:y", "no name: \(invalid)"),
                Row("vale0", "no name: \(invalid)"),
                Row("netmap:eth0.5 b", "eth0.5 b, rest : \(plain)"),
                Row(
                    "netmap:" + String(repeating: "n", count: 63),
                    String(repeating: "n", count: 63) + ", rest : \(plain)"
                ),
                Row("netmap:" + String(repeating: "n", count: 64), "no name: \(invalid)"),
            ]
        )
        func decodes(row: Row) {
            let meaning = unsafe text { unsafe probe_decode(row.spec, $0, $1) }
            #expect(meaning == row.meaning)
        }

        @Test(
            "the options of a specification",
            arguments: [
                Row("vale0:0@conf:rings=4", "rings 4/4 host 0/0 slots 0/0 memory 0"),
                Row("vale0:0@conf:tx-rings=2,rings=4", "rings 2/4 host 0/0 slots 0/0 memory 0"),
                Row("vale0:0@conf:rx_rings=2,rings=4", "rings 4/2 host 0/0 slots 0/0 memory 0"),
                Row(
                    "vale0:0@conf:tx-slots=64,slots=512,host-rings=3,host-rx-rings=9",
                    "rings 0/0 host 3/9 slots 64/512 memory 0"
                ),
                Row("vale0:0@conf:slots=5@conf:rings=2", "rings 2/2 host 0/0 slots 5/5 memory 0"),
                Row("vale0:0/x@3@conf:slots=5", "rings 0/0 host 0/0 slots 5/5 memory 3"),
                Row("vale0:0@conf=4", invalid), Row("vale0:0@conf", invalid),
                Row("vale0:0@conf:", invalid), Row("vale0:0@conf:rings", invalid),
                Row("vale0:0@conf:rings=", invalid), Row("vale0:0@conf:rings=x", invalid),
                Row("vale0:0@conf:rings=4,rings=4", invalid), Row("vale0:0@conf:bogus=1", invalid),
                Row("vale0:0@conf:slots=5,", invalid), Row("vale0:0@conf:rings=65536", invalid),
                Row("vale0:0@@conf:slots=5", invalid), Row("vale0:0@conf:slots=5@", invalid),
                Row("vale0:0@nope", invalid), Row("vale0:0@extmem", invalid),
                Row("vale0:0@extmem=", invalid), Row("vale0:0@extmem:if-num=2", invalid),
                Row("vale0:0@extmem=/nonexistent", "No such file or directory"),
                Row("vale0:0@share", invalid), Row("vale0:0@share=eth0", invalid),
                Row("vale0:0@offset=64", "Operation not supported"),
            ]
        )
        func prepares(row: Row) {
            let meaning = unsafe text { unsafe probe_prepare(row.spec, 0, $0, $1) }
            #expect(meaning == row.meaning)
        }

        @Test(
            "the option offset, where a program wants it",
            arguments: [
                Row("v", invalid),
                Row(
                    "vale0:0@offset=64",
                    "rings 0/0 host 0/0 slots 0/0 memory 0 offset 64 of 64 in 0 bits"
                ),
                Row(
                    "vale0:0@offset:initial=8,bits=32",
                    "rings 0/0 host 0/0 slots 0/0 memory 0 offset 8 of 8 in 32 bits"
                ),
                Row("vale0:0@offset:bits=32", invalid), Row("vale0:0@offset", invalid),
            ]
        )
        func offers(row: Row) {
            let meaning = unsafe text { unsafe probe_prepare(row.spec, 1, $0, $1) }
            #expect(meaning == row.meaning)
        }

        @Test(
            "names as nm_open takes them",
            arguments: [
                Row("netmap:eth0", "eth0: mode 1 ring 0 flags 0 memory 0"),
                Row("netmap:eth0^", "eth0: mode 2 ring 0 flags 0 memory 0"),
                Row("netmap:eth0*", "eth0: mode 3 ring 0 flags 0 memory 0"),
                Row("netmap:eth0-3", "eth0: mode 4 ring 3 flags 0 memory 0"),
                Row("netmap:eth0-4094", "eth0: mode 4 ring 4094 flags 0 memory 0"),
                Row("netmap:eth0-4095", "refused"),
                Row("netmap:eth0{3", "eth0: mode 5 ring 3 flags 0 memory 0"),
                Row("vale0:a}3", "vale0:a: mode 6 ring 3 flags 0 memory 0"),
                Row("netmap:eth0/x", "eth0: mode 1 ring 0 flags 0x800 memory 0"),
                Row("netmap:eth0/z", "eth0: mode 1 ring 0 flags 0x400 memory 0"),
                Row("netmap:eth0/t", "eth0: mode 1 ring 0 flags 0x100 memory 0"),
                Row("netmap:eth0/r", "eth0: mode 1 ring 0 flags 0x200 memory 0"),
                Row("netmap:eth0/R", "eth0: mode 1 ring 0 flags 0x2000 memory 0"),
                Row("netmap:eth0/T", "eth0: mode 1 ring 0 flags 0x4000 memory 0"),
                Row("netmap:eth0@7", "eth0: mode 1 ring 0 flags 0 memory 7"),
                Row("vale0:a{2/xT@7", "vale0:a: mode 5 ring 2 flags 0x4800 memory 7"),
                Row("netmap:eth0-1@7/x", "eth0: mode 4 ring 1 flags 0x800 memory 7"),
                Row("netmap:", ": mode 1 ring 0 flags 0 memory 0"),
                Row("netmap:vale0:0", "vale0:0: mode 1 ring 0 flags 0 memory 0"),
                Row("vale0:0", "vale0:0: mode 1 ring 0 flags 0 memory 0"),
                Row("vale_a:b_c", "vale_a:b_c: mode 1 ring 0 flags 0 memory 0"),
                Row("vale0", "refused"), Row("vale0:a.b", "refused"), Row("vale+:a", "refused"),
                Row("netmap:eth0-", "refused"), Row("netmap:eth0{", "refused"),
                Row("netmap:eth0/", "refused"), Row("netmap:eth0@", "refused"),
                Row("netmap:eth0^1", "refused"), Row("netmap:eth0{in", "refused"),
                Row("netmap:eth0@1@1", "refused"), Row("netmap:eth0@0", "refused"),
                Row("netmap:eth0/q", "refused"), Row("netmap:eth0**", "refused"),
                Row("netmap:fifteen-1", "fifteen: mode 4 ring 1 flags 0 memory 0"),
                Row("netmap:abcdefghijklmno", "abcdefghijklmno: mode 1 ring 0 flags 0 memory 0"),
                Row("netmap:abcdefghijklmnop", "refused"),
            ]
        )
        func parses(row: Row) {
            let meaning = unsafe text { unsafe probe_nm_parse(row.spec, $0, $1) }
            #expect(meaning == row.meaning)
        }

        @Test(
            "what is no netmap name is left to others, without an error",
            arguments: ["eth0", ""]
        )
        func leaves(name: String) {
            #expect(unsafe probe_nm_open(name) == 0)
        }
    }

    @Suite struct PortTests {
        @Test func aFrameTakesSlotsOfTheFirstRingWithRoom() {
            #expect(unsafe failure(probe_injects()) == nil)
        }

        @Test func theHeaderLibrarySendsTheSameWay() {
            #expect(unsafe failure(probe_injects_inline()) == nil)
        }

        @Test func framesAreDispatchedWithTheirFragments() {
            #expect(unsafe failure(probe_dispatches()) == nil)
        }

        @Test func theNextPacketComesFromAnyRing() {
            #expect(unsafe failure(probe_next_packet()) == nil)
        }

        @Test func aPortKnowsWhichRingsItBound() {
            #expect(unsafe failure(probe_finds_rings()) == nil)
        }

        @Test func portsOfOneMemoryShareAMapping() {
            #expect(unsafe failure(probe_shares_mappings()) == nil)
        }

        @Test func aCloneHasTheSameRequestWithoutOptions() {
            #expect(unsafe failure(probe_clones()) == nil)
        }

        @Test func optionsAreAList() {
            #expect(unsafe failure(probe_lists_options()) == nil)
        }

        @Test func framesStartAtTheirOffsets() {
            #expect(unsafe failure(probe_keeps_offsets()) == nil)
        }

        @Test func externalMemoryIsMappedOnceAndKept() {
            #expect(unsafe failure(probe_external_memory()) == nil)
        }
    }
}
