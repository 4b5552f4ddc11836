// QEMU command lines in, QEMU command lines out. Each shape of output was started with a real
// QEMU 7.2; what is pinned here is that we still produce it.

import Control
import Testing

@Suite struct QemuCommandLineTests {
    static let tcg = QemuCommandLine.Host(program: "qemu-system-x86_64", version: .init(7, 2))
    static let mac = "mac=52:54:00:00:00:01"
    static let net = "-netdev netmap,id=n0,ifname=vale0:vm1"
    static let device = "-device virtio-net-pci,netdev=n0,\(mac)"
    static let chardev = "-chardev socket,id=wv-n0,path=/run/n0.sock,reconnect=1"
    static let user = "-netdev vhost-user,id=n0,chardev=wv-n0"
    static let tcgDevice = "-device virtio-net-pci,netdev=n0,\(mac),vectors=0"

    private static func memory(_ size: String) -> String {
        "-object memory-backend-memfd,id=wv-mem,size=\(size),share=on -machine memory-backend=wv-mem"
    }

    private func translate(
        _ line: String,
        host: QemuCommandLine.Host = tcg
    ) throws -> (text: String, notes: [String]) {
        let words = line.split(separator: " ").map(String.init)
        let command = try QemuCommandLine(words, host: host)
        var sockets: [String: String] = [:]
        for port in command.ports { sockets[port.id] = "/run/\(port.id).sock" }
        let text = command.groups(sockets: sockets).joined().joined(separator: " ")
        return (text, command.notes)
    }

    @Test(
        "what has nothing of ours passes untouched",
        arguments: [
            "", "-m 1G disk.img -nic user", "-append -netdev\u{a0}netmap,id=x -S",
            "-netdev help", "-netdev user,id=n0 -device e1000,netdev=n0", "-nic none",
            "-net nic -net user", "-device virtio-net-pci,netdev=x", "-nic netmap,help",
            "-append -netdev netmap", "--version",
        ]
    )
    func passes(line: String) throws {
        let result = try translate(line)
        #expect(result.text == line)
        #expect(result.notes.isEmpty)
    }

    @Test(
        "memory is made shared, of the size that -m asks for",
        arguments: [
            ("", memory("128M")), ("-m 512", memory("512M")), ("-m 1G", memory("1024M")),
            ("-m 1.5G", memory("1536M")), ("-m size=1G,slots=2,maxmem=4G", memory("1024M")),
            ("-m 1000k", memory("1024000")), ("-m 1k", memory("8192")), ("-m 0", memory("128M")),
            ("-m 64 -m 96", memory("96M")), ("-m 64,slots=2 -m maxmem=1G", memory("64M")),
            ("-m 0x40", memory("64M")), ("-m 0.1G", memory("107380736")), ("-m 64m", memory("64M")),
            ("-M q35,memory.size=64M", memory("64M")), ("--m 1t", memory("1048576M")),
            ("-m 134217728B", memory("128M")), ("-mem-prealloc -m 64", memory("64M")),
        ]
    )
    func sizesMemory(option: String, memory: String) throws {
        let result = try translate("\(option) \(Self.net) \(Self.device)")
        let kept = option.isEmpty ? "" : option + " "
        #expect(result.text == "\(kept)\(memory) \(Self.chardev) \(Self.user) \(Self.tcgDevice)")
    }

    @Test(
        "memory that is shared already is respected",
        arguments: [
            "-M q35,memory-backend=m -object memory-backend-memfd,id=m,size=1G,share=on",
            "-machine memory-backend=m -object memory-backend-file,id=m,size=1G,mem-path=/d,share=on",
            "-object memory-backend-memfd,id=m,size=1G -numa node,memdev=m",
            "-object memory-backend-shm,id=m,size=1G -numa node,memdev=m",
            "-object {\"qom-type\":\"memory-backend-memfd\",\"id\":\"m\",\"share\":true} -numa "
                + "node,memdev=m",
            "-machine memory-backend=defined-elsewhere",
        ]
    )
    func respectsMemory(options: String) throws {
        let result = try translate("\(options) \(Self.net) \(Self.device)")
        #expect(result.text == "\(options) \(Self.chardev) \(Self.user) \(Self.tcgDevice)")
    }

