// What a new implementation of netmap gets wrong (netmap-spec 9), and which tests would notice.

import Glibc
import Netmap
import Testing

/// The traps by number, each with its tests: a function of a suite, or a file of the integration tests
/// with what it prints.
private let traps: [(trap: String, tests: [String])] = [
    ("1 ring.dir is 0 for receive", ["netmap/conform_requests.c: trap 1: 0 is receive"]),
    (
        "2 ring.sem is the program's",
        ["DeviceRuleTests.cleared", "netmap/conform_requests.c: trap 2: sem"]
    ),
    (
        "3 a netmap_if each, 0 for rings that are not bound, host rings that are none",
        ["DeviceRuleTests.interfaces", "netmap/conform_requests.c: trap 3:"]
    ),
    (
        "4 offsets relative to the netmap_if and to the ring",
        ["DeviceRegisterTests.workedExample", "netmap/conform_requests.c: trap 4:"]
    ),
    (
        "5 versions of the older requests and of NIOCCTRL",
        [
            "DeviceLegacyTests.versions", "DeviceOptionTests.versions",
            "netmap/conform_requests.c: trap 5:",
        ]
    ),
    (
        "6 pipe suffixes go behind a name of 16 bytes",
        ["DeviceLegacyTests.pipes", "netmap/conform_requests.c: trap 6:"]
    ),
    (
        "7 unknown flags are ignored",
        ["DeviceRuleTests.untouched", "netmap/conform_requests.c: trap 7:"]
    ),
    (
        "8 mode, ring number and flags come back; 'z' adds both directions",
        [
            "DeviceRuleTests.untouched", "DeviceMonitorTests.zeroCopy",
            "netmap/conform_requests.c: trap 8:", "netmap/conform_objects.c: trap 8:",
        ]
    ),
    (
        "9 what is written back, and when",
        ["DeviceOptionTests.headers", "shim/check_request.c: trap 9:"]
    ),
    (
        "10 any number of slots",
        [
            "DeviceRuleTests.oddRings", "netmap/conform_requests.c: trap 10:",
            "netmap/conform_objects.c: trap 10:",
        ]
    ),
    (
        "11 one slot stays unusable",
        ["DeviceRuleTests.oddRings", "netmap/conform_requests.c: traps 10 and 11:"]
    ),
    (
        "12 no ring: the last one is before the first",
        [
            "LibNetmapTests.aPortKnowsWhichRingsItBound", "DeviceRuleTests.oneDirection",
            "netmap/conform_requests.c: trap 12:",
        ]
    ),
    ("13 poll syncs every descriptor", ["shim/check_wait.c: trap 13:"]),
    ("14 readiness is cur, not head", ["shim/check_wait.c: trap 14:"]),
    (
        "15 failures are for poll, not for ioctl",
        [
            "shim/check_sync.c: trap 15:", "shim/check_wait.c: trap 15:",
            "netmap/conform_objects.c: trap 15:",
        ]
    ),
    ("16 a tail that the program wrote is restored", ["shim/check_sync.c: trap 16"]),
    (
        "17 rings may say anything at any time",
        [
            "shim/check_sync.c: trap 17:", "RingTests.hostileOwner", "DeviceModelTests.scribbling",
            "47_netmap_program_scribbles: trap 17",
        ]
    ),
    (
        "18 cur of a receive ring may go back",
        ["shim/check_sync.c: trap 18:", "shim/check_wait.c: trap 18:"]
    ),
    ("19 only NS_BUF_CHANGED is cleared", ["shim/check_sync.c: trap 19:"]),
    ("20 each receive sync is stamped", ["shim/check_sync.c: trap 20:"]),
    (
        "21 two processes sync one ring",
        ["shim/check_sync.c: trap 21:", "netmap/conform_frames.c: trap 21:"]
    ),
    ("22 one bad ring does not stop the others", ["shim/check_sync.c: trap 22:"]),
    (
        "23 a switch never holds up a sender",
        ["netmap/conform_frames.c: trap 23:", "RingTests.transmit"]
    ),
    (
        "24 a frame without an end is sent by a switch and withheld by a pipe",
        [
            "RingTests.fragments", "netmap/conform_frames.c: trap 24:",
            "netmap/conform_objects.c: trap 24:", "shim/check_sync.c: trap 24:",
        ]
    ),
    ("25 which ring a frame arrives in", ["netmap/conform_frames.c: trap 25:"]),
    (
        "26 addresses that move, hairpins",
        [
            "ForwardingTableTests.moves", "ForwardingTableTests.noAgeing",
            "netmap/conform_frames.c: trap 26:",
        ]
    ),
    (
        "27 the fragment count in received flags",
        [
            "RingTests.receive", "KringTests.ports", "netmap/conform_frames.c: trap 27:",
            "netmap/conform_switches.c: trap 27:",
        ]
    ),
    ("28 bad slots become empty", ["RingTests.badSlots", "netmap/conform_frames.c: trap 28:"]),
    ("29 a length of a whole buffer", ["RingTests.receive", "netmap/conform_frames.c: trap 29:"]),
    (
        "30 asking about a port makes it for a moment",
        ["DeviceInfoTests.temporary", "netmap/conform_requests.c: trap 30:"]
    ),
    (
        "31 names that begin with val, names of interfaces, two names of persistent ports",
        [
            "DeviceNameTests.val", "DeviceNameTests.ofInterface", "DeviceNameTests.twoNames",
            "netmap/conform_objects.c: trap 31:",
        ]
    ),
    (
        "32 QEMU's probe for headers",
        [
            "DeviceInfoTests.qemu", "DeviceInfoTests.names", "netmap/conform_requests.c: trap 32:",
            "netmap/conform_frames.c: trap 32:",
        ]
    ),
    (
        "33 segments fit the receiver",
        ["OffloadFinisherTests.segmentation", "netmap/conform_frames.c: trap 33:"]
    ),
    (
        "34 indirect data is the sender's",
        ["shim/check_sync.c: trap 34:", "netmap/conform_frames.c: trap 34:"]
    ),
    ("35 ports and names without number", ["DeviceValeTests.manyPorts", "DeviceNameTests.cut"]),
    (
        "36 a pipe's room comes back with the receiver's sync, with other buffers",
        ["shim/check_sync.c: trap 36:", "netmap/conform_objects.c: trap 36:"]
    ),
    (
        "37 slot.ptr travels through pipes",
        ["shim/check_sync.c: trap 37:", "netmap/conform_objects.c: trap 37:"]
    ),
    (
        "38 the slot at tail has its buffer already",
        ["shim/check_sync.c: trap 38:", "netmap/conform_objects.c: trap 38:"]
    ),
    (
        "39 a pipe's state survives one end's closing",
        ["DevicePipeTests.state", "netmap/conform_objects.c: trap 39:"]
    ),
    ("40 a full monitor keeps the newest", ["netmap/conform_objects.c: trap 40:"]),
    ("41 a monitor sees frames as they arrive", ["netmap/conform_objects.c: trap 41:"]),
    (
        "42 parents that are made with a pipe go with it",
        ["DevicePipeTests.automatic", "netmap/conform_objects.c: trap 42:"]
    ),
    (
        "43 a mapping outlives its descriptor and shows later rings",
        [
            "shim/check_identity.c: 2.2: a mapping keeps the binding",
            "netmap/conform_requests.c: trap 43:", "DeviceMemoryTests.shared",
        ]
    ),
    (
        "44 descriptors cross processes",
        ["shim/check_identity.c: trap 44:", "netmap/conform_objects.c: trap 44:"]
    ),
    (
        "45 the list of extra buffers is read at close",
        [
            "DeviceMemoryTests.extraBuffers", "DeviceMemoryTests.wildLists",
            "netmap/conform_frames.c: trap 45:",
        ]
    ),
    (
        "46 kill -9 at any moment",
        [
            "shim/check_sync.c: trap 46:", "netmap/conform_objects.c: trap 46:",
            "46_netmap_programs_killed: trap 46",
        ]
    ),
    (
        "47 STOP before START",
        [
            "DeviceLoopTests.stopFirst", "shim/check_request.c: trap 47:",
            "netmap/conform_requests.c: trap 47:",
        ]
    ),
    (
        "48 a second START fails at once",
        [
            "DeviceControlAPITests+Memory.conflict", "shim/check_request.c: trap 48:",
            "netmap/conform_requests.c: trap 48:",
        ]
    ),
    ("49 ordinary sockets are ordinary", ["shim/check_identity.c: trap 49:"]),
    ("50 poll and select as in the manual", ["shim/check_wait.c: trap 50:"]),
    ("51 a listing tells its end by ENOENT", ["DeviceValeTests.listAll"]),
    ("52 privileges dropped after open", ["netmap/conform_objects.c: trap 52:"]),
]

