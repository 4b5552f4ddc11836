// The checks behind `wirevale doctor`, each by trying the thing.

internal import CNetmap
internal import Control
internal import Glibc

extension HostFinding {
    /// What the kernel gives.
    static func machine() -> [HostFinding] {
        [
            kernel(), memfd(), signals(), cpus(), hugepages(), userNamespaces(), tun(),
            packetSockets(), xdp(), netmap(),
        ]
    }

    /// What QEMU can do here.
    static func qemu(_ program: String) -> [HostFinding] {
        guard let path = ProgramRun.find(program) else {
            let purpose = "guests; the switch needs one with vhost-user"
            return [
                HostFinding(
                    name: program,
                    state: .missing,
                    detail: "not found",
                    purpose: purpose,
                    package: "qemu-system-x86",
                    isNeeded: true
                )
            ]
        }
        let version = QemuProgram.version(of: path)?.description ?? "version unknown"
        let listed = ProgramRun.run([path, "-netdev", "help"])?.output ?? ""
        let types = Set(listed.split(separator: "\n").map(String.init))
        let shown = ["vhost-user", "netmap", "stream", "vde", "passt", "af-xdp"]
            .filter(types.contains)
        return [
            HostFinding(
                name: program.split(separator: "/").last.map(String.init) ?? program,
                state: types.contains("vhost-user") ? .ok : .missing,
                detail: "\(version) (netdevs: \(shown.joined(separator: " ")))",
                purpose: "guests; the switch needs one with vhost-user",
                isNeeded: true
            ),
            kvm(path),
        ]
    }

    /// Programs that are used or measured against, never needed.
    static func companions() -> [HostFinding] {
        let list: [(program: String, package: String, purpose: String)] = [
            ("dpdk-testpmd", "dpdk", "vhost-user clients without guests, for tests and figures"),
            ("passt", "passt", "a way to the internet for a switch, without root"),
            ("vde_switch", "vde2", "another switch, to compare with or to connect to"),
            ("tshark", "tshark", "reading captures"),
            ("iperf3", "iperf3", "the throughput figures of the demo"),
            ("busybox", "busybox-static", "the guests of the demo"),
        ]
        return list.map { entry in
            let path = ProgramRun.find(entry.program)
            return HostFinding(
                name: entry.program,
                state: path == nil ? .missing : .ok,
                detail: path ?? "not found",
                purpose: entry.purpose,
                package: entry.package
            )
        }
    }

    /// Whether an engine runs; it is started on demand, so its absence is no fault.
    static func engine(_ directory: RuntimeDirectory) -> HostFinding {
        let purpose = "the switch itself; starts when a command needs it"
        do {
            let client = try EngineLauncher(directory).connectIfRunning()
            let version = client?.greeting["QMP"]?["version"]?.text("package")
            return HostFinding(
                name: "engine",
                state: .ok,
                detail: version.map { "\($0) at \(directory.path)" } ?? "not running",
                purpose: purpose
            )
        } catch {
            return HostFinding(
                name: "engine",
                state: .limited,
                detail: error.description,
                purpose: purpose
            )
        }
    }

    // MARK: - The kernel

    private static func kernel() -> HostFinding {
        let release = text(of: "/proc/sys/kernel/osrelease") ?? "unknown"
        let numbers = release.split { !$0.isNumber }.prefix(2).compactMap { Int($0) }
        let isOld = numbers.count == 2 && (numbers[0], numbers[1]) < (5, 4)
        return HostFinding(
            name: "kernel",
            state: isOld ? .limited : .ok,
            detail: release + (isOld ? " (tested from 5.4 on)" : ""),
            purpose: "Linux with sealed memory files and eventfds"
        )
    }

    private static func memfd() -> HostFinding {
        let file = unsafe nm_memfd_create("wirevale-doctor", 4096)
        if file >= 0 { close(file) }
        return HostFinding(
            name: "memfd",
            state: file >= 0 ? .ok : .missing,
            detail: file >= 0 ? "works" : reason(-file),
            purpose: "memory that guests and programs share with the switch",
            isNeeded: true
        )
    }

    private static func signals() -> HostFinding {
        var signaller = nm_signaller()
        let result = unsafe nm_signaller_open(&signaller)
        nm_signaller_close(signaller)
        return HostFinding(
            name: "Linux AIO",
            state: result == 0 ? .ok : .limited,
            detail: result == 0
                ? "works"
                : "\(reason(-result)): a hostile guest's QEMU can make a worker wait"
                    + " (look at fs.aio-max-nr, seccomp)",
            purpose: "interrupts that no front-end can hold up"
        )
    }

    private static func cpus() -> HostFinding {
        let count = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        return HostFinding(
            name: "CPUs",
            state: count > 1 ? .ok : .limited,
            detail: "\(count)",
            purpose: "one for a worker while guests use the others"
        )
    }

    private static func hugepages() -> HostFinding {
        let lines = (text(of: "/proc/meminfo") ?? "").split(separator: "\n")
        let value = { (key: String) in
            lines.first { $0.hasPrefix(key + ":") }
                .map { $0.drop { !$0.isNumber }.prefix { $0.isNumber } }
                .flatMap { Int($0) } ?? 0
        }
        let total = value("HugePages_Total")
        return HostFinding(
            name: "hugepages",
            state: total > 0 ? .ok : .limited,
            detail: total > 0
                ? "\(value("HugePages_Free")) of \(total) free, \(value("Hugepagesize") / 1024) MiB each"
                : "none",
            purpose: "fewer TLB misses for large guests; never needed"
        )
    }