    @Test func memPathBecomesASharedFile() throws {
        let result = try translate("-m 64 -mem-path /dev/hugepages -mem-prealloc \(Self.net)")
        #expect(
            result.text
                == "-m 64 -mem-prealloc -object memory-backend-file,id=wv-mem,size=64M,"
                + "mem-path=/dev/hugepages,share=on -machine memory-backend=wv-mem "
                + "\(Self.chardev) \(Self.user)"
        )
        #expect(result.notes.contains { $0.contains("-mem-path /dev/hugepages") })
    }

    @Test(
        "vectors=0 is added where KVM does not run the guest",
        arguments: [
            ("", "qemu-system-x86_64", true, true), ("-enable-kvm", "qemu", false, false),
            ("-accel kvm", "qemu", false, false), ("-accel tcg,thread=multi", "qemu", true, true),
            ("-accel kvm -accel tcg", "qemu", true, false),
            ("-accel kvm -accel tcg", "qemu", false, true),
            ("-accel accel=kvm", "qemu", false, false),
            ("-M q35,accel=kvm", "qemu", false, false),
            ("-M q35,accel=kvm:tcg", "qemu", false, true),
            ("-M accel=kvm:tcg", "qemu", true, false), ("", "/usr/bin/qemu-kvm", false, false),
            ("", "kvm", false, false), ("-machine pc -M accel=tcg", "/bin/kvm", true, true),
        ]
    )
    func addsVectors(option: String, program: String, kvm: Bool, added: Bool) throws {
        let host = QemuCommandLine.Host(program: program, version: .init(7, 2), kvmOpens: kvm)
        let result = try translate("\(option) \(Self.net) \(Self.device)", host: host)
        #expect(result.text.hasSuffix(",vectors=0") == added)
        #expect(result.notes.contains { $0.hasPrefix("vectors=0") } == added)
    }

    @Test(
        "devices get what they lack and nothing else",
        arguments: [
            (
                "virtio-net-pci,netdev=n0,\(mac),vectors=4",
                "virtio-net-pci,netdev=n0,\(mac),vectors=4"
            ),
            (
                "virtio-net,id=x,netdev=n0,addr=3,\(mac)",
                "virtio-net,id=x,netdev=n0,addr=3,\(mac),vectors=0"
            ),
            ("virtio-net-device,netdev=n0,\(mac)", "virtio-net-device,netdev=n0,\(mac)"),
            ("virtio-net-ccw,netdev=n0,\(mac)", "virtio-net-ccw,netdev=n0,\(mac)"),
            (
                "{\"driver\":\"virtio-net-pci\",\"netdev\":\"n0\",\"mac\":\"m\"}",
                "{\"driver\": \"virtio-net-pci\", \"netdev\": \"n0\", \"mac\": \"m\", \"vectors\": 0}"
            ),
            ("virtio-net-pci,netdev=other", "virtio-net-pci,netdev=other"),
        ]
    )
    func completesDevices(given: String, made: String) throws {
        let command = try QemuCommandLine(
            Self.net.split(separator: " ").map(String.init) + ["-device", given],
            host: Self.tcg
        )
        #expect(command.groups(sockets: [:]).last == ["-device", made])
    }

    @Test func queuesAreCarriedToTheDevice() throws {
        let result = try translate("\(Self.net),queues=4 \(Self.device)")
        #expect(result.text.contains("\(Self.user),queues=4 "))
        #expect(result.text.hasSuffix("netdev=n0,\(Self.mac),mq=on,vectors=0"))
        let off = try translate("\(Self.net),queues=4 \(Self.device),mq=off")
        #expect(!off.text.contains("mq=on"))
    }

    @Test func aGlobalCountOfVectorsIsRespected() throws {
        let result = try translate("-global virtio-net-pci.vectors=0 \(Self.net) \(Self.device)")
        #expect(result.text.hasSuffix(Self.device))
    }

    @Test func withoutAnAddressThePortsNameGivesOne() throws {
        let one = try translate("\(Self.net) -device virtio-net-pci,netdev=n0,vectors=0")
        let same = try translate("\(Self.net) -device virtio-net-pci,netdev=n0,vectors=0")
        let other = try translate(
            "-netdev netmap,id=n0,ifname=vale0:vm2 -device virtio-net-pci,netdev=n0,vectors=0"
        )
        #expect(one.text == same.text)
        #expect(one.text.contains(",mac=52:54:00:"))
        #expect(one.text.suffix(17) != other.text.suffix(17))
        #expect(one.notes.contains { $0.contains("no mac= given") })
    }

    @Test(
        "the shorter forms become pairs",
        arguments: [
            ("-nic netmap,ifname=vale0:vm1,id=n0,model=virtio,\(mac)", "virtio-net-pci"),
            ("-nic netmap,ifname=vale0:vm1,id=n0,model=virtio-net-pci,\(mac)", "virtio-net-pci"),
            ("-nic netmap,ifname=vale0:vm1,id=n0,\(mac)", "virtio-net-pci"),
            (
                "-net netmap,ifname=vale0:vm1,id=n0 "
                    + "-net nic,model=virtio,macaddr=52:54:00:00:00:01", "virtio-net-pci"
            ),
            (
                "-net netmap,vlan=3,name=n0,ifname=vale0:vm1 -net nic,vlan=3,\(mac) "
                    + "-net nic -net user", "virtio-net-pci"
            ),
            ("\(net) -net nic,netdev=n0,model=virtio,\(mac)", "virtio-net-pci"),
        ]
    )
    func pairs(line: String, driver: String) throws {
        let result = try translate("-S " + line)
        let device = "-device \(driver),netdev=n0,\(Self.mac),vectors=0"
        let rest = line.hasSuffix("user") ? " -net nic -net user" : ""
        #expect(
            result.text
                == "-S \(Self.memory("128M")) \(Self.chardev) \(Self.user) \(device)\(rest)"
        )
    }

    @Test func microvmAndS390HaveTheirOwnNics() throws {
        let nic = "-nic netmap,ifname=vale0:vm1,id=n0,model=virtio,\(Self.mac)"
        let micro = try translate("-M microvm \(nic)")
        #expect(micro.text.hasSuffix("-device virtio-net-device,netdev=n0,\(Self.mac)"))
        let pci = try translate("-M microvm,pcie=on \(nic)")
        #expect(pci.text.hasSuffix(Self.tcgDevice))
        let host = QemuCommandLine.Host(program: "qemu-system-s390x", version: .init(7, 2))
        let s390 = try translate(nic, host: host)
        #expect(s390.text.hasSuffix("-device virtio-net-ccw,netdev=n0,\(Self.mac)"))
    }

    @Test func severalPortsAndMissingIds() throws {
        let command = try QemuCommandLine(
            [
                "-nic", "netmap,ifname=vale0:a,model=virtio", "-nic", "netmap,ifname=vale0:b",
                "-netdev", "{'type':'netmap','id':'wv1','ifname':'vale1:c','queues':2}",
            ],
            host: Self.tcg
        )
        #expect(command.ports.map(\.id) == ["wv1", "wv0", "wv2"])
        #expect(command.ports.map(\.port.description) == ["vale1:c", "vale0:a", "vale0:b"])
        #expect(command.ports.map(\.isEphemeral) == [true, true, true])
        let text = command.groups(sockets: ["wv0": "/r/a,b"]).joined().joined(separator: " ")
        #expect(text.contains("id=wv-wv0,path=/r/a,,b,reconnect=1"))
        #expect(text.contains("-netdev vhost-user,id=wv1,chardev=wv-wv1,queues=2"))
    }

    @Test(
        "a NIC that is not virtio gets a stream netdev, and no shared memory",
        arguments: [
            ("\(net) -device e1000,netdev=n0,\(mac)", "e1000"),
            ("-nic netmap,ifname=vale0:vm1,id=n0,model=rtl8139,\(mac)", "rtl8139"),
            ("-net netmap,ifname=vale0:vm1,id=n0 -net nic,model=vmxnet3,\(mac)", "vmxnet3"),
        ]
    )
    func streams(line: String, model: String) throws {
        let stream = "-netdev stream,id=n0,server=off,addr.type=unix,addr.path=/run/n0.sock"
        let device = "-device \(model),netdev=n0,\(Self.mac)"
        let result = try translate("-S " + line)
        #expect(result.text == "-S \(stream) \(device)")
        #expect(result.notes.count == 1 && result.notes[0].contains("\(model) is no virtio NIC"))
        for (version, option) in [((8, 0), ",reconnect=1"), ((9, 2), ",reconnect-ms=1000")] {
            let host = QemuCommandLine.Host(
                program: "qemu-system-x86_64",
                version: .init(version.0, version.1)
            )
            #expect(try translate(line, host: host).text == "\(stream)\(option) \(device)")
        }
        let old = QemuCommandLine.Host(program: "qemu-system-x86_64", version: .init(7, 1))
        #expect(throws: QemuCommandLine.TranslationError.self) { try translate(line, host: old) }
    }

    @Test func bothKindsOfNicsInOneGuest() throws {
        let line =
            "\(Self.net) \(Self.device) -netdev netmap,id=n1,ifname=vale0:vm2 "
            + "-device e1000,netdev=n1,\(Self.mac) -object filter-dump,id=f,netdev=n1,file=x"
        let words = line.split(separator: " ").map(String.init)
        let command = try QemuCommandLine(words, host: Self.tcg)
        #expect(command.streams == ["n1"])
        let text = try translate(line).text
        #expect(text.contains(Self.memory("128M")) && text.contains(Self.user))
        #expect(text.contains("-netdev stream,id=n1,") && text.contains("filter-dump"))
    }

    @Test func newerVersionsSpellReconnectInMilliseconds() throws {
        let host = QemuCommandLine.Host(program: "qemu", version: .init(9, 2))
        #expect(try translate(Self.net, host: host).text.contains(",reconnect-ms=1000"))
        #expect(QemuVersion(output: "QEMU emulator version 10.1.0 (x)\nCopyright") == .init(10, 1))
        #expect(QemuVersion(output: "no such thing") == nil)
    }

    @Test(
        "what cannot work is refused with what to write instead",
        arguments: [
            ("-netdev netmap,ifname=vale0:a", "Parameter 'id' is missing"),
            ("-netdev netmap,id=n0,ifname=eth0", "such as 'vale0:eth0'"),
            ("-netdev netmap,id=n0,ifname=vale0:a,foo=1", "Invalid parameter 'foo'"),
            ("\(net) -netdev netmap,id=n0,ifname=vale0:b", "Duplicate ID 'n0' for netdev"),
            ("\(net) -netdev netmap,id=n1,ifname=vale0:vm1", "vale0:vm1 is used by another"),
            ("\(net),queues=2 -device e1000,netdev=n0,\(mac)", "e1000 has one queue"),
            ("-net nic -net user -net netmap,ifname=vale0:a", "on a hub inside QEMU"),
            ("-net nic -net nic -net netmap,ifname=vale0:a", "on a hub inside QEMU"),
            ("-net nic,foo=1 -net netmap,ifname=vale0:a", "Invalid parameter 'foo'"),
            ("\(net) -m lots", "-m lots: no size"), ("\(net) -m 1.5", "no size"),
            ("\(net) -m 64MB", "no size"), ("\(net) -m 99999999999999T", "no size"),
            (
                "\(net) -M memory-backend=m -object memory-backend-ram,id=m,size=1G",
                "write -object memory-backend-memfd,id=m,size=1G,share=on"
            ),
            (
                "\(net) -M memory-backend=m -object memory-backend-file,id=m,size=1G,mem-path=/d",
                "write -object memory-backend-file,id=m,size=1G,mem-path=/d,share=on"
            ),
            (
                "\(net) -numa node,memdev=m -object memory-backend-memfd,id=m,size=1G,share=off",
                "share=on is missing"
            ),
            (
                "\(net) -object memory-backend-ram,id=d,size=1G -device pc-dimm,memdev=d",
                "is anonymous memory"
            ),
            ("\(net) -numa node,mem=512M", "-numa node,memdev=m0 instead"),
            ("\(net) -numa node,cpus=0", "gives its node no memory"),
            (
                "\(net) -object filter-dump,id=f,netdev=n0,file=x",
                "do not see the frames of vale0:vm1"
            ),
        ]
    )
    func refuses(line: String, part: String) {
        let words = line.split(separator: " ").map(String.init)
        do throws(QemuCommandLine.TranslationError) {
            _ = try QemuCommandLine(words, host: Self.tcg)
            Issue.record("accepted \(line)")
        } catch {
            #expect(error.description.contains(part), "\(error.description)")
        }
    }

    @Test func commandsArePrintedSoThatAShellReadsThemBack() {
        #expect(ShellText.quote("vale0:vm1") == "vale0:vm1")
        #expect(ShellText.quote("a b") == "'a b'")
        #expect(ShellText.quote("it's $x") == "'it'\\''s $x'")
        #expect(ShellText.quote("") == "''")
        let lines = ShellText.lines([["qemu"], ["-m", "1G"], ["-append", "a b"]])
        #expect(lines == "qemu \\\n  -m 1G \\\n  -append 'a b'")
    }
}
