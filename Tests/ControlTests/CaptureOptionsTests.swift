// What can be asked of dumps, replays and sinks, and what is said to those who ask for something else.

import Testing

@testable import Control

@Suite("Options of captures")
struct CaptureOptionsTests {
    private func message(_ body: () throws(QMPError) -> Void) -> String {
        do throws(QMPError) {
            try body()
            return ""
        } catch {
            return error.description
        }
    }

    private let small: JSONObject = ["id": "d", "name": "vale0:a", "file": "/tmp/x"]

    private func dump(_ more: JSONObject) throws(QMPError) -> DumpOptions {
        var arguments = small
        for (name, value) in more { arguments[name] = value }
        return try DumpOptions(arguments)
    }

    @Test
    func `a dump has tcpdump's defaults`() throws {
        let options = try DumpOptions(small)
        #expect(options.format == .pcapng && options.snapLength == 262_144)
        #expect(options.takesInbound && options.takesOutbound && options.filter == nil)
        #expect(options.count == nil && options.files == nil && !options.isEphemeral)
        #expect(try dump(["file": "/tmp/x.pcap"]).format == .pcap)
        #expect(try dump(["file": "/tmp/x.pcap", "format": "pcapng"]).format == .pcapng)
        let inbound = try dump(["direction": "in", "snaplen": 0])
        #expect(inbound.takesInbound && !inbound.takesOutbound && inbound.snapLength == 262_144)
    }

    @Test(
        arguments: [
            (["file": "x"], "'file' expects a path that begins with '/'"),
            (["snaplen": -1], "'snaplen' expects bytes up to 262144"),
            (["count": 0], "'count' expects a number above 0, not 0"),
            (["files": 2], "'files' says nothing without 'file-size' or 'rotate-seconds'"),
            (["buffer": 1], "'buffer' expects bytes from 262144"),
            (["id": "1"], "'id' expects an identifier"),
            (["format": "text"], "'format' does not accept value 'text'"),
            (["direction": "both"], "'direction' does not accept value 'both'"),
            (["colour": "red"], "'colour' is unexpected"),
        ] as [(JSONObject, String)]
    )
    func `a wrong option is named`(more: JSONObject, part: String) {
        #expect(message { () throws(QMPError) in _ = try dump(more) }.contains(part))
    }

    @Test
    func `QEMU's filter-dump is a dump`() throws {
        let command = try MonitorCommand(
            "object_add filter-dump,id=f0,netdev=n0,file=/tmp/a,,b.pcap,maxlen=96,queue=rx"
        )
        guard case .objectAdd(let arguments) = command else {
            Issue.record("\(command)")
            return
        }
        #expect(command.request?.command == "object-add")
        let options = try DumpOptions(object: arguments)
        #expect(options.id == "f0" && options.name == "n0" && options.file == "/tmp/a,b.pcap")
        #expect(options.format == .pcap && options.snapLength == 96)
        // What the netdev is sent is what leaves the switch.
        #expect(options.takesOutbound && !options.takesInbound)
        let lines = [
            ("object_add filter-dump,id=f0,netdev=n0", "Parameter 'file' is missing"),
            ("object_add secret,id=f0", "Parameter 'qom-type' does not accept value 'secret'"),
            ("object_add", "Parameter 'qom-type' is missing"),
        ]
        for (line, part) in lines {
            #expect {
                try MonitorCommand(line)
            } throws: { "\($0)".contains(part) }
        }
    }

    @Test
    func `a replay's options come back as they were`() throws {
        for text in [
            "pcap,id=r,port=vale0:r,file=/x", "pcap,id=r,port=vale0:r,file=/x,rate=max,loop=0",
            "pcap,id=r,port=vale0:r,file=/x,rate=1000pps,start=off",
            "pcap,id=r,port=vale0:r,file=/x,rate=10Mbit,loop=3", "pcap,id=s,port=vale0:s,mode=sink",
            "pcap,id=s,port=vale0:s,mode=sink,file=/y",
        ] {
            let options = try NetdevOptions(text: text)
            #expect(try NetdevOptions(options.arguments) == options)
            #expect(options.type == "pcap")
        }
        #expect(PcapOptions.Rate("20kpps") == .packets(20_000))
        #expect(PcapOptions.Rate("1Gbit") == .bits(1_000_000_000))
        #expect(PcapOptions.Rate("10Mbit/s") == .bits(10_000_000))
        for bad in [
            "", "0pps", "pps", "1", "10 Mbit", "-1pps", "1kk", "99999999999999999999pps",
            "9999Gpps",
        ] {
            #expect(PcapOptions.Rate(bad) == nil, "\(bad)")
        }
    }

    @Test(arguments: [
        ("file=x", "'file' expects a path that begins with '/'"), ("rate=max", "'file' is missing"),
        ("file=/x,rate=10", "'rate' expects 'original', 'max'"),
        ("file=/x,loop=-1", "'loop' expects"),
        ("mode=sink,rate=max", "'rate' is for mode=replay"),
        ("mode=sink,lossless=on", "'lossless' is unexpected"),
        ("mode=tap", "does not accept value 'tap'"),
    ])
    func `a wrong option of a replay is named`(text: String, part: String) {
        let error = message { () throws(QMPError) in
            _ = try NetdevOptions(text: "pcap,id=r,port=vale0:r," + text)
        }
        #expect(error.contains(part), "\(error)")
    }
}