@Suite("The table of traps")
struct TrapTableTests {
    /// A file below the package's directory.
    private func text(_ path: String) -> String? {
        let here = Array("\(#filePath)".utf8)
        guard let slash = here.lastIndex(of: UInt8(ascii: "/")) else { return nil }
        let directory = String(decoding: here[..<slash], as: UTF8.self)
        let number = unsafe open("\(directory)/../../\(path)", O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { return nil }
        let file = OwnedDescriptor(number)
        var bytes = [UInt8](repeating: 0, count: 1 << 17)
        let count = unsafe read(file.number, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }

    private func exists(_ test: String) -> Bool {
        if let colon = test.firstRange(of: ": ") {
            let file = text("IntegrationTests/\(test[..<colon.lowerBound])") ?? ""
            return file.contains(test[colon.upperBound...])
        }
        let parts = test.split(separator: ".", maxSplits: 1).map(String.init)
        let modules = ["NetmapTests", "ValeTests", "LibNetmapTests"]
        return modules.contains { module in
            text("Tests/\(module)/\(parts[0]).swift")?.contains("func \(parts[1])(") ?? false
        }
    }

    @Test("names tests that exist, for each of the 52")
    func names() {
        #expect(traps.count == 52)
        for (index, (trap, tests)) in traps.enumerated() {
            #expect(trap.hasPrefix("\(index + 1) ") && !tests.isEmpty, "\(trap)")
            for test in tests { #expect(exists(test), "\(trap): \(test)") }
        }
    }
}