    private static func userNamespaces() -> HostFinding {
        let isOff =
            text(of: "/proc/sys/kernel/unprivileged_userns_clone") == "0"
            || text(of: "/proc/sys/user/max_user_namespaces") == "0"
        let run = isOff ? nil : ProgramRun.run(["unshare", "--user", "--map-root-user", "true"])
        let works = run?.status == 0
        return HostFinding(
            name: "user namespaces",
            state: works ? .ok : .limited,
            detail: works ? "work" : isOff ? "switched off by sysctl" : "cannot be made here",
            purpose: "networks and containers for tests, without root"
        )
    }

    private static func tun() -> HostFinding {
        let path = "/dev/net/tun"
        let opens = FileProbe.opens(path)
        return HostFinding(
            name: "TUN/TAP",
            state: opens ? .ok : .limited,
            detail: opens ? path : FileProbe.exists(path) ? "\(path) is not yours" : "no \(path)",
            purpose: "the host itself as a port (a later release)"
        )
    }

    private static func packetSockets() -> HostFinding {
        let socket = nm_packet_probe()
        if socket >= 0 { close(socket) }
        return HostFinding(
            name: "packet sockets",
            state: socket >= 0 ? .ok : .limited,
            detail: socket >= 0 ? "work" : socket == -EPERM ? "need CAP_NET_RAW" : reason(-socket),
            purpose: "interfaces of the host as ports (netdev_add packet,ifname=eth0)"
        )
    }

    private static func xdp() -> HostFinding {
        let socket = nm_xdp_socket()
        if socket >= 0 { close(socket) }
        let map = nm_bpf_socket_map(1)
        if map >= 0 { close(map) }
        let detail =
            if socket == -EAFNOSUPPORT {
                "not in this kernel"
            } else if socket < 0 {
                socket == -EPERM ? "needs CAP_NET_RAW" : reason(-socket)
            } else if map < 0 {
                map == -EPERM
                    ? "sockets work, but an XDP program needs CAP_BPF and CAP_NET_ADMIN"
                    : "sockets work, but bpf(2) says: \(reason(-map))"
            } else {
                "works"
            }
        return HostFinding(
            name: "AF_XDP",
            state: socket >= 0 && map >= 0 ? .ok : .limited,
            detail: detail,
            purpose: "network cards as ports, past the host's stack (netdev_add af-xdp,ifname=eth0)"
        )
    }

    private static func netmap() -> HostFinding {
        let exists = FileProbe.exists("/dev/netmap")
        return HostFinding(
            name: "/dev/netmap",
            state: .ok,
            detail: exists ? "a real one is here; this engine does not use it" : "not needed",
            purpose: "this engine is its own netmap"
        )
    }

    // MARK: - KVM

    private static func kvm(_ qemu: String) -> HostFinding {
        let purpose = "guests at full speed; without it they are emulated"
        func finding(_ state: State, _ detail: String) -> HostFinding {
            HostFinding(name: "KVM", state: state, detail: detail, purpose: purpose)
        }
        guard FileProbe.exists("/dev/kvm") else { return finding(.limited, "no /dev/kvm") }
        guard FileProbe.opens("/dev/kvm") else {
            return finding(.limited, "/dev/kvm is not yours (join the group kvm)")
        }
        guard qemu.hasSuffix("x86_64") else { return finding(.ok, "/dev/kvm opens") }
        return GuestProbe(qemu: qemu).boots(accelerator: "kvm")
            ? finding(.ok, "a guest boots")
            : finding(.limited, "/dev/kvm opens, but a guest does not boot: use -accel tcg")
    }

    private static func text(of path: String) -> String? {
        guard let file = unsafe fopen(path, "r") else { return nil }
        defer { unsafe fclose(file) }
        var buffer = [UInt8](repeating: 0, count: 16384)
        let count = unsafe fread(&buffer, 1, buffer.count, file)
        let text = String(decoding: buffer[..<count], as: UTF8.self)
        return text.hasSuffix("\n") ? String(text.dropLast()) : text
    }

    private static func reason(_ code: Int32) -> String {
        unsafe strerror(code).map { unsafe String(cString: $0) } ?? "error \(code)"
    }
}

/// Whether guests really boot with an accelerator: an openable /dev/kvm proves little inside
/// another machine.
struct GuestProbe {
    let qemu: String

    /// Boots a sector that tells QEMU to exit; the answer takes a fraction of a second.
    func boots(accelerator: String, within timeout: Duration = .seconds(4)) -> Bool {
        // mov al,1; mov dx,0xf4; out dx,al; cli; hlt. Port 0xf4 is isa-debug-exit's: status 3.
        let code: [UInt8] = [0xB0, 0x01, 0xBA, 0xF4, 0x00, 0xEE, 0xFA, 0xF4]
        let sector = code + [UInt8](repeating: 0, count: 510 - code.count) + [0x55, 0xAA]
        let file = unsafe nm_memfd_create("boot-sector", 512)
        guard file >= 0 else { return false }
        defer { close(file) }
        // SAFETY: the bytes are alive during the call and their count is passed with them.
        let written = unsafe sector.withUnsafeBytes {
            unsafe pwrite(file, $0.baseAddress, $0.count, 0)
        }
        let path = "/proc/\(getpid())/fd/\(file)"
        let run = ProgramRun.run(
            [
                qemu, "-accel", accelerator, "-m", "16", "-nodefaults", "-no-user-config",
                "-display", "none", "-device", "isa-debug-exit,iobase=0xf4", "-boot", "a",
                "-drive", "if=floppy,format=raw,readonly=on,file=\(path)",
            ],
            timeout: timeout
        )
        return written == 512 && run?.status == 3
    }
}
